import { z } from 'zod'
import { command, duration } from '../../config/fields.ts'
import { owner } from '../../exec/whole-file.ts'

export const flagFileConfig = z.strictObject({
  path: z.string().min(1).describe('The file, relative to backout.yaml.'),
  format: z
    .enum(['flagd', 'json', 'yaml'])
    .describe("flagd: flagd's own format, as JSON or YAML by the file's ending. json, yaml: names with true or false."),
  off: z
    .array(z.string().min(1))
    .default([])
    .describe('Flags that going back turns off whatever the release had: features of the bad release. "a.b": nested.'),
  reload: command().optional().describe('Run after the file was put in place; flagd watches its file by itself.'),
  reloadLimit: duration().default(60_000).describe('Time limit of `reload`.'),
})
export type FlagFileConfig = z.output<typeof flagFileConfig>

export const flagFilePin = z.object({
  identity: z.string(),
  mac: z.string(),
  sealed: z.object({ id: z.string(), mac: z.string() }),
  mode: z.number(),
  owner,
  /** What each flag is, without values: "on", "off", the name of a variant, or "set". */
  flags: z.record(z.string(), z.string()),
})
export type FlagFilePin = z.infer<typeof flagFilePin>
