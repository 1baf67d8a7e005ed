import { resolve } from 'node:path'
import { z } from 'zod'
import type { ExecLeft, ExecResult, StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { reveal } from '../../core/secret.ts'
import { groupAlive, markAlive, runLocal } from '../../exec/local.ts'
import type { DownArgs } from './down.ts'
import { handsOverBy } from './handing-over.ts'
import type { Site } from './site.ts'
import { commandOf, wayAt } from './undoing.ts'

/** Kept before the command starts, so that a later process finds what it left behind. */
const handleShape = z.object({
  pgid: z.number().optional(),
  elsewhere: z.string().optional(),
  /** The program by which it was handed to a place where nobody can ask for it: "docker exec". */
  client: z.string().optional(),
  /** The backup that knows what must be there again under its old name. */
  check: z.string().optional(),
  /** It was, and may be written to again. */
  checked: z.boolean().optional(),
  /** How the command ended, as far as somebody saw it end. */
  code: z.number().optional(),
})

export function handleOf(act: StepAct): z.infer<typeof handleShape> {
  return handleShape.safeParse(act.handle).data ?? {}
}

/** True where a command of this step was begun and nobody saw it end. */
export function begun(act: StepAct): boolean {
  const handle = handleOf(act)
  return handle.pgid !== undefined || handle.elsewhere !== undefined
}

/** By what a command that was begun went to another place, where it may go on though its client has ended. */
export function handedOver(act: StepAct): string | null {
  return handleOf(act).client ?? null
}

export function checked(act: StepAct): boolean {
  return handleOf(act).checked === true
}

/** What is left of a command that another component runs and whose end nobody saw. */
export async function leftElsewhere(act: StepAct): Promise<ExecLeft | null> {
  const { elsewhere } = handleOf(act)
  return elsewhere === undefined ? null : act.execLeft(elsewhere)
}

export async function stillAtIt({ engine }: Site, act: StepAct, there: ExecLeft | null = null): Promise<string | null> {
  const { pgid, elsewhere } = handleOf(act)
  if (there?.alive === true) {
    const by = there.endedBy === undefined ? '' : ` (\`${there.endedBy}\` ends it)`
    return `${there.what} is still there, working on ${engine.name}${by}`
  }
  if (elsewhere !== undefined && (await markAlive(act.idem))) {
    return `the command that ${elsewhere} ran is alive, working on ${engine.name}`
  }
  if (pgid === undefined || !(await groupAlive(pgid, act.idem))) return null
  return `the command's process group ${pgid} is alive, working on ${engine.name}`
}

/** Runs the project's own tool for one migration, where the down-scripts are. `check`: what the handle is to keep. */
export async function runDown(
  site: Site,
  { migration, level, book }: Pick<DownArgs, 'migration' | 'level' | 'book'>,
  check: string | null,
  act: StepAct,
): Promise<ExecResult> {
  const way = wayAt(site.settings.migrations, book?.also ?? null)
  const { down, runIn, cwd } = way
  if (down === undefined)
    throw new BackoutError({ code: 'no_down_command', what: `${commandOf(way)} is not set any more` })
  const argv = down.map(reveal)
  const env = {
    BACKOUT_MIGRATION: migration,
    BACKOUT_LEVEL: level,
    BACKOUT_SCHEMA: book?.schema ?? '',
    BACKOUT_TABLE: book?.table ?? '',
    ...site.engine.toolEnv(),
  }
  const kept = check === null ? {} : { check }
  if (runIn !== undefined) {
    await act.note({ elsewhere: runIn, ...kept })
    const result = await act.exec(runIn, 'from', argv, env)
    await act.note({ ended: true, code: result.code, ...kept })
    return result
  }
  const folder = resolve(site.ctx.baseDir, cwd)
  const client = await handsOverBy(argv, folder)
  let spawned = false
  const command = {
    argv,
    env,
    cwd: folder,
    limitMs: site.settings.migrations.downLimit,
    idem: act.idem,
    onSpawn: async (pgid: number) => {
      spawned = true
      await act.note({ pgid, ...(client === null ? {} : { client }), ...kept })
    },
  }
  let code: number | undefined
  try {
    const result = await runLocal(command, act.signal)
    ;({ code } = result)
    return result
  } finally {
    // A client that was stopped says nothing of what it began.
    const over = code !== undefined || client === null || !spawned
    if (over) await act.note({ ended: true, ...(code === undefined ? {} : { code }), ...kept })
  }
}
