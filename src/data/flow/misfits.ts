import type { Finding, Loss } from '../../core/contract.ts'
import type { Dialect, Reader } from '../engine.ts'
import type { Rename } from '../renames.ts'
import { compareSchemas, type SchemaDifference, type SchemaShape, type TableShape } from '../schema.ts'
import { askedNumber } from './asked.ts'
import type { Say } from './checks.ts'
import { bondMisfits } from './misfit-bonds.ts'
import { partMisfits } from './misfit-parts.ts'
import { uniqueMisfits } from './misfit-uniques.ts'
import { underNewNames } from './renamed-base.ts'
import type { Site } from './site.ts'

/** Rows that do not fit any more once something is as narrow again as at the release. */
export interface Misfit {
  /** "orders.note (no value)". */
  readonly what: string
  /** null: nobody can count them. */
  readonly count: number | null
  readonly unit: 'values' | 'rows'
  /** For people: "orders.note is NOT NULL again". */
  readonly why: string
}

/** A table that is there at the release and now, with both schemas. */
export interface Narrowed {
  readonly dialect: Dialect
  readonly db: Reader
  readonly table: string
  readonly then: TableShape
  readonly now: TableShape
  readonly base: SchemaShape
  readonly live: SchemaShape
}

const NOTE =
  'does not fit the schema of the release: the down-script fails on it, or changes it; kept in the pre-rollback backup'

/**
 * Counted in the live database: values missing, too long, out of range or of another kind, and rows that are no longer unique,
 * break a check, or refer to nothing. What was renamed is told by its new name.
 */
export async function misfitsOf(
  site: Site,
  db: Reader,
  way: { readonly base: SchemaShape; readonly live: SchemaShape; readonly renames: readonly Rename[] },
): Promise<Misfit[]> {
  const out: Misfit[] = []
  const { live } = way
  const base = underNewNames(way.base, live, way.renames)
  for (const d of compareSchemas(base, live)) {
    if (d.object === 'column' && d.is === 'changed') out.push(...(await columnMisfits(site, db, d, base, live)))
  }
  const { dialect } = site.engine
  for (const [table, then] of Object.entries(base.tables)) {
    const now = live.tables[table]
    if (now === undefined) continue
    const narrowed: Narrowed = { dialect, db, table, then, now, base, live }
    for (const count of [wordMisfits, uniqueMisfits, partMisfits, bondMisfits]) out.push(...(await count(narrowed)))
  }
  return out
}

export function misfitLoss(misfits: readonly Misfit[]): Loss[] {
  return misfits.flatMap(({ what, count, unit }) =>
    count === null ? [] : [{ what, count, unit, since: null, note: NOTE }],
  )
}

export function misfitFindings(misfits: readonly Misfit[], say: Say): Finding[] {
  return misfits.map(m => {
    if (m.count === null) {
      const what = `${m.why}, and what does not fit it cannot be counted`
      return say('warning', 'rows_uncounted', what, 'count it by hand, and name in `loses` what undoing destroys')
    }
    const what = `${m.count} ${m.unit} do not fit the schema of the release: ${m.why}`
    return say(
      'warning',
      'rows_do_not_fit',
      what,
      'see that the down-script says what becomes of them, or mend them first',
    )
  })
}

async function columnMisfits(
  { engine }: Site,
  db: Reader,
  { table, member, name }: SchemaDifference,
  base: SchemaShape,
  live: SchemaShape,
): Promise<Misfit[]> {
  const column = member ?? ''
  const [then, now] = [base.tables[table]?.columns[column], live.tables[table]?.columns[column]]
  if (then === undefined || now === undefined || (then.generated && now.generated)) return []
  const { dialect } = engine
  const value = dialect.quote(column)
  const out: Misfit[] = []
  const add = async (condition: string, how: string, why: string) => {
    const count = await countWhere(db, dialect.table(table), condition)
    if (count !== 0) out.push({ what: `${name} (${how})`, count, unit: 'values', why })
  }
  if (then.generated) {
    // Whatever was written is computed over: no value of it is sure to come out the same.
    await add(`${value} IS NOT NULL`, 'at most, computed again', `${name} is computed again, and written now`)
    return out
  }
  if (now.nullable && !then.nullable) await add(`${value} IS NULL`, 'no value', `${name} is NOT NULL again`)
  const misfit = then.type === now.type ? null : (dialect.misfit?.(value, now, then, live, base) ?? null)
  if (misfit !== null) {
    await add(misfit, 'too wide', `${name} is ${then.type} again, and ${now.type} now`)
  }
  return out
}

/** Values of a column whose type has fewer words again, though it is called the same. */
async function wordMisfits({ dialect, db, table, then, now, base, live }: Narrowed): Promise<Misfit[]> {
  const out: Misfit[] = []
  for (const [column, { type }] of Object.entries(then.columns)) {
    if (now.columns[column]?.type !== type) continue
    const value = dialect.quote(column)
    const misfit = dialect.misfitWords?.(value, type, base, live) ?? null
    if (misfit === null) continue
    const count = await countWhere(db, dialect.table(table), misfit)
    const name = `${table}.${column}`
    if (count !== 0)
      out.push({ what: `${name} (too wide)`, count, unit: 'values', why: `${name} is a narrower ${type} again` })
  }
  return out
}

function countWhere(db: Reader, table: string, condition: string): Promise<number | null> {
  return askedNumber(db, `SELECT count(*) AS n FROM ${table} WHERE ${condition}`)
}
