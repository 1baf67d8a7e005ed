import { BackoutError } from '../../core/errors.ts'
import type { Engine, Reader } from '../../data/engine.ts'
import type { PostgresSettings } from './config.ts'
import { postgresDialect } from './dialect.ts'
import { dump } from './dump.ts'
import { freeBytes } from './free.ts'
import { holdersOf } from './holders.ts'
import { foundCopy, type Loading, load } from './load.ts'
import { openMerging } from './merging.ts'
import { libpqEnv, placesOf, shownPlace, urlOf } from './place.ts'
import { inSnapshot, type Source, systemOf } from './reader.ts'
import { ready } from './ready.ts'
import { openSession, type Session } from './session.ts'
import { keptUnder, setAsideBy, swap } from './swap.ts'

/** One database of one server. Connects when first asked. Throws `settings_incomplete`. */
export function postgresEngine(settings: PostgresSettings, baseDir: string): Engine {
  const places = placesOf(settings, baseDir)
  const { live, database } = places
  const limits = { lockMs: settings.lockLimit, statementMs: settings.statementLimit ?? 0 }
  const loading: Loading = { settings, places, limits }
  const source: Source = { place: live, database, limits, parallel: settings.parallel, home: null }
  const dumpedFrom = places.from === null ? source : { ...source, place: places.from }
  // Known once data is about to be carried forward; until then nothing is said to be quiet that may not be.
  let quiet = false
  const asking = async <T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> => {
    await using session = await openSession(live, settings.maintenance, limits, signal)
    return await work(session)
  }
  return {
    dialect: postgresDialect(() => quiet),
    name: shownPlace(live, database),
    identity: signal => asking(signal, async session => `postgres:${await systemOf(session)}/${database}`),
    reading: (signal, work) => readLive(loading, source, signal, work),
    holders: signal => asking(signal, session => holdersOf(session, database)),
    end: (session, signal) =>
      asking(signal, async db => void (await db.query('SELECT pg_terminate_backend($1::int)', [session]))),
    toolEnv: () => ({ ...libpqEnv(live, database), DATABASE_URL: urlOf(live, database) }),
    dump: (dir, job, work) => dump(settings, dumpedFrom, source, dir, job, work),
    beside: (backup, use, mark, job) => load(loading, backup, use === 'swap' ? 'swap' : 'scratch', mark, job),
    found: (use, mark, signal) => foundCopy(loading, use, mark, signal),
    swap: (mark, job) => swap(loading, mark, job),
    kept: (mark, signal) => keptUnder(loading, mark, signal),
    freeBytes: signal => asking(signal, session => freeBytes(session, live)),
    ready: signal => ready(settings, places, source, signal),
    async merging(images, job) {
      const merger = await openMerging(source, images, job)
      quiet = merger.quiet
      return merger
    },
    async [Symbol.asyncDispose]() {},
  }
}

async function readLive<T>(
  loading: Loading,
  source: Source,
  signal: AbortSignal,
  work: (db: Reader) => Promise<T>,
): Promise<T> {
  try {
    return await inSnapshot(source, signal, work)
  } catch (error) {
    if (!(error instanceof BackoutError) || error.code !== 'database_missing') throw error
    const aside = await setAsideBy(loading, signal)
    if (aside === null) throw error
    return await inSnapshot({ ...source, database: aside }, signal, work)
  }
}
