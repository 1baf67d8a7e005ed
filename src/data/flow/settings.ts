import { z } from 'zod'
import { command, duration } from '../../config/fields.ts'
import { TOOLS } from '../bookkeeping.ts'
import { fingerprintShape } from '../fingerprint.ts'
import { schemaShape } from '../schema.ts'

export const RUNGS = ['leave', 'migrate-down', 'restore'] as const
export type RungId = (typeof RUNGS)[number]

const inFlight = z
  .strictObject({
    check: command()
      .optional()
      .describe(
        "Exit code 0 = a migration is under way, stdout says which. Above 125 nobody can tell, which counts as one. Besides the tool's own lock.",
      ),
    stop: command()
      .optional()
      .describe(
        "Ends the migration under way and frees its tool's lock, as the first step of the plan; finds the database in the variables that the adapter sets.",
      ),
    limit: duration().prefault('60s').describe('Time limit of each, and until the migration has ended.'),
  })
  .describe('How a migration that is under way is seen and ended. Run on this machine in `cwd`.')

/** How what one bookkeeping lists is undone. */
const way = {
  down: command()
    .optional()
    .describe(
      'Undoes ONE migration. Finds its name in BACKOUT_MIGRATION, the newest one that stays in BACKOUT_LEVEL, its bookkeeping in BACKOUT_SCHEMA and BACKOUT_TABLE, the database in the variables that the adapter sets.',
    ),
  runIn: z
    .string()
    .optional()
    .describe('The component from whose bad release `down` runs: only that release has the down-scripts.'),
  files: z
    .string()
    .optional()
    .describe(
      'Folder of the migration files, relative to backout.yaml. Looked for below `cwd` where this and `runIn` are left out. They are read ahead: is there a way back, and what does it destroy?',
    ),
  downScripts: z
    .string()
    .optional()
    .describe('Where the way back of a migration lies, with {name}: "migrations/{name}.down.sql". Looked for ahead.'),
  upScripts: z
    .string()
    .optional()
    .describe(
      'Where a migration lies that is SQL, with {name}: "migrations/{name}.sql". Read by `backout upgrade migrated`: which tables did it leave alone?',
    ),
}

const also = z
  .strictObject({
    tool: z.enum(TOOLS).optional().describe('Its tool, where the table has another name than the tool gives it.'),
    ...way,
    cwd: z.string().optional().describe('Folder in which `down` runs; that of `migrations` where it is left out.'),
  })
  .describe('One more bookkeeping, and how what it lists is undone.')

const migrations = z
  .strictObject({
    tool: z
      .enum(TOOLS)
      .optional()
      .describe('The migration tool. Recognised by its bookkeeping table where this is left out.'),
    table: z
      .string()
      .optional()
      .describe(
        'The bookkeeping that `down` undoes, where the tool keeps several, or one under a name of its own: "billing.flyway_schema_history". Then only this one and those in `also` are bookkeeping.',
      ),
    also: z
      .record(z.string(), also)
      .default({})
      .describe('Further bookkeepings in the same database, each by its table.'),
    applied: z
      .string()
      .optional()
      .describe('SQL that lists the names of the applied migrations, first applied first, for a tool of your own.'),
    tables: z
      .array(z.string())
      .default([])
      .describe("Tables of such a tool's bookkeeping: no data of the application, nothing that could be lost."),
    ...way,
    cwd: z.string().default('.').describe('Folder in which `down` runs where `runIn` is left out.'),
    downLimit: duration().default(600_000).describe('Time limit of `down` for one migration.'),
    inFlight: inFlight.prefault({}),
  })
  .describe("The project's migration tool.")

const loses = z.strictObject({
  migration: z.string().describe('The migration whose undoing loses this.'),
  what: z.string().describe('Names the data in the plan: "orders.discount".'),
  sql: z.string().describe('SQL that counts what would be lost: one row, one number.'),
  rows: z.string().optional().describe('SQL that gives what would be lost; written aside before it is destroyed.'),
  since: z.string().optional().describe('SQL that gives the time of the oldest of it: one row, one text.'),
})

/** The settings that all databases share, to be spread into an adapter's own. */
export const databaseSettings = {
  migrations: migrations.prefault({}),
  writers: z
    .enum(['known', 'none'])
    .default('known')
    .describe('known: the components that depend on this one write, and are stopped first. none: nobody writes.'),
  compatible: z
    .enum(['additive', 'always', 'never'])
    .default('additive')
    .describe('When the old release can live with the new schema: where it only added, always, or never.'),
  loses: z.array(loses).default([]).describe('What undoing a migration loses beyond the tables and columns it added.'),
  rungs: z
    .array(z.enum(RUNGS))
    .min(1)
    .default([...RUNGS])
    .describe('The ways back that may be offered.'),
  limit: duration().default(3_600_000).describe('Time limit of a backup and of a restore.'),
  carryForward: z
    .enum(['apply', 'report', 'off'])
    .default('apply')
    .describe(
      'What becomes, after a restore, of data written since the release: brought back, only listed, or neither.',
    ),
}

const shape = z.strictObject(databaseSettings)
export type DatabaseSettings = z.output<typeof shape>
export type DeclaredLoss = DatabaseSettings['loses'][number]

/** Pins and backups of earlier versions have no `table`: they told one table of each tool, the further ones in `others`. */
export const levelShape = z.object({
  tool: z.string().nullable(),
  /** The bookkeeping, as `SchemaShape` names it; null: there is none, or it is asked by a query. */
  table: z.string().nullable().optional(),
  applied: z.array(z.string()),
  others: z.record(z.string(), z.array(z.string())).optional(),
  /** The further bookkeepings in the same database. */
  more: z.array(z.object({ tool: z.string(), table: z.string(), applied: z.array(z.string()) })).optional(),
})
export type Level = z.infer<typeof levelShape>

export const databasePin = z.object({
  identity: z.string(),
  /** ISO time of the capture. */
  at: z.string(),
  /** Id in the catalogue; null for a departure, whose backup the plan makes. */
  backup: z.string().nullable(),
  level: levelShape,
  schema: schemaShape,
  fingerprint: fingerprintShape,
})
export type DatabasePin = z.infer<typeof databasePin>
