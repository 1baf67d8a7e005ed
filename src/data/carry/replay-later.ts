import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { sameJson } from '../../core/json.ts'
import { byText } from '../../core/order.ts'
import { type ArchivedPart, readArchive } from './archive.ts'
import type { Ground } from './piece.ts'
import type { ReplaySource } from './replay.ts'
import { LINE, type Lines } from './replay-lines.ts'
import { loaded, type Place } from './replay-places.ts'

/**
 * Marks lines of which a later run's archive has the same row: what users had then is that one's, and this one is from before.
 * Throws `archive_altered` of a later one, too.
 */
export async function leaveLater(source: ReplaySource, ground: Ground, places: readonly Place[]): Promise<void> {
  let made = 0
  for (const later of await laterThan(source)) {
    const manifest = await readArchive(later.dir)
    for (const { part, lines } of places) {
      if (lines === null || part.kind !== undefined) continue
      const has = manifest?.parts.find(p => p.what === part.what && p.table === part.table && sameKey(p, lines))
      if (has === undefined) continue
      // As what the migration had put there: found by its key.
      const of = { ...has, what: 'seeded', columns: {} } as const
      const others = await loaded(later, ground, of, lines.kept.shape, `later_${made++}`)
      const same = lines.keys.map((k, i) => `l.k${others.keys.indexOf(k)} = w.k${i}`).join(' AND ')
      const known = `SELECT w.n AS n FROM ${lines.work} AS w JOIN ${others.work} AS l ON ${same}`
      await lines.mark(LINE.later, `${known} WHERE w.state = ${LINE.waits}`)
    }
  }
}

/** The same component's, oldest first: runs are named by their time. */
async function laterThan(source: ReplaySource): Promise<ReplaySource[]> {
  const folder = dirname(source.dir)
  const there = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const own = basename(source.dir)
  const runs = there.filter(entry => entry.isDirectory() && byText(entry.name, own) > 0).map(entry => entry.name)
  return runs.toSorted(byText).map(run => ({ ...source, run, dir: join(folder, run) }))
}

/** Rows without a key cannot be told apart. Of a key that has another type now the texts say nothing. */
function sameKey({ key }: ArchivedPart, { kept, retyped }: Lines): boolean {
  const names = Object.keys(kept.key)
  return names.length > 0 && sameJson(key, kept.key) && !names.some(k => retyped.includes(k))
}
