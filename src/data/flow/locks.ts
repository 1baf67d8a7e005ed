import type { Finding } from '../../core/contract.ts'
import type { Reader } from '../engine.ts'
import type { SchemaDifference, SchemaShape } from '../schema.ts'
import type { Say } from './checks.ts'
import type { Site } from './site.ts'

/** Below that many rows nobody notices. */
const MANY = 10_000

/** What undoing a difference makes the system do to the whole table, with nobody else writing. */
export type Toil = 'rewrites' | 'reads'

/** Notes for tables that undoing keeps busy, and how big they are. */
export async function lockFindings(
  site: Site,
  db: Reader,
  differences: readonly SchemaDifference[],
  { base, live }: { base: SchemaShape; live: SchemaShape },
  say: Say,
): Promise<Finding[]> {
  const rows = await db.rowCounts(live)
  const toils = new Map<string, Toil>()
  for (const d of differences) {
    const toil = toilOf(site, d, base, live)
    if (toil === null || (rows[d.table] ?? 0) < MANY) continue
    if (toils.get(d.table) !== 'rewrites') toils.set(d.table, toil)
  }
  return [...toils].map(([table, toil]) => {
    const what = `Undoing ${toil} the whole table ${table} (about ${rows[table]} rows), and others wait for it meanwhile`
    return say('note', 'long_lock', what, '')
  })
}

function toilOf({ engine }: Site, d: SchemaDifference, base: SchemaShape, live: SchemaShape): Toil | null {
  const [then, now] = [base.tables[d.table], live.tables[d.table]]
  if (then === undefined || now === undefined) return null
  const own = engine.dialect.toil?.(d)
  if (own !== undefined) return own
  if (d.object === 'index') return d.is === 'added' ? null : 'reads'
  if (d.object === 'constraint') return d.is === 'gone' ? 'reads' : null
  if (d.object !== 'column' || d.is !== 'changed') return null
  const [was, is] = [then.columns[d.member ?? ''], now.columns[d.member ?? '']]
  if (was?.type !== is?.type) return 'rewrites'
  return was?.nullable === false && is?.nullable === true ? 'reads' : null
}
