import { z } from 'zod'
import type { Backup } from '../../core/contract.ts'
import { dumpedShape } from '../dumped.ts'
import { DATABASE_KINDS, type Dialect } from '../engine.ts'
import { fingerprintShape } from '../fingerprint.ts'
import { renameShape } from '../renames.ts'
import { schemaShape } from '../schema.ts'
import { type DatabasePin, levelShape } from './settings.ts'

/** What a backup of a database knows of itself. */
const backupFacts = z.object({
  kind: z.enum(DATABASE_KINDS),
  identity: z.string(),
  at: z.string(),
  level: levelShape,
  schema: schemaShape,
  fingerprint: fingerprintShape,
  dump: dumpedShape.optional(),
  /** What going down would destroy, written out: name of the data -> file. */
  lost: z.record(z.string(), z.string()).default({}),
  /** What going down must bring back under its old name, as the fingerprint has it under the new one. */
  renames: z.array(renameShape).default([]),
  /** The upgrade whose migrations had just ended; of a backup with the reason `migrated`. */
  upgrade: z.string().optional(),
  /** Of such a one: id of the backup after which no user could write until then, so that all that differs is the migrations' work. */
  ownWorkSince: z.string().optional(),
  /** Of such a one: what the migrations since that backup may have written (`Touched`). Left out: nobody can tell. */
  touched: z
    .object({
      since: z.string(),
      tables: z.array(z.string()).readonly(),
      columns: z.record(z.string(), z.array(z.string()).readonly()).readonly().default({}),
      came: z.array(z.string()).readonly().optional(),
      moved: z
        .array(z.tuple([z.string(), z.string()]).readonly())
        .readonly()
        .optional(),
    })
    .optional(),
})
export type BackupFacts = z.infer<typeof backupFacts>

/** null: it is no backup of a database of this kind, but perhaps a copy of what could not be read. */
export function factsIn(backup: Backup, kind: Dialect['kind']): BackupFacts | null {
  const facts = factsOf(backup)
  return facts?.kind === kind ? facts : null
}

/** The same of a database of any kind. */
export function factsOf(backup: Backup): BackupFacts | null {
  return backupFacts.safeParse(backup.facts).data ?? null
}

export function pinOf(backup: Backup, facts: BackupFacts): DatabasePin {
  const { identity, at, level, schema, fingerprint } = facts
  return { identity, at, backup: backup.id, level, schema, fingerprint }
}
