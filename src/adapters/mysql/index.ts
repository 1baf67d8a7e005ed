import { z } from 'zod'
import type { Adapter } from '../../core/contract.ts'
import { type DatabasePin, databasePin, databaseSettings } from '../../data/flow/settings.ts'
import { databaseTarget } from '../../data/flow/target.ts'
import { mysqlFields } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { complete } from './url.ts'

const mysqlConfig = z.strictObject({ ...mysqlFields, ...databaseSettings })

/** A database of a MySQL or MariaDB server. */
export const mysql: Adapter<z.output<typeof mysqlConfig>, DatabasePin> = {
  kind: 'mysql',
  config: mysqlConfig,
  pin: databasePin,
  pinVersion: 1,
  open: async (config, ctx) => databaseTarget(mysqlEngine(complete(config), ctx.baseDir), config, ctx),
}
