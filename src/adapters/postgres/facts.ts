import { z } from 'zod'
import type { Backup } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { dumpedIn } from '../../data/dumped.ts'
import { propertiesShape } from './properties.ts'

/** Names in a backup's folder. */
export const DUMP_FILE = 'database.dump.zst'
export const DUMP_FOLDER = 'database'
export const ROLES_FILE = 'roles.sql'

/** What loading a dump needs. */
export const factsShape = z.object({
  kind: z.literal('postgres'),
  /** One packed file, or a folder of files that pg_dump packed itself. */
  format: z.enum(['file', 'folder']),
  /** The schema that was looked in first. */
  home: z.string(),
  /** The database by numbers of its server: whether numbers in `sequences` are those of the live one. */
  origin: z.string(),
  /** Major version of the tool that wrote the dump. */
  major: z.number(),
  properties: propertiesShape,
  /** Numbers of the sequences by name: one that the release renamed is known by it. */
  sequences: z.record(z.string(), z.number()),
  /** Roles that own something or were given rights, and roles that policies name. */
  roles: z.array(z.string()),
  policyRoles: z.array(z.string()),
  /** Bytes of the tables, without indexes. */
  tableBytes: z.number(),
})
export type Facts = z.infer<typeof factsShape>

/** Throws `backup_damaged` where the backup does not say how it is loaded. */
export function factsOf(backup: Backup): Facts {
  const facts = factsShape.safeParse(dumpedIn(backup)?.facts)
  if (facts.success) return facts.data
  throw damaged(backup.id, 'it does not say what it holds, or is of another kind of database')
}

export function damaged(id: string, cause: string, from?: unknown): BackoutError {
  return new BackoutError({
    code: 'backup_damaged',
    what: `The backup ${id} cannot be loaded`,
    cause,
    next: 'take an earlier backup: `backout releases` lists them',
    exit: 'blocked',
    from,
  })
}
