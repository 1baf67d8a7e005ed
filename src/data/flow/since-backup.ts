import type { Backup } from '../../core/contract.ts'
import { compareFingerprints, type DataDifference } from '../diff.ts'
import type { Fingerprint } from '../fingerprint.ts'
import { OBJECTS } from '../objects.ts'
import type { Rename } from '../renames.ts'
import type { SchemaShape } from '../schema.ts'
import { readLive } from './level.ts'
import { lostByGoingDown, notBefore } from './lost.ts'
import { renamesOver } from './renames.ts'
import { measureSince, oldName, type Since } from './since.ts'
import { isState, readOrTell, type State } from './site.ts'
import type { Look } from './steps.ts'

export const AT_MOST =
  'at most: the fingerprints tell that it changed, and not how much; counted exactly right before the restore'

/** What a restore would lose: counted row by row where the backup can be read as it lies, else the most that it can be. */
export async function sinceBackup(look: Look, backup: Backup): Promise<Since | State> {
  const { site, question } = look
  const { peek } = site.engine
  if (peek !== undefined) {
    const since = await measureSince(site, await peek(backup), question.to, question.signal)
    if (isState(since)) return since
    return { ...since, loss: since.loss.map(l => ({ ...l, since: notBefore(l.since, question.to.at) })) }
  }
  return atMost(look)
}

async function atMost({ site, question }: Look): Promise<Since | State> {
  const { to, signal } = question
  return readOrTell(site, signal, async now => {
    const { schema } = await readLive(site, now, to.level)
    const then = { schema: to.schema, data: to.fingerprint }
    const { renames } = await renamesOver(site, { now, base: null, both: null }, then, schema, signal)
    const columns = renames.filter(r => r.now.column !== null)
    const loss = await lostByGoingDown(site, now, {
      base: to.schema,
      live: schema,
      declared: [],
      renames: columns,
      at: to.at,
    })
    const data = underOldNames(await now.fingerprint(schema, undefined, to.fingerprint.method), columns)
    const returning: Record<string, number> = {}
    for (const d of differencesOf(withObjects(to.fingerprint), data, written(to.schema, schema))) {
      if (d.rowsThen === null || d.rowsNow === null) continue
      const rows = (how: string, count: number) =>
        loss.push({ what: `${d.table} (${how})`, count, unit: 'rows', since: to.at, note: AT_MOST })
      rows('added', d.rowsNow)
      if (d.columns.length > 0) rows('changed', Math.min(d.rowsThen, d.rowsNow))
      if (d.rowsNow < d.rowsThen) returning[d.table] = d.rowsThen - d.rowsNow
    }
    return { loss: loss.filter(l => l.count > 0), returning }
  })
}

/** Where there was no large object, none is told of. */
function withObjects({ method, tables }: Fingerprint): Fingerprint {
  return { method, tables: { [OBJECTS]: { rows: 0, columns: { content: '' } }, ...tables } }
}

function underOldNames({ method, tables }: Fingerprint, renames: readonly Rename[]): Fingerprint {
  const renamed = Object.entries(tables).map(([table, { rows, columns }]) => {
    const named = Object.entries(columns).flatMap(([column, digest]) => {
      const name = oldName(table, column, renames)
      return name === null ? [] : [[name, digest] as const]
    })
    return [table, { rows, columns: Object.fromEntries(named) }] as const
  })
  return { method, tables: Object.fromEntries(renamed) }
}

/** Columns by table that were computed then and are written now: no fingerprint knows what they held. */
function written(base: SchemaShape, live: SchemaShape): ReadonlyMap<string, string[]> {
  const of = (table: string) =>
    Object.entries(base.tables[table]?.columns ?? {})
      .filter(([name, { generated }]) => generated && live.tables[table]?.columns[name]?.generated === false)
      .map(([name]) => name)
  return new Map(Object.keys(base.tables).map(table => [table, of(table)]))
}

/** Fingerprints that were made in different ways tell nothing: everything may have changed. */
function differencesOf(then: Fingerprint, now: Fingerprint, unknown: ReadonlyMap<string, string[]>): DataDifference[] {
  const found = then.method === now.method ? compareFingerprints(then, now) : []
  return Object.entries(now.tables).flatMap(([table, { rows, columns }]) => {
    const was = then.tables[table]
    const told = found.find(d => d.table === table)
    const more = unknown.get(table) ?? []
    if (was === undefined || (then.method === now.method && more.length === 0)) return told ?? []
    const names = then.method === now.method ? [...(told?.columns ?? []), ...more] : Object.keys(columns)
    return [{ table, columns: names, rowsThen: was.rows, rowsNow: rows, text: `${table}: unknown` }]
  })
}
