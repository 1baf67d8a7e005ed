import type { Job } from '../engine.ts'
import { thrown } from './batches.ts'
import type { Ground } from './piece.ts'
import { LINE, type Lines, named } from './replay-lines.ts'
import { AT_ONCE, type Place } from './replay-places.ts'
import type { Strangers } from './strangers.ts'

/**
 * Rows that the migration had put into its tables and that users deleted go again, where the migration that ran since has put
 * them there just as they were and nothing refers to them. `places`: those of tables that others refer to come last.
 */
export async function deleteAgain(
  ground: Ground,
  places: readonly Place[],
  strangers: Strangers,
  job: Job,
): Promise<void> {
  const all = places.flatMap(place => (place.lines === null ? [] : [{ place, lines: place.lines }]))
  for (const { lines } of all) await lines.mark(LINE.left, `SELECT w.n AS n FROM ${there(lines)} AND ${lines.unlike}`)
  for (let more = all.length > 0; more; ) {
    more = false
    for (const { place, lines } of all) {
      for (let from = 0; from < lines.many; from += AT_ONCE) {
        job.progress({ text: `deleting from ${lines.kept.table}`, done: from, total: lines.many })
        const gone = await deleteSome(ground, lines, strangers, `w.n >= ${from} AND w.n < ${from + AT_ONCE}`)
        place.back += gone
        more ||= gone > 0
      }
    }
  }
  for (const { lines } of all) {
    await lines.mark(LINE.cut, `SELECT w.n AS n FROM ${there(lines)}`)
    await ground.merger.transaction(() => lines.note(`w.state = ${LINE.waits}`))
  }
}

const there = (lines: Lines) =>
  `${lines.work} AS w JOIN ${lines.ours} AS o ON ${lines.onKey} WHERE w.state = ${LINE.waits}`

function deleteSome({ merger, dialect }: Ground, lines: Lines, strangers: Strangers, among: string): Promise<number> {
  return merger.transaction(async () => {
    // Users may have written to it since it was looked at.
    const free = `${there(lines)} AND ${among} AND NOT (${lines.unlike}) AND ${strangers.unreferred('o', lines.kept.table)}`
    const found = (await merger.query(`SELECT w.n AS n FROM ${free}`)).map(({ n }) => Number(n))
    if (found.length === 0) return 0
    const these = `SELECT w.n AS n FROM ${lines.work} AS w WHERE w.n IN (${found.join(', ')})`
    const keys = lines.keys.map((k, i) => dialect.value(`w.k${i}`, lines.typeOf(k)))
    const which = `SELECT ${keys.join(', ')} FROM ${lines.work} AS w WHERE w.n IN (${found.join(', ')})`
    let gone = 0
    const refused = await merger.savepoint(async () => {
      gone = await merger.run(dialect.remove(lines.ours, named(dialect, 'o', lines.keys), which))
    })
    if (refused !== null) {
      if (merger.refusal(refused) === null) throw thrown(refused)
      await lines.mark(LINE.refused, these)
      return 0
    }
    await lines.note(`w.n IN (${found.join(', ')})`)
    await lines.mark(LINE.noted, these)
    return gone
  })
}
