import { z } from 'zod'
import { command, duration, text } from '../../config/fields.ts'

export const gitConfigConfig = z
  .strictObject({
    repository: text().describe(
      'A clone on this machine, or a URL that is mirrored into `home:`. Relative to backout.yaml.',
    ),
    ref: z.string().default('HEAD').describe('Branch, tag or commit whose files should be live.'),
    from: z.string().default('.').describe('Folder in the repository whose files go to `to`.'),
    to: z
      .string()
      .optional()
      .describe('Folder where they are live. Where it is a symlink, a new folder is switched to.'),
    paths: z
      .record(z.string(), z.string())
      .optional()
      .describe('Single files instead of a folder: path in the repository -> live path.'),
    check: command()
      .optional()
      .describe(
        'Run on the files before they are put in place; {dir} stands for where they lie: nginx -t -c {dir}/nginx.conf',
      ),
    checkLimit: duration().default(60_000).describe('Time limit of `check`.'),
    reload: command().optional().describe('Run after the files were put in place.'),
    reloadLimit: duration().default(60_000).describe('Time limit of `reload`.'),
    drift: z
      .enum(['report', 'block'])
      .default('report')
      .describe('What to do where the live files are of no commit: replace them (the old ones are kept), or not.'),
  })
  .refine(c => (c.to === undefined) !== (c.paths === undefined), { message: 'give either `to` or `paths`' })
export type GitConfigConfig = z.output<typeof gitConfigConfig>

const entry = z.object({ blob: z.string(), mode: z.enum(['100644', '100755', '120000']) })
export type Entry = z.infer<typeof entry>

/** Path in the repository -> what is there. */
export const tree = z.record(z.string(), entry)
export type Tree = z.infer<typeof tree>

export const gitConfigPin = z.object({
  identity: z.string(),
  commit: z.string(),
  /** Of the files at that commit. */
  tree: z.string(),
  /** Of the live files when they were captured. */
  live: z.string(),
  /** Live files that were not as in the commit: going back does not bring these back. */
  drift: z.array(z.string()),
})
export type GitConfigPin = z.infer<typeof gitConfigPin>
