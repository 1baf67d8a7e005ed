import type { Loss } from '../../core/contract.ts'
import type { Image } from '../engine.ts'
import { OBJECTS, sideBySide } from '../objects.ts'
import type { Rename } from '../renames.ts'
import type { SchemaShape } from '../schema.ts'
import { byContent, type Column, joined, matchOf, type Pair } from './compare.ts'
import { readLive } from './level.ts'
import { KEPT, lostByGoingDown, type Way } from './lost.ts'
import { renamesOver } from './renames.ts'
import type { DatabasePin } from './settings.ts'
import { type Sides, withSides } from './sides.ts'
import { nounOf, type Site, type State, tellState } from './site.ts'

/** What a restore would change. */
export interface Since {
  readonly loss: readonly Loss[]
  /** Tables with rows that were deleted since, and how many: a restore brings them back. */
  readonly returning: Readonly<Record<string, number>>
}

/** The copy is there: no need of a fingerprint. */
const NO_DATA = { method: '', tables: {} }

/** What was written since the backup, counted to the row; or why the database cannot be asked. */
export function measureSince(
  site: Site,
  image: Image,
  { schema: base, level }: Pick<DatabasePin, 'schema' | 'level'>,
  signal: AbortSignal,
): Promise<Since | State> {
  return tellState(() =>
    withSides(site.engine, image, signal, async sides => {
      const { schema } = await readLive(site, sides.now, level)
      const { renames } = await renamesOver(site, sides, { schema: base, data: NO_DATA }, schema, signal)
      // Rows are compared table by table, by the table's name: those of a renamed one count as gone and added.
      const columns = renames.filter(r => r.now.column !== null)
      const loss = await lostByGoingDown(site, sides.now, { base, live: schema, declared: [], renames: columns })
      return changedSince(site, sides, { base, live: schema, renames: columns }, loss, signal)
    }),
  )
}

async function changedSince(
  site: Site,
  sides: Sides,
  { base, live, renames }: Pick<Way, 'base' | 'live' | 'renames'>,
  first: readonly Loss[],
  signal: AbortSignal,
): Promise<Since> {
  const loss = [...first]
  const returning: Record<string, number> = {}
  for (const [table, now] of Object.entries(live.tables)) {
    const then = base.tables[table]
    if (then === undefined) continue
    signal.throwIfAborted()
    const found = await changesOf(site, sides, pairOf(table, then, now, renames))
    loss.push(...rowLoss(table, found.added, 'added'), ...rowLoss(table, found.changed, 'changed'))
    if (found.deleted > 0) returning[table] = found.deleted
  }
  const objects = await objectsSince(sides)
  loss.push(...rowLoss(OBJECTS, objects.added, 'added'), ...rowLoss(OBJECTS, objects.changed, 'changed'))
  if (objects.deleted > 0) returning[OBJECTS] = objects.deleted
  return { loss, returning }
}

async function objectsSince({ now, base }: Sides): Promise<Changes> {
  const found = { added: 0, deleted: 0, changed: 0 }
  if (now.objects === undefined || base?.objects === undefined) return found
  for await (const { digests } of sideBySide([base.objects, now.objects])) {
    const [then, is] = digests
    if (then === is) continue
    found[then === null ? 'added' : is === null ? 'deleted' : 'changed']++
  }
  return found
}

export interface Changes {
  readonly added: number
  readonly deleted: number
  readonly changed: number
}

/** Without a key a changed row is one that came and one that went. */
export async function changesOf({ engine }: Site, sides: Sides, pair: Pair): Promise<Changes> {
  const match = matchOf(engine.dialect, pair, was => pair.columns.find(c => c.base === was)?.now ?? was)
  if (match === null || 'number' in match) return { ...(await byContent(engine.dialect, sides, pair)), changed: 0 }
  const found = await joined(engine.dialect, sides, pair, match)
  const { joined: both } = found
  return { added: found.now - both, deleted: found.base - both, changed: both - found.equal }
}

/** A table under one name, with the columns that it has on both sides, whatever they are called. */
export function pairOf(
  table: string,
  then: SchemaShape['tables'][string],
  now: SchemaShape['tables'][string],
  renames: readonly Rename[] = [],
): Pair {
  const columns = Object.keys(now.columns).flatMap((name): Column[] => {
    const base = oldName(table, name, renames)
    const was = base === null ? undefined : then.columns[base]
    // What was computed then and is written now holds what users wrote.
    return base === null || was === undefined || now.columns[name]?.generated !== false ? [] : [{ now: name, base }]
  })
  return { now: { table, shape: now }, base: { table, shape: then }, columns }
}

/** What a column was called; null where its name was another one's then, so that it is new. */
export function oldName(table: string, column: string, renames: readonly Rename[]): string | null {
  const own = renames.filter(r => r.now.table === table && r.was.table === table)
  const found = own.find(r => r.now.column === column)
  if (found !== undefined) return found.was.column
  return own.some(r => r.was.column === column) ? null : column
}

function rowLoss(table: string, rows: number, how: 'added' | 'changed'): Loss[] {
  return rows === 0 ? [] : [{ what: `${table} (${how})`, count: rows, unit: 'rows', since: null, note: KEPT }]
}

/** A database that cannot be read loses all that was written since, whatever that is. */
export function everything(site: Site, since: string, is: State): Loss {
  return {
    what: 'everything written since',
    count: 1,
    unit: 'database',
    since,
    note: `the ${nounOf(site)} is ${is}: nobody can count it`,
  }
}
