import { onAbort } from '../abort.ts'
import type { Clock } from '../clock.ts'
import type { StandsOn, Step, StepAct, Target, Verdict } from '../contract.ts'
import type { Act } from '../engine.ts'
import { messageOf } from '../errors.ts'
import type { World } from './world.ts'

const FOLLOW_EVERY_MS = 250
/** What is followed for longer is told. */
const TOLD_AFTER_MS = 5_000
export const SETTLE_MS = 15_000
/** A target gets at least so long to say what became of a step. */
export const VERIFY_MS = 30_000
const LOOK_AGAIN_MS = [500, 1_000, 2_000, 4_000, 8_000]

/**
 * Whether to look again at what did not answer, once the pause before that is over. A system that starts anew answers seconds
 * later: that is waited for before a person is asked or it is tried again, and not where silence took long itself. `asked`: when, on `clock.mono`.
 */
export function patience(clock: Clock, { onUnknown }: Step): (asked: number, signal: AbortSignal) => Promise<boolean> {
  // A fence is there for what does not answer.
  const pauses = onUnknown === 'fence' ? [] : [...LOOK_AGAIN_MS]
  return async (asked, signal) => {
    const pause = clock.mono() - asked < SETTLE_MS ? pauses.shift() : undefined
    if (pause === undefined) return false
    await clock.sleep(pause, signal)
    return true
  }
}

/** What the work answers, or an error once the limit is over or the signal aborts, whatever the work goes on doing. */
export async function within<T>(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const late = Promise.withResolvers<never>()
  late.promise.catch(() => {})
  const listened = onAbort(signal, () => late.reject(signal.reason))
  const cancel = clock.after(limitMs, () => late.reject(new Error(`no answer within ${limitMs} ms`)))
  try {
    return await Promise.race([work(), late.promise])
  } finally {
    listened()
    cancel()
  }
}

/** Asks until the target says anything but `running`, or the step's limit is over. What cannot be asked is unknown. */
export async function follow(clock: Clock, step: Step, act: Act, verify: () => Promise<Verdict>): Promise<Verdict> {
  const { signal } = act
  const began = clock.mono()
  const lookAgain = patience(clock, step)
  for (let told = false; ; ) {
    const asked = clock.mono()
    const verdict = await askVerdict(clock, Math.max(step.limitMs, VERIFY_MS), verify, signal)
    if ('unheard' in verdict && (await lookAgain(asked, signal))) continue
    if (verdict.is !== 'running') return verdict
    if (clock.mono() - began > step.limitMs) {
      return { is: 'running', why: `still running after ${step.limitMs} ms: ${verdict.why}` }
    }
    // Nobody else says what is waited for, not to who aborts the run either.
    const { id, component } = step
    const says: boolean = !told && clock.mono() - began > TOLD_AFTER_MS
    if (says) await act.tell('fact', { step: id, component, kind: 'note', text: `it is waited for: ${verdict.why}` })
    told ||= says
    await clock.sleep(FOLLOW_EVERY_MS, signal)
  }
}

/** What a step's target says once, whatever the step was begun for. What cannot be asked is unknown. */
export async function verdictOf(
  world: World,
  step: Step,
  signal: AbortSignal,
  asked: (target: Target) => Promise<Verdict>,
): Promise<Verdict> {
  const ask = async () => asked(await world.target(step.component))
  return askVerdict(world.clock, Math.max(step.limitMs, VERIFY_MS), ask, signal)
}

/** Long after a step: what its target is on now, whoever brought it there. */
export async function standsOn(target: Target, step: Step, steps: readonly Step[], act: StepAct): Promise<StandsOn> {
  if (target.standsOn !== undefined) return target.standsOn(step, steps, act)
  const { is, why } = await target.verify(step, act)
  return { is: is === 'done' ? 'release' : is === 'not-done' ? 'left' : 'unknown', why }
}

async function askVerdict(
  clock: Clock,
  limitMs: number,
  verify: () => Promise<Verdict>,
  signal: AbortSignal,
): Promise<Verdict> {
  try {
    return await within(clock, limitMs, signal, verify)
  } catch (error) {
    signal.throwIfAborted()
    return { is: 'unknown', why: `it could not be asked: ${messageOf(error)}`, unheard: true }
  }
}
