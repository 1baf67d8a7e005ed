import type { Backup } from '../../core/contract.ts'
import { compareFingerprints, type DataDifference } from '../diff.ts'
import type { Fingerprint } from '../fingerprint.ts'
import { readLive } from './level.ts'
import { lostByGoingDown, notBefore } from './lost.ts'
import { renamesOver } from './renames.ts'
import { measureSince, type Since } from './since.ts'
import { isState, readOrTell, type State } from './site.ts'
import type { Look } from './steps.ts'

export const AT_MOST =
  'at most: the fingerprints tell that it changed, and not how much; counted exactly right before the restore'

/** What a restore would lose: counted row by row where the backup can be read as it lies, else the most that it can be. */
export async function sinceBackup(look: Look, backup: Backup): Promise<Since | State> {
  const { site, question } = look
  const { peek } = site.engine
  if (peek !== undefined) {
    const since = await measureSince(site, await peek(backup), question.to.schema, question.signal)
    if (isState(since)) return since
    return { ...since, loss: since.loss.map(l => ({ ...l, since: notBefore(l.since, question.to.at) })) }
  }
  return atMost(look)
}

async function atMost({ site, question }: Look): Promise<Since | State> {
  const { to, signal } = question
  return readOrTell(site, signal, async now => {
    const { schema } = await readLive(site, now)
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
    const data = await now.fingerprint(schema, undefined, to.fingerprint.method)
    const returning: Record<string, number> = {}
    for (const d of differencesOf(to.fingerprint, data)) {
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

/** Fingerprints that were made in different ways tell nothing: everything may have changed. */
function differencesOf(then: Fingerprint, now: Fingerprint): DataDifference[] {
  if (then.method === now.method) return compareFingerprints(then, now)
  return Object.entries(now.tables).flatMap(([table, { rows, columns }]) => {
    const was = then.tables[table]
    if (was === undefined) return []
    return [{ table, columns: Object.keys(columns), rowsThen: was.rows, rowsNow: rows, text: `${table}: unknown` }]
  })
}
