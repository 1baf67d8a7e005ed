import type { Compared, ComparedPart, ComparedRow, Finding } from '../../core/contract.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { wrap } from '../text.ts'
import { chooseRelease, type Destination } from '../wiring/choose.ts'
import { pinOf } from '../wiring/planning.ts'
import { current } from '../wiring/standing.ts'

export interface CheckOptions {
  readonly release?: string
  readonly rows?: string
  readonly showValues: boolean
}

/** Compares databases with what a release was captured with. Answers 10 where anything differs. */
export function check(globals: Globals, options: CheckOptions, component?: string): Promise<number> {
  const rows = rowsOf(options.rows)
  return withSession(globals, async session => {
    const to = await baselineOf(session, options.release)
    const checked = await compareAll(session, to, component, { rows, values: options.showValues })
    if (checked.length === 0) throw nothingToCompare(to.release.name, component)
    session.out.data({ release: to.release.name, capture: to.capture.id, components: checked })
    for (const one of checked) show(session, to.release.name, one)
    const same = checked.every(c => c.shape.length + c.parts.length + c.notes.length === 0)
    return same ? EXIT.ok : EXIT.gate
  })
}

function rowsOf(text: string | undefined): number {
  const rows = text === undefined ? 0 : Number(text)
  if (Number.isInteger(rows) && rows >= 0) return rows
  const next = 'backout db check --rows 20'
  throw new BackoutError({ code: 'rows_unreadable', what: `"${text}" is no number of rows`, next, exit: 'usage' })
}

/** The release that is named; else the one that runs, where it was captured; else the one that would be gone back to. */
async function baselineOf({ environment, targets }: Session, name: string | undefined): Promise<Destination> {
  const running = name === undefined ? await current(environment) : null
  const known = running === null ? null : await environment.ledger.releases.find(running)
  return chooseRelease(environment, targets, known?.name ?? name)
}

interface Checked extends Compared {
  readonly component: string
}

async function compareAll(
  { environment, targets, out }: Session,
  { capture }: Destination,
  only: string | undefined,
  wanted: { rows: number; values: boolean },
): Promise<Checked[]> {
  const { backups, vault } = environment.ledger
  const problems: Finding[] = []
  const checked: Checked[] = []
  for (const component of only === undefined ? Object.keys(environment.config.components) : [only]) {
    const target = await targets.get(component)
    const to = target.compare === undefined ? null : pinOf(environment, component, capture, problems)
    if (target.compare === undefined || to === null) continue
    const progress = (p: { text: string }) => (out.terminal ? out.warn(`${component}: ${p.text}`) : undefined)
    const signal = new AbortController().signal
    checked.push({ component, ...(await target.compare({ to, ...wanted, backups, vault, signal, progress })) })
  }
  const [problem] = problems
  if (problem === undefined) return checked
  throw new BackoutError({ code: problem.code, what: problem.what, next: problem.remedy, exit: 'blocked' })
}

function nothingToCompare(release: string, component: string | undefined): BackoutError {
  const what =
    component === undefined
      ? `No component of ${release} can be compared with what was captured`
      : `${component} cannot be compared with what was captured as ${release}`
  return new BackoutError({
    code: 'nothing_to_compare',
    what,
    next: 'name a database that was captured with the release; `backout release show RELEASE` lists them',
    exit: 'blocked',
  })
}

function show({ out }: Session, release: string, { component, shape, parts, notes }: Checked): void {
  if (shape.length + parts.length + notes.length === 0) {
    out.line(`${paint('green', '✓')} ${component} is as it was when ${release} was captured: schema and data`)
    return
  }
  out.line(`${paint('yellow', '*')} ${component} differs from ${release} as it was captured`)
  for (const text of [...shape, ...parts.map(partText), ...notes]) {
    for (const line of wrap(text, out.width, '    ')) out.line(line)
  }
  for (const part of parts) for (const row of part.rows) out.line(`      ${part.name}: ${rowText(row)}`)
}

function partText({ name, then, now, columns, exact }: ComparedPart): string {
  if (then === null) return `${name}: not there then, ${now} rows now`
  if (now === null) return `${name}: ${then} rows then, not there now`
  const rows = then === now ? `${now} rows as before` : `${then} rows then, ${now} now`
  const values = columns.length === 0 ? '' : `; values differ in ${columns.join(', ')}`
  const counts = exact === null ? '' : ` (${exact.added} added, ${exact.deleted} deleted, ${exact.changed} changed)`
  return `${name}: ${rows}${values}${counts}`
}

function rowText({ is, key, cells }: ComparedRow): string {
  const shown = cells.map(({ column, then, now }) => {
    const value = is === 'changed' ? `${then ?? 'NULL'} -> ${now ?? 'NULL'}` : ((is === 'added' ? now : then) ?? 'NULL')
    return `${column} ${value}`
  })
  return [is, key, shown.join(', ')].filter(text => text !== '').join('  ')
}
