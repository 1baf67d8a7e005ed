import { differences } from '../../core/differences.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { besideEachOther } from '../../data/flow/pins.ts'
import { isAltered } from '../../ledger/sealed-file.ts'
import { comparable } from '../comparable.ts'
import { paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { bytes, table, wrap } from '../text.ts'
import { observeAll } from '../wiring/observe.ts'
import { markRelease } from './capture.ts'

export function releases(globals: Globals, options: { all?: boolean }): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const all = await environment.ledger.releases.list({ departures: options.all === true })
    out.data(
      all.map(({ captures, ...r }) => ({ ...r, captures: captures.map(c => ({ id: c.id, at: c.at, by: c.by })) })),
    )
    if (all.length === 0) out.line('Nothing was captured yet: backout capture RELEASE')
    const rows = all.map(r => [
      r.name,
      r.altered.length > 0 ? 'ALTERED' : r.state,
      r.captures[0]?.at ?? '',
      `${r.captures.length} captured`,
      r.marks.at(-1)?.why ?? '',
    ])
    for (const line of table(rows, out.tableWidth)) out.raw(line)
    for (const r of all) for (const what of r.altered) out.warn(`${r.name} is not gone back to: ${what}`)
    return EXIT.ok
  })
}

export function show(globals: Globals, _options: unknown, name = ''): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const release = await environment.ledger.releases.get(name)
    const counting = await environment.ledger.releases.counting(release, Object.keys(environment.config.components))
    out.data(release)
    out.line(`${paint('bold', release.name)}: ${release.state}`)
    for (const m of release.marks) out.line(`  ${m.at} ${m.state} by ${m.by}${m.why === null ? '' : `: ${m.why}`}`)
    for (const capture of release.captures) {
      out.line(
        `\ncapture ${capture.id}, ${capture.at} by ${capture.by}${capture.id === counting.id ? ' (the one that counts)' : ''}`,
      )
      const rows = Object.entries(capture.components).map(([id, c]) => [id, c.adapter, c.summary])
      for (const line of table(rows, out.tableWidth, '  ')) out.raw(line)
      for (const [id, why] of Object.entries(capture.missing ?? {})) out.line(`  without ${id}: ${why}`)
      for (const gate of capture.baseline) out.line(`  baseline: gate ${gate.gate} ${gate.outcome}`)
      for (const id of capture.backups) out.line(`  ${await backupLine(environment.ledger.backups, id)}`)
    }
    return EXIT.ok
  })
}

async function backupLine(backups: Session['environment']['ledger']['backups'], id: string): Promise<string> {
  const backup = await backups.get(id).catch((error: unknown) => (isAltered(error) ? 'ALTERED' : 'GONE'))
  if (typeof backup === 'string') return `backup ${id}: ${backup}`
  const wrong = await backups.look(id)
  const proof = backup.proof === null ? 'unproven' : backup.proof.ok ? `proven ${backup.proof.at}` : 'its proof failed'
  return `backup ${id}: ${bytes(backup.bytes)}, ${wrong.length > 0 ? `ALTERED (${wrong.join('; ')})` : `intact, ${proof}`}`
}

export function compare(globals: Globals, _options: unknown, a = '', b = ''): Promise<number> {
  return withSession(globals, async session => {
    const [left, right] = [await side(session, a), await side(session, b)]
    const ids = [...new Set([...Object.keys(left), ...Object.keys(right)])]
    const rows = ids.map(id => {
      const [one, other] = [left[id], right[id]]
      const differs =
        one === undefined || other === undefined ? ['all of it'] : differences(...besideEachOther(one.pin, other.pin))
      const summary = { a: one?.summary ?? '-', b: other?.summary ?? '-' }
      return { component: id, same: differs.length === 0, ...summary, differs }
    })
    session.out.data(rows)
    for (const row of rows) showRow(session, [a, b], row)
    return EXIT.ok
  })
}

const MOST_SHOWN = 5

function showRow(
  { out }: Session,
  [a, b]: readonly [string, string],
  row: { component: string; same: boolean; a: string; b: string; differs: readonly string[] },
): void {
  out.line(row.same ? `  ${row.component}: the same` : `${paint('yellow', '* ')}${row.component}`)
  if (row.same) return
  const more = row.differs.length > MOST_SHOWN ? `, and ${row.differs.length - MOST_SHOWN} more` : ''
  const where = `differs in: ${row.differs.slice(0, MOST_SHOWN).join(', ')}${more}`
  for (const text of [`${a}: ${row.a}`, `${b}: ${row.b}`, where]) {
    for (const line of wrap(text, out.width, '    ', '  ')) out.line(line)
  }
}

interface Side {
  readonly pin: Json
  readonly summary: string
}

/** One side of a comparison: pins of a release, or of what runs now. */
async function side(session: Session, name: string): Promise<Record<string, Side>> {
  const { environment, targets } = session
  if (name !== 'now') {
    const { config, ledger } = environment
    const { components, backups } = await ledger.releases.counting(
      await ledger.releases.get(name),
      Object.keys(config.components),
    )
    return Object.fromEntries(
      Object.entries(components).map(([id, c]) => [id, { pin: comparable(c.pin, backups), summary: c.summary }]),
    )
  }
  const signal = new AbortController().signal
  const { observations } = await observeAll(environment, targets, signal)
  const pins = [...observations].map(async ([id, observed]): Promise<[string, Side]> => {
    const { vault, backups } = environment.ledger
    const act = { purpose: 'departure' as const, release: 'now', signal, vault, backups, progress: () => {} }
    const pin = await (await targets.get(id)).capture(observed, act)
    return [id, { pin: comparable(pin, []), summary: observed.summary }]
  })
  return Object.fromEntries(await Promise.all(pins))
}

export function mark(globals: Globals, options: { why?: string }, name = '', state = ''): Promise<number> {
  const known = ['captured', 'known-good', 'bad'] as const
  const wanted = known.find(k => k === state)
  if (wanted === undefined) {
    const next = `use one of ${known.join(', ')}`
    throw new BackoutError({ code: 'state_unknown', what: `"${state}" is no state of a release`, next, exit: 'usage' })
  }
  return withSession(globals, async session => {
    session.out.data({ release: name, ...(await markRelease(session, name, wanted, options.why ?? null)) })
    return EXIT.ok
  })
}
