import type { Adapter } from '../../core/contract.ts'
import { type DatabasePin, databasePin } from '../../data/flow/settings.ts'
import { databaseTarget } from '../../data/flow/target.ts'
import { type PostgresConfig, postgresConfig } from './config.ts'
import { postgresEngine } from './engine.ts'

/** A database of PostgreSQL 12 or newer. */
export const postgres: Adapter<PostgresConfig, DatabasePin> = {
  kind: 'postgres',
  config: postgresConfig,
  pin: databasePin,
  pinVersion: 1,
  open: async (config, ctx) => databaseTarget(postgresEngine(config, ctx.baseDir), config, ctx),
}
