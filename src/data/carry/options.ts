import { z } from 'zod'
import { renameShape } from '../renames.ts'
import { KINDS, MODES } from './words.ts'

/** A person's word on conflicts. What is left out holds for all; of several that fit the last one counts. */
export const decision = z.strictObject({
  table: z.string().optional().describe('a table of the schema of the release'),
  kind: z.enum(KINDS).optional(),
  key: z.record(z.string(), z.string()).optional().describe('column of the key -> its exact text, as listed'),
  take: z.enum(['ours', 'theirs']),
  set: z
    .record(z.string(), z.string().nullable())
    .optional()
    .describe(
      'with a key and `take: theirs`: column of the schema of the release -> exact text to write in place of what theirs has',
    ),
})
export type Decision = z.infer<typeof decision>
export const decisions = z.array(decision)

/** Nothing is carried of what is not released. Without tables and times everything is suspect. */
export const suspicion = z.strictObject({
  /** Table of theirs -> SQL over its columns that is true for suspect rows. */
  where: z.record(z.string(), z.string()).default({}),
  /** Rows that say they were made or changed in this time are suspect. ISO. */
  since: z.string().nullable().default(null),
  until: z.string().nullable().default(null),
})
export type Suspicion = z.infer<typeof suspicion>

/** A named person lets rows out of quarantine. */
export const release = z.strictObject({
  by: z.string().min(1),
  reason: z.string().min(1),
  at: z.string(),
  /** `clean`: rows that nothing makes suspect. `all`: the suspect ones too. */
  rows: z.enum(['clean', 'all']),
  /** A table of theirs; null: every one. */
  table: z.string().nullable(),
  /** SQL over its columns; null: every row. */
  where: z.string().nullable(),
})
export type Release = z.infer<typeof release>

export const carryOptions = z.strictObject({
  mode: z.enum(MODES).default('cell'),
  decisions: decisions.default([]),
  /** What a person says was renamed, from base to theirs. */
  renames: z.array(renameShape).default([]),
  suspicion: suspicion.nullable().default(null),
  releases: z.array(release).default([]),
})
export type CarryOptions = z.infer<typeof carryOptions>

export const NOTHING_SAID: CarryOptions = { mode: 'cell', decisions: [], renames: [], suspicion: null, releases: [] }
