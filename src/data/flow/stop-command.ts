import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { runFor } from '../../exec/command-step.ts'
import { lastLines } from '../../exec/words.ts'
import { stillAtIt } from './down-command.ts'
import { expectShape, halfWay, type Leaves, LOOK_MS, leftBehind, TYPICAL_MS } from './left-behind.ts'
import type { Live } from './level.ts'
import type { Site } from './site.ts'
import { readNow } from './under-way.ts'

const commandArgs = z.object({
  by: z.literal('command'),
  /** What was under way when the plan was made. For people. */
  running: z.array(z.string()),
  expect: expectShape,
})

export function isCommandStop(step: Step): boolean {
  return commandArgs.safeParse(step.args).success
}

/** Ends all that is under way by the command of the settings. */
export function commandStop({ ctx, settings }: Site, { running }: Live, expect: Leaves): Step {
  return {
    id: `${ctx.component}/stop-migration/command`,
    component: ctx.component,
    title: 'end the migration under way, by `migrations.inFlight.stop`',
    args: toJson({ by: 'command', running, expect }),
    limitMs: settings.migrations.inFlight.limit * 2 + 30_000,
    retries: 0,
    estimateMs: TYPICAL_MS,
    onUnknown: 'ask',
  }
}

/** Runs the command where something is still under way, and returns once nothing is and the database is as expected. */
export async function endByCommand(site: Site, step: Step, act: StepAct): Promise<void> {
  if ((await look(site, step, act)).is === 'done') return
  await stop(site, act)
  const until = performance.now() + site.settings.migrations.inFlight.limit
  for (;;) {
    const { is, why, over } = await look(site, step, act)
    if (is === 'done') break
    if (over) throw halfWay(site, 'The migration', why)
    if (performance.now() > until) throw goesOn(site, why)
    act.progress({ text: why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
  await act.tell({ kind: 'note', text: 'The migration under way was ended by `migrations.inFlight.stop`' })
}

export async function commandStopVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const alive = await stillAtIt(site, act)
  if (alive !== null) return { is: 'running', why: alive }
  const { is, why } = await look(site, step, act)
  return { is, why }
}

/** `over`: nothing is under way any more, whatever it left. */
async function look(site: Site, step: Step, { signal }: StepAct): Promise<Verdict & { over: boolean }> {
  const { expect } = commandArgs.parse(step.args)
  const live = await site.engine.reading(signal, db => readNow(site, db, signal, expect?.than))
  if (live.running.length > 0) return { is: 'not-done', why: `under way: ${live.running.join('; ')}`, over: false }
  return { ...leftBehind(live, expect, 'no migration is under way'), over: true }
}

async function stop(site: Site, act: StepAct): Promise<void> {
  const { cwd, inFlight } = site.settings.migrations
  if (inFlight.stop === undefined) throw unsaid(site)
  const command = { argv: inFlight.stop, env: site.engine.toolEnv(), cwd: resolve(site.ctx.baseDir, cwd) }
  const { code, stdout, stderr } = await runFor(act, { ...command, limitMs: inFlight.limit })
  if (code !== 0) throw refused(site, code, lastLines(stderr || stdout, 1_000))
}

function unsaid({ engine }: Site): BackoutError {
  return new BackoutError({
    code: 'settings_changed',
    what: `The settings no longer say how a migration of ${engine.name} is ended, which the plan was made with`,
    next: 'put `migrations.inFlight.stop` back, or make a new plan',
    exit: 'moved',
  })
}

function refused({ engine }: Site, code: number, said: string): BackoutError {
  return new BackoutError({
    code: 'command_failed',
    what: `The migration of ${engine.name} could not be ended: \`migrations.inFlight.stop\` ended with code ${code}`,
    cause: said || 'it said nothing',
    next: 'end it by hand, then resume',
    exit: 'failed',
  })
}

function goesOn({ engine }: Site, why: string): BackoutError {
  return new BackoutError({
    code: 'still_migrating',
    what: `The migration of ${engine.name} cannot be said to have ended, though \`migrations.inFlight.stop\` ended with code 0`,
    cause: why,
    next: "end it by hand, free its tool's lock (`knex migrate:unlock`, `liquibase release-locks`), then resume",
    exit: 'failed',
  })
}
