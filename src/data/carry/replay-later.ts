import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { sameJson } from '../../core/json.ts'
import { byText } from '../../core/order.ts'
import { type ArchivedPart, readArchive } from './archive.ts'
import { howMany, tells } from './cells.ts'
import type { Ground } from './piece.ts'
import type { ReplaySource } from './replay.ts'
import { cellsOf } from './replay-cells.ts'
import { LINE, type Lines } from './replay-lines.ts'
import { loaded, type Place } from './replay-places.ts'
import { readOutcome } from './state.ts'

/**
 * Sees to it that what a later run's archive has counts: what users had then is that one's, and this one is from before. Of cells
 * those stay away that it has, of the same row; a row only where it is the same, and where it is another one that is to come under
 * the same key, it is left. Throws `archive_altered` of a later one, too.
 */
export async function leaveLater(source: ReplaySource, ground: Ground, places: readonly Place[]): Promise<void> {
  let made = 0
  for (const later of await laterThan(source)) {
    const manifest = await readArchive(later.dir)
    const waits = (await readOutcome(later.dir))?.replayed === undefined
    for (const { part, lines } of places) {
      if (lines === null || part.kind !== undefined) continue
      const has = manifest?.parts.find(p => p.what === part.what && p.table === part.table && alikeInKey(p, lines))
      const columns = Object.entries(has?.columns ?? {}).filter(([c, type]) => lines.kept.columns[c] === type)
      if (has === undefined || (part.what === 'cells' && columns.length === 0)) continue
      // As what the migration had put there: found by its key.
      const of = { ...has, what: 'seeded', columns: Object.fromEntries(columns) } as const
      const others = await loaded(later, ground, of, lines.kept.shape, `later_${made++}`)
      if (part.what === 'cells') lines.laters.push(others)
      else await leaveRows(ground, lines, others, waits)
    }
  }
  for (const { lines, part } of places)
    if (part.what === 'cells' && lines !== null && lines.laters.length > 0) await leaveCells(ground, lines)
}

async function leaveRows({ dialect }: Ground, lines: Lines, others: Lines, waits: boolean): Promise<void> {
  const cells = others.columns.map((c, j) => {
    const text = `w.v${lines.columns.indexOf(c)}`
    return { telling: tells(text), same: `NOT ${dialect.differs(text, `l.v${j}`)}` }
  })
  const stays = howMany(cells.map(({ telling, same }) => `${telling} AND (${same})`))
  const goes = howMany(cells.map(({ telling, same }) => `${telling} AND NOT (${same})`))
  const both = `SELECT w.n AS n FROM ${lines.work} AS w JOIN ${others.work} AS l ON ${lines.sameKey(others, 'l')}
    WHERE w.state = ${LINE.waits}`
  await lines.mark(LINE.later, `${both} AND (${stays} > ${goes} OR ${goes} = 0)`)
  // One that has come by now is found in its place, with what refers to it; or it was removed since.
  if (!waits) return
  await lines.mark(LINE.left, `${both} AND NOT EXISTS (SELECT 1 FROM ${lines.ours} AS o WHERE ${lines.onKey})`)
}

/** Those of which users had written to nothing else: of the others the rest goes its way, cell by cell. */
async function leaveCells(ground: Ground, lines: Lines): Promise<void> {
  const comes = cellsOf(ground, lines).map(({ comes }) => comes)
  const has = lines.laters.map(l => `EXISTS (SELECT 1 FROM ${l.work} AS l WHERE ${lines.sameKey(l, 'l')})`)
  await lines.mark(
    LINE.later,
    `SELECT w.n AS n FROM ${lines.some(`w.state = ${LINE.waits}`)} WHERE (${has.join(' OR ')}) AND NOT (${comes.join(' OR ')})`,
  )
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
function alikeInKey({ key }: ArchivedPart, { kept, retyped }: Lines): boolean {
  const names = Object.keys(kept.key)
  return names.length > 0 && sameJson(key, kept.key) && !names.some(k => retyped.includes(k))
}
