import type { Adapter } from '../../core/contract.ts'
import { type DatabasePin, databasePin } from '../../data/flow/settings.ts'
import { databaseTarget } from '../../data/flow/target.ts'
import { type SqliteConfig, sqliteConfig } from './config.ts'
import { sqliteEngine } from './engine.ts'

/** An SQLite database file. */
export const sqlite: Adapter<SqliteConfig, DatabasePin> = {
  kind: 'sqlite',
  config: sqliteConfig,
  pin: databasePin,
  pinVersion: 1,
  open: async ({ path, busyLimit, ...settings }, ctx) => {
    const where = { path, baseDir: ctx.baseDir, stateDir: ctx.stateDir, busyMs: busyLimit }
    return databaseTarget(sqliteEngine(where), settings, ctx)
  },
}
