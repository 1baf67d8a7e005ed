import type { CarryOutcome } from '../../data/carry/index.ts'
import type { CarryPlan, TablePlan } from '../../data/carry/plan.ts'
import type { Replayed } from '../../data/carry/replay.ts'
import type { ListedLeft } from '../../data/carry/replay-conflicts.ts'
import type { ListedRow, Sides } from '../../data/carry/rows.ts'
import { nameUnplaced, whyUnplaced } from '../../data/carry/unplaced.ts'
import type { Kind } from '../../data/carry/words.ts'
import { table, wrap } from '../text.ts'

/** What a person can say to each kind. */
const SETTLE: Readonly<Record<Kind, string>> = {
  exists: 'ours, theirs',
  'row-missing': 'ours, theirs (the whole row comes)',
  changed: 'ours, theirs',
  rewritten: 'ours, theirs (if the value means the same in the schema of the release)',
  ambiguous:
    'ours (it was the migration), theirs (a user wrote it, and it means the same in the schema of the release)',
  unique: 'ours, or another value in a file of decisions',
  'foreign-key': 'ours, or another value in a file of decisions, or settle what it refers to',
  check: 'ours, or another value in a file of decisions',
  'not-null': 'ours, or another value in a file of decisions',
  type: 'ours, or another value in a file of decisions',
  'column-gone': 'ours, or a value for the column in a file of decisions',
  cascade: 'ours, or cascade=theirs: what refers to the row goes with it',
}

export function planLines(plan: CarryPlan, width: number): string[] {
  const head = [`Plan ${plan.hash.slice(0, 12)} for ${plan.component}, run ${plan.run}, mode ${plan.mode}`, '']
  const shown = plan.tables.filter(hasSomething)
  const rows = [['table', 'inserts', 'updates', 'deletes', 'done', 'conflicts', 'held'], ...shown.map(row)]
  const archived = plan.archived.filter(a => a.count > 0).map(a => `archive: ${nameUnplaced(a)}: ${whyUnplaced(a)}`)
  const gone = plan.gone.map(
    name => `${name} was not there any more right before the restore: it stays as it was at the release`,
  )
  const list =
    shown.length === 0
      ? ['Nothing was written that has a place in the schema of the release.']
      : table(rows, width, '  ')
  return [...head, ...list, '', ...[...archived, ...gone, ...plan.notes].flatMap(text => wrap(text, width, '  '))]
}

function hasSomething(t: TablePlan): boolean {
  return t.inserts + t.updates + t.deletes + t.done + t.held + t.settled > 0 || Object.keys(t.conflicts).length > 0
}

function row(t: TablePlan): string[] {
  const conflicts = Object.entries(t.conflicts).map(([kind, n]) => `${n} ${kind}`)
  if (t.settled > 0) conflicts.push(`${t.settled} settled`)
  const held = t.held === 0 ? '' : `${t.held} (${t.suspect} suspect)`
  return [t.table, ...[t.inserts, t.updates, t.deletes, t.done].map(String), conflicts.join(', ') || '-', held]
}

/** Conflicts one by one. `values`: as they are; else only that there are some. */
export function conflictLines(rows: readonly ListedRow[], values: boolean): string[] {
  return rows.flatMap(r => {
    const key = Object.entries(r.key).map(([name, value]) => `${name} ${value ?? 'NULL'}`)
    const kind = r.kind ?? 'changed'
    const cells = Object.entries(r.cells).map(([name, sides]) => {
      const left = r.left?.[name]
      return `    ${name}: ${side(r, sides, values)}${left === undefined ? '' : ` (a word on ${kind} leaves it: it waits as ${left})`}`
    })
    const times = r.times === undefined ? '' : `, ${r.times} rows`
    return ['', `  ${r.table} ${key.join(', ')}: ${r.action}, ${kind}${times}`, ...cells, `    settle: ${SETTLE[kind]}`]
  })
}

function side({ there }: ListedRow, { base, ours, theirs }: Sides, values: boolean): string {
  const one = (is: boolean, value: string | null) => (!is ? 'no row' : value === null ? 'NULL' : values ? value : '***')
  return `at the release ${one(there.base, base)}, ours ${one(there.ours, ours)}, theirs ${one(there.theirs, theirs)}`
}

export function outcomeLines({ carried, left, proof, archive }: CarryOutcome, width: number): string[] {
  const open = left.filter(t => Object.keys(t.conflicts).length > 0 || t.held > 0)
  const lines = archive.parts.reduce((sum, part) => sum + part.lines, 0)
  return [
    `${carried} rows were carried forward. ${proof.ok ? 'Proven: everything was compared again.' : 'NOT PROVEN.'}`,
    `${proof.listed} are listed as conflicts, ${proof.quarantined} in quarantine; ${lines} lines are in the archive.`,
    ...table(open.map(row), width, '  '),
  ]
}

/** `archive`: where what is left lies. `command`: that puts it back. */
export function replayLines(
  { parts, listed, quarantined }: Replayed,
  { archive, command, width }: { archive: string; command: string; width: number },
): string[] {
  const rows = parts.map(p => [
    `${nameOf(p)}${p.kind === undefined ? '' : ` (${p.kind})`}`,
    `${p.back} ${p.kind === 'deleted' ? 'gone again' : 'back'}`,
    `${p.done} ${p.kind === 'deleted' ? 'gone' : 'there'} already`,
    p.conflicts === 0 ? '' : `${p.conflicts} left: ${p.why}`,
    p.seeded === 0 ? '' : `${p.seeded} as they were right after migrating, left to the migration that ran since`,
    p.computed === undefined ? '' : `${p.computed.join(', ')}: computed by the database now, stays in the archive`,
  ])
  return [
    ...(rows.length === 0 ? ['Nothing of it was archived for want of a place.'] : table(rows, width)),
    ...leftLines(listed, archive, command, width),
    ...(quarantined === 0 ? [] : ['', `${quarantined} rows are in quarantine: backout data release`]),
  ]
}

function nameOf({ table: name, columns }: Pick<ListedLeft, 'table' | 'columns'>): string {
  return columns === null ? name : `${name}: ${columns.join(', ')}`
}

function leftLines(listed: readonly ListedLeft[], archive: string, command: string, width: number): string[] {
  if (listed.length === 0) return []
  const rows = listed.map(l => [
    nameOf(l),
    `${l.rows} ${l.kind}`,
    l.word === null ? (l.why ?? '') : `--settle ${l.word}`,
  ])
  const [first] = listed.flatMap(l => l.word ?? [])
  const way =
    first === undefined ? [] : [`Put back, where the value is still as it was then: ${command} --settle ${first}`]
  return [
    '',
    'Listed as conflicts when data was carried, and not put back:',
    ...table(rows, width, '  '),
    ...way,
    `See them: zstd -dc ${archive}`,
  ]
}
