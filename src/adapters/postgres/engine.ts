import type { Engine } from '../../data/engine.ts'
import type { PostgresSettings } from './config.ts'
import { postgresDialect } from './dialect.ts'
import { freeBytes } from './free.ts'
import { holdersOf } from './holders.ts'
import { libpqEnv, type Places, placesOf, shownPlace, urlOf } from './place.ts'
import { inSnapshot, type Source, systemOf } from './reader.ts'
import { openSession, type Session } from './session.ts'

export type PostgresEngine = Pick<
  Engine,
  'dialect' | 'name' | 'identity' | 'reading' | 'holders' | 'toolEnv' | 'freeBytes' | typeof Symbol.asyncDispose
>

/** One database of one server. Connects when first asked. Throws `settings_incomplete`. */
export function postgresEngine(settings: PostgresSettings, baseDir: string): PostgresEngine {
  const places = placesOf(settings, baseDir)
  const { live, database } = places
  const source = liveSource(settings, places)
  const asking = async <T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> => {
    await using session = await openSession(live, settings.maintenance, source.limits, signal)
    return await work(session)
  }
  return {
    dialect: postgresDialect(() => false),
    name: shownPlace(live, database),
    identity: signal => asking(signal, async session => `postgres:${await systemOf(session)}/${database}`),
    reading: (signal, work) => inSnapshot(source, signal, work),
    holders: signal => asking(signal, session => holdersOf(session, database)),
    toolEnv: () => ({ ...libpqEnv(live, database), DATABASE_URL: urlOf(live, database) }),
    freeBytes: signal => asking(signal, session => freeBytes(session, live)),
    async [Symbol.asyncDispose]() {},
  }
}

function liveSource(settings: PostgresSettings, { live, database }: Places): Source {
  const limits = { lockMs: settings.lockLimit, statementMs: settings.statementLimit ?? 0 }
  return { place: live, database, limits, parallel: settings.parallel, home: null }
}
