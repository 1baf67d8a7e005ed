import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { sqliteDialect } from '../../src/adapters/sqlite/dialect.ts'
import type { Schemas } from '../../src/data/carry/mapping.ts'
import type { TablePlan } from '../../src/data/carry/plan.ts'
import type { ListedRow } from '../../src/data/carry/rows.ts'
import type { Rename } from '../../src/data/renames.ts'
import type { SchemaShape } from '../../src/data/schema.ts'

/** Everything that one database holds, as exact texts; read without any of the code that merges. */
export type Dump = Readonly<Record<string, readonly Readonly<Record<string, string | null>>[]>>

export function dumpOf(file: string, own = false): Dump {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    const tables = db.prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`).all()
    const names = tables.map(t => String(t['name'])).filter(n => own || !n.startsWith('backout'))
    return Object.fromEntries(
      names.sort().map(name => {
        const columns = db
          .prepare('SELECT name FROM pragma_table_info(?)')
          .all(name)
          .map(c => String(c['name']))
        const list = columns.map(c => `${sqliteDialect.text(`"${c}"`, '')} AS "${c}"`)
        const rows = db
          .prepare(`SELECT ${list.join(', ')} FROM "${name}"`)
          .all()
          .map(r => ({ ...r }) as Record<string, string | null>)
        return [name, rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))]
      }),
    )
  } finally {
    db.close()
  }
}

export function soundness(file: string): unknown[] {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    const orphans = db.prepare('PRAGMA foreign_key_check').all()
    const broken = db
      .prepare('PRAGMA integrity_check')
      .all()
      .filter(r => r['integrity_check'] !== 'ok')
    return [...orphans, ...broken]
  } finally {
    db.close()
  }
}

export interface World {
  readonly base: Dump
  /** As the migration alone left it; null: nobody can tell its work from users'. */
  readonly own: Dump | null
  readonly theirs: Dump
  readonly before: Dump
  readonly after: Dump
  readonly schemas: Schemas
  readonly renames: readonly Rename[]
  readonly listed: readonly ListedRow[]
  /** A person said that theirs counts where both sides wrote. */
  readonly theirsCounts?: boolean
}

type Cells = Readonly<Record<string, string | null>>

/** Throws where a change that users committed is neither in ours nor listed, or where something else was touched. */
export function expectNothingLost(
  world: World,
  table: { table: string; theirs: string; key: readonly string[] },
): void {
  const side = sidesOf(world, table)
  if (table.key.length === 0) expectCounts(world, table.table, side)
  else expectRows(world, table, side)
}

interface Side {
  readonly columns: readonly string[]
  readonly base: readonly Cells[]
  readonly theirs: readonly Cells[]
  readonly from: readonly Cells[]
  readonly before: readonly Cells[]
  readonly after: readonly Cells[]
}

function sidesOf(world: World, { table, theirs }: { table: string; theirs: string }): Side {
  const newName = (column: string) =>
    world.renames.find(r => r.was.table === table && r.was.column === column)?.now.column ?? column
  const there = columnsIn(world.schemas.theirs, theirs)
  const columns = columnsIn(world.schemas.base, table).filter(c => there.includes(newName(c)))
  const project = (rows: readonly Cells[], name: (c: string) => string) =>
    rows.map(r => Object.fromEntries(columns.map(c => [c, r[name(c)] ?? null])))
  const base = project(world.base[table] ?? [], c => c)
  return {
    columns,
    base,
    theirs: project(world.theirs[theirs] ?? [], newName),
    from: world.own === null ? base : project(world.own[theirs] ?? [], newName),
    before: project(world.before[table] ?? [], c => c),
    after: project(world.after[table] ?? [], c => c),
  }
}

function columnsIn(schema: SchemaShape, table: string): string[] {
  return Object.keys(schema.tables[table]?.columns ?? {})
}

function expectRows(
  { listed, theirsCounts, own }: World,
  { table, key }: { table: string; key: readonly string[] },
  side: Side,
): void {
  const by = (rows: readonly Cells[]) => new Map(rows.map(r => [keyText(r, key), r]))
  const [base, theirs, from, before, after] = [side.base, side.theirs, side.from, side.before, side.after].map(by) as [
    Map<string, Cells>,
    Map<string, Cells>,
    Map<string, Cells>,
    Map<string, Cells>,
    Map<string, Cells>,
  ]
  const told = new Map(listed.filter(l => l.table === table).map(l => [keyText(l.key, key), l]))
  const changed = new Set<string>()
  for (const [k, row] of theirs) {
    const old = base.get(k)
    // A row that came before the migration had ended may be a user's, unless they were away.
    const was = own === null ? undefined : from.get(k)
    const differs = side.columns.filter(
      c => (old === undefined || row[c] !== old[c]) && (was === undefined || row[c] !== was[c]),
    )
    if (differs.length === 0) continue
    changed.add(k)
    const now = after.get(k)
    const cells = told.get(k)?.cells ?? {}
    const unlisted = differs.filter(c => cells[c] === undefined || cells[c].theirs !== row[c])
    if (unlisted.length > 0)
      expect(pick(now, unlisted), `${table} ${k} was committed and is neither carried nor listed`).toEqual(
        pick(row, unlisted),
      )
  }
  for (const k of base.keys()) {
    if (theirs.has(k) || !from.has(k)) continue
    changed.add(k)
    if (!told.has(k)) expect(after.has(k), `${table} ${k} was deleted and is neither gone nor listed`).toBe(false)
  }
  // What was written into ours after the restore is not written over, but by a person's word.
  for (const [k, row] of theirsCounts === true ? [] : before) {
    const own = side.columns.filter(c => base.get(k) === undefined || row[c] !== base.get(k)?.[c])
    if (own.length > 0) expect(pick(after.get(k), own), `${table} ${k} was written in ours`).toEqual(pick(row, own))
  }
  for (const k of new Set([...before.keys(), ...after.keys()])) {
    const whole = told.get(k)
    const left = !changed.has(k) || (whole !== undefined && whole.action !== 'update')
    if (left) expect(after.get(k), `${table} ${k} was not to be touched`).toEqual(before.get(k))
  }
}

interface Counts {
  readonly base: number
  readonly theirs: number
  readonly before: number
  readonly after: number
  /** How many more theirs has by users, or fewer. */
  readonly change: number
}

/** How often each row of a table without a key is where. */
function countsIn(side: Side): Map<string, Counts> {
  const count = (rows: readonly Cells[]) => {
    const out = new Map<string, number>()
    for (const row of rows) out.set(JSON.stringify(row), (out.get(JSON.stringify(row)) ?? 0) + 1)
    return (row: string) => out.get(row) ?? 0
  }
  const [base, theirs, from, before, after] = [side.base, side.theirs, side.from, side.before, side.after].map(
    count,
  ) as [
    (r: string) => number,
    (r: string) => number,
    (r: string) => number,
    (r: string) => number,
    (r: string) => number,
  ]
  const every = new Set([...side.theirs, ...side.base, ...side.before, ...side.after].map(r => JSON.stringify(r)))
  return new Map(
    Array.from(every, row => {
      const change = theirs(row) === base(row) ? 0 : theirs(row) - from(row)
      return [row, { base: base(row), theirs: theirs(row), before: before(row), after: after(row), change }]
    }),
  )
}

/** How many rows are to be written: of some that went no more go than there are. */
function toMove({ before, change }: Counts): number {
  return change < 0 && before > 0 ? Math.min(-change, before) : Math.abs(change)
}

function expectCounts({ listed, theirsCounts }: World, table: string, side: Side): void {
  const told = new Map(
    listed
      .filter(l => l.table === table)
      .map(l => [JSON.stringify(Object.fromEntries(side.columns.map(c => [c, l.cells[c]?.theirs ?? null]))), l]),
  )
  for (const [row, counts] of countsIn(side)) {
    const { base, before, after, change } = counts
    const what = `${table} ${row}: ${JSON.stringify(counts)}`
    const line = told.get(row)
    if (line !== undefined) expect(line.times ?? 1, what).toBe(toMove(counts))
    // Others of ours keep nothing back that came.
    if (line?.kind === 'changed') expect(change, what).toBeLessThan(0)
    // Where ours has others nobody can tell which of them went.
    const sure = change >= 0 || before === base || before === 0 || theirsCounts === true
    if (line === undefined) expect(sure, `${what} is not listed`).toBe(true)
    expect(after, what).toBe(line === undefined ? Math.max(0, before + change) : before)
  }
}

/** Throws where the numbers of a plan of a table without a key are not those of its rows. */
export function expectNumbers(world: World, plan: TablePlan): void {
  if (plan.key.length > 0) return
  const counts = [...countsIn(sidesOf(world, plan)).values()]
  const conflicts = Object.values(plan.conflicts).reduce((a, b) => a + b, 0)
  expect(
    plan.inserts + plan.updates + plan.deletes + plan.done + plan.settled + plan.held + conflicts,
    plan.table,
  ).toBe(counts.reduce((sum, c) => sum + toMove(c), 0))
}

function pick(row: Cells | undefined, columns: readonly string[]): Cells | undefined {
  return row === undefined ? undefined : Object.fromEntries(columns.map(c => [c, row[c] ?? null]))
}

function keyText(row: Cells, key: readonly string[]): string {
  return JSON.stringify(key.map(k => row[k]))
}
