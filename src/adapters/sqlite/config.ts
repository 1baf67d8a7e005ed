import { z } from 'zod'
import { duration } from '../../config/fields.ts'
import { databaseSettings } from '../../data/flow/settings.ts'

export const sqliteConfig = z.strictObject({
  path: z.string().min(1).describe('The database file, relative to backout.yaml.'),
  ...databaseSettings,
  busyLimit: duration().default(5_000).describe('How long to wait for a lock that another process holds.'),
})
export type SqliteConfig = z.output<typeof sqliteConfig>
