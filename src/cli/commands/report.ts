import { resolve } from 'node:path'
import { EXIT } from '../../core/errors.ts'
import { writeNamed } from '../out-file.ts'
import type { Globals } from '../program.ts'
import { markdownLines } from '../render/markdown.ts'
import { reportOf } from '../reporting.ts'
import { findRun, withSession } from '../session.ts'

export function report(globals: Globals, options: { out?: string }, id?: string): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const engine = await environment.engine({ worker: false })
    const run = await findRun(engine, environment, id)
    const made = await reportOf(environment, engine, run, await engine.head())
    if (options.out !== undefined) {
      const text = globals.json ? `${JSON.stringify(made.report, null, 2)}\n` : made.markdown
      await writeNamed(options.out, text, 0o644)
      out.line(`Written to ${options.out}`)
      out.data({ run: run.id, file: resolve(options.out) })
      return EXIT.ok
    }
    out.data(made.report)
    if (out.terminal) for (const line of markdownLines(made.markdown, out.width)) out.raw(line)
    else out.raw(made.markdown.trimEnd())
    return EXIT.ok
  })
}
