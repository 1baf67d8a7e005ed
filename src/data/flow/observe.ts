import type { Observation } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import { schemaHash } from '../schema.ts'
import { shownLevel } from './levels.ts'
import { isState, nounOf, readOrTell, type Site } from './site.ts'
import { readNow } from './under-way.ts'

export async function observe(site: Site, signal: AbortSignal): Promise<Observation> {
  const identity = await site.engine.identity(signal)
  const noun = nounOf(site)
  const read = await readOrTell(site, signal, async db => {
    const live = await readNow(site, db, signal)
    // A migration under way may lock the tables that it changes: then nothing is asked of tables.
    const rows = live.running.length > 0 ? {} : await db.rowCounts(live.schema)
    return { live, rows, bytes: await db.bytes() }
  })
  if (isState(read)) {
    const summary = read === 'missing' ? `there is no ${noun}` : `the ${noun} is no readable database`
    return { identity, state: { [noun]: read, level: null, schema: null }, detail: null, summary, inFlight: [] }
  }
  const { live, rows, bytes } = read
  // Whoever waits for it to end waits for ever: it is told, and does not stand in the way of a restore.
  const halfDone = live.unfinished.filter(what => !live.running.includes(what))
  return {
    identity,
    state: { [noun]: 'ok', level: toJson(live.level), schema: schemaHash(live.schema) },
    detail: { bytes, rows },
    summary: [`${shownLevel(live.level)}, ${Object.keys(live.schema.tables).length} tables`, ...halfDone].join('; '),
    inFlight: live.running.map(what => ({ what, since: null })),
  }
}
