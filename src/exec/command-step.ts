import type { ExecResult, Step, StepAct, Verdict } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import { groupAlive, runLocal } from './local.ts'
import { withoutRows } from './without-rows.ts'
import { runUser, type UserCommand } from './words.ts'

interface CommandStep {
  readonly id: string
  readonly component: string
  readonly title: string
  readonly limitMs: number
}

/** A step that is a command without an effect that could be asked for, such as a reload. Harmless twice. */
export function commandStep({ id, component, title, limitMs }: CommandStep): Step {
  return { id, component, title, args: null, limitMs, retries: 1, estimateMs: 1_000, onUnknown: 'repeat' }
}

/** A command of the settings, run for a step. */
interface StepCommand {
  readonly argv: readonly string[]
  readonly cwd: string
  /** Done once it ended well, before that is kept: killed in between, it is run again, and so is this. */
  readonly then: () => Promise<void>
}

/** Runs it, and keeps durably that it ended well. Throws `command_failed`. */
export async function applyCommand(step: Step, { argv, cwd, then }: StepCommand, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  act.guard()
  const onSpawn = (pgid: number) => act.note({ pgid })
  const result = await runLocal({ argv, cwd, limitMs: step.limitMs, idem: act.idem, onSpawn }, act.signal)
  if (result.code === 0) await then()
  await act.note({ ended: result.code })
  if (result.code !== 0) throw commandFailed(step.title, result)
}

/**
 * A command leaves no trace of its own: only what this step noted can tell, and what was not noted is done again. So is
 * what ended in an earlier pass: what it was to load may have been written anew since.
 */
export async function verifyCommand(act: StepAct): Promise<Verdict> {
  const handle = act.handle as { pgid?: number; ended?: number } | null
  if (handle?.ended === 0 && !act.earlier) return { is: 'done', why: 'the command ended well' }
  if (handle?.pgid !== undefined && (await groupAlive(handle.pgid, act.idem))) {
    return { is: 'running', why: `its process group ${handle.pgid} is alive` }
  }
  return { is: 'not-done', why: 'the command did not run to a good end' }
}

/** Runs a command of the settings for a step: a later process finds it while it lives. Secrets are hidden in what it says. */
export async function runFor(act: StepAct, command: Omit<UserCommand, 'idem' | 'onSpawn'>): Promise<ExecResult> {
  act.signal.throwIfAborted()
  act.guard()
  const onSpawn = (pgid: number) => act.note({ pgid })
  const result = await runUser({ ...command, idem: act.idem, onSpawn }, act.signal)
  await act.note({ ended: result.code })
  return result
}

function commandFailed(title: string, result: { code: number; stdout: string; stderr: string }): BackoutError {
  const said = redact(withoutRows(result.stderr.trim() || result.stdout.trim()).slice(-2000))
  return new BackoutError({
    code: 'command_failed',
    what: `"${title}" ended with code ${result.code}`,
    cause: said || 'it said nothing',
    next: 'repair what it names, then resume the run',
    exit: 'failed',
  })
}
