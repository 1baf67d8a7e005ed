import { stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Backup } from '../../core/contract.ts'
import type { Beside, Both, Engine, Holder, Image, Job, Mended } from '../../data/engine.ts'
import { quoted, reading } from './database.ts'
import { sqliteDialect } from './dialect.ts'
import { COPY, copyAsIs, dump, makeReady, unpack } from './dump.ts'
import { holdersOf } from './holders.ts'
import { besideImage, frozenImage, keptImage, uriOf } from './image.ts'
import { openMerging } from './merging.ts'
import { fileAt, fileThere, type Where } from './place.ts'
import { readerOf } from './reader.ts'
import { swap } from './swap.ts'

/** A database file, as all that is built for databases sees it. */
export function sqliteEngine(where: Where): Engine {
  const { busyMs } = where
  return {
    dialect: sqliteDialect,
    name: where.path,
    identity: async () => `sqlite:${fileAt(where)}`,
    reading: async (signal, work) =>
      reading({ file: fileThere(where), busyMs, signal }, (db, again) => work(readerOf(db, signal, again))),
    holders: () => holders(fileAt(where)),
    toolEnv: () => ({ BACKOUT_DATABASE: fileAt(where) }),
    dump: async (dir, job, work) => dump({ file: fileThere(where), busyMs }, dir, job, work),
    beside: (backup, use, mark, job) => beside(where, backup, { use: use === 'swap' ? 'swap' : 'scratch', mark }, job),
    found: (use, mark) => found(where, use, mark),
    swap: (mark, job) =>
      swap({ file: fileAt(where), busyMs }, placeOf(where, 'swap', mark).file, kept(where, mark), job),
    kept: mark => keptIn(where, mark),
    freeBytes: () => freeBytes(fileAt(where)),
    peek: async backup => frozenImage(join(backup.dir, COPY)),
    both: (image, signal, work) => both(where, image, signal, work),
    stamp: () => stampOf(fileAt(where)),
    copyAsIs: dir => copyAsIs(fileAt(where), dir),
    mending: (backup, column) => mending(where, backup, column),
    merging: async (images, job) => openMerging(fileThere(where), busyMs, images, job),
    [Symbol.asyncDispose]: async () => {},
  }
}

/** Where a copy lies beside the database, and what is removed with it. */
function placeOf(where: Where, use: 'scratch' | 'swap', mark: string): { file: string; remove: string } {
  if (use === 'swap') {
    const file = `${fileAt(where)}.backout-${mark}`
    return { file, remove: file }
  }
  const remove = join(where.stateDir, `scratch-${mark}`)
  return { file: join(remove, COPY), remove }
}

function kept(where: Where, mark: string): string {
  return `${fileAt(where)}.before-${mark}`
}

async function beside(
  where: Where,
  backup: Backup,
  { use, mark }: { use: 'scratch' | 'swap'; mark: string },
  job: Job,
): Promise<Beside> {
  const { file, remove } = placeOf(where, use, mark)
  const image = besideImage(file, remove)
  job.guard()
  job.progress({ text: `unpacking ${backup.id}` })
  try {
    await unpack(backup, file)
    if (use === 'swap') await makeReady(backup, file, fileAt(where))
    return image
  } catch (error) {
    await image.drop()
    throw error
  }
}

async function found(where: Where, use: 'scratch' | 'swap', mark: string): Promise<Beside | null> {
  const { file, remove } = placeOf(where, use, mark)
  return (await stat(file).catch(() => null)) === null ? null : besideImage(file, remove)
}

/** The old file was kept, and another one stands in its place. */
async function keptIn(where: Where, mark: string): Promise<Image | null> {
  const file = kept(where, mark)
  const [old, now] = await Promise.all([file, fileAt(where)].map(f => stat(f).catch(() => null)))
  return old != null && now != null && old.ino !== now.ino ? keptImage(file, where.busyMs) : null
}

async function holders(file: string): Promise<Holder[]> {
  // Its locks cannot be asked for: whoever has it open may be in the middle of something.
  return (await holdersOf(file)).map(h => ({ id: `${h.pid}`, text: `process ${h.pid} (${h.command})`, busy: true }))
}

async function freeBytes(file: string): Promise<number | null> {
  const disk = await statfs(dirname(file)).catch(() => null)
  return disk === null ? null : disk.bavail * disk.bsize
}

async function stampOf(file: string): Promise<string> {
  const stats = await Promise.all([file, `${file}-wal`].map(f => stat(f, { bigint: true }).catch(() => null)))
  return stats.map(s => (s === null ? '-' : `${s.ino}:${s.size}:${s.mtimeNs}`)).join(' ')
}

function both<T>(where: Where, image: Image, signal: AbortSignal, work: (db: Both) => Promise<T>): Promise<T> {
  const access = { file: fileThere(where), busyMs: where.busyMs, signal, base: uriOf(image) }
  return reading(access, (db, again) => {
    const table = (side: 'now' | 'base', name: string) => `${side === 'now' ? 'main' : 'base'}.${quoted(name)}`
    return work({ ...readerOf(db, signal, again), table })
  })
}

function mending(where: Where, backup: Backup, { now, kept }: Mended) {
  const copy = join(backup.dir, COPY)
  const match = now.key.map((c, i) => `${quoted(now.table)}.${quoted(c)} = k.${quoted(kept.key[i] ?? c)}`)
  const sql = [
    `ATTACH '${copy.replaceAll("'", "''")}' AS kept`,
    `UPDATE ${quoted(now.table)} SET ${quoted(now.column)} = k.${quoted(kept.column)} FROM kept.${quoted(kept.table)} AS k WHERE ${match.join(' AND ')}`,
    'DETACH kept',
  ]
  return { where: fileAt(where), copy, sql }
}
