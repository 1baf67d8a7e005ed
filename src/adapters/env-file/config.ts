import { z } from 'zod'
import { command, duration } from '../../config/fields.ts'
import { SECRET_NAMES } from '../../exec/secret-names.ts'
import { owner } from '../../exec/whole-file.ts'

const name = z.string().min(1)

export const envFileConfig = z.strictObject({
  path: z.string().min(1).describe('The file, relative to backout.yaml.'),
  secrets: z
    .array(name)
    .default([...SECRET_NAMES])
    .describe("Names of keys that hold secrets, * for any part. They keep today's value: secrets get rotated."),
  pinned: z.array(name).default([]).describe('Secret keys that go back with the release all the same.'),
  current: z.array(name).default([]).describe("Other keys that keep today's value."),
  reload: command().optional().describe('Run after the file was put in place, so that it is read again.'),
  reloadLimit: duration().default(60_000).describe('Time limit of `reload`.'),
})
export type EnvFileConfig = z.output<typeof envFileConfig>

export const envFilePin = z.object({
  identity: z.string(),
  /** Keyed hash of the content. */
  mac: z.string(),
  /** The content, in the vault. */
  sealed: z.object({ id: z.string(), mac: z.string() }),
  mode: z.number(),
  owner,
  /** Names only. */
  keys: z.array(z.string()),
})
export type EnvFilePin = z.infer<typeof envFilePin>
