import { onAbort } from '../abort.ts'
import type { Clock } from '../clock.ts'
import type { Fact, Loss, Step, StepAct, Target } from '../contract.ts'
import type { Act } from '../engine.ts'
import { BackoutError, first, messageOf } from '../errors.ts'
import { hashOf, type Json, toJson } from '../json.ts'
import { type AcceptedLoss, accepts } from '../plan.ts'
import { nextIn } from './result.ts'
import { follow, patience, SETTLE_MS, VERIFY_MS, within } from './verdict.ts'
import type { World } from './world.ts'

/** What one try at a step came to. `next`: what the error that it met says is to be done. */
export type Tried =
  /** `found`: it was there already, and was not applied again. */
  | { readonly is: 'done'; readonly why: string; readonly found: boolean; readonly ms: number }
  | { readonly is: 'not-done'; readonly why: string; readonly next?: string; readonly ms: number }
  /** `running`: something begun earlier is still at it, and is looked at again rather than begun once more. */
  | {
      readonly is: 'unknown'
      readonly why: string
      readonly next?: string
      readonly running: boolean
      readonly ms: number
    }
  /** Somebody aborted the run, and it was not applied this time; `begun`: an earlier time may have been. */
  | { readonly is: 'left'; readonly why: string; readonly begun: boolean; readonly ms: number }
  /** More would be lost than was accepted; nothing was touched. */
  | { readonly is: 'loss'; readonly why: string; readonly loss: readonly Loss[]; readonly ms: number }

export interface TryOptions {
  readonly attempt: number
  /** An earlier begin is possible: ask the target before anything is done again. */
  readonly verifyFirst: boolean
  readonly accepted: readonly AcceptedLoss[]
  readonly runId: string
  /** The release that the plan goes back to. */
  readonly release?: string
  /** What all calls of this execution of the step begin with; a handle that another call noted is an earlier one. */
  readonly key?: string
  /** Nothing was begun under that key before. */
  readonly fresh?: boolean
  /** An abort does not keep it from being applied. */
  readonly regardless?: boolean
}

/**
 * Tries a step once: verify where it may have been begun, apply, verify. An error of `apply` proves nothing; the target's
 * verdict decides.
 */
export async function tryStep(world: World, step: Step, act: Act, options: TryOptions): Promise<Tried> {
  const began = world.clock.mono()
  const ms = () => Math.round(world.clock.mono() - began)
  const opened = await open(world, step, act.signal, options)
  if ('why' in opened) {
    act.guard()
    // Nothing was done this time; what came of an earlier one, nobody can say.
    if (options.verifyFirst) return { is: 'unknown', ...opened, running: false, ms: ms() }
    return { is: 'not-done', ...opened, ms: ms() }
  }
  const { target } = opened
  const asked: { loss: readonly Loss[] } = { loss: [] }
  const stepAct = (signal: AbortSignal) => makeAct(world, step, act, signal, options, asked)
  let earlier = 'it was not begun'
  if (options.verifyFirst) {
    const before = await follow(world.clock, step, act, () => target.verify(step, stepAct(act.signal)))
    if (before.is === 'done') return { is: 'done', why: before.why, found: true, ms: ms() }
    // What is harmless twice is applied where nothing can tell; everything else is somebody's decision.
    const again = before.is === 'not-done' || (before.is === 'unknown' && step.onUnknown === 'repeat')
    if (!again) return { is: 'unknown', why: before.why, running: before.is === 'running', ms: ms() }
    earlier = before.why
  }
  if (options.regardless !== true && act.cancelled?.() === true) {
    return { is: 'left', why: earlier, begun: options.fresh !== true, ms: ms() }
  }
  const error = await applyWithin(world.clock, target, step, act, stepAct)
  act.guard()
  if (error instanceof BackoutError && error.code === 'loss_not_accepted') {
    return { is: 'loss', why: messageOf(error), loss: asked.loss, ms: ms() }
  }
  const after = await follow(world.clock, step, act, () => target.verify(step, stepAct(act.signal)))
  const why = error === null ? after.why : `${messageOf(error)} (asked afterwards: ${after.why})`
  if (after.is === 'done') return { is: 'done', why: after.why, found: false, ms: ms() }
  const said = { why, ...nextOf(error) }
  if (after.is === 'not-done') return { is: 'not-done', ...said, ms: ms() }
  return { is: 'unknown', ...said, running: after.is === 'running', ms: ms() }
}

/** The component, or why it cannot be opened. */
async function open(
  world: World,
  step: Step,
  signal: AbortSignal,
  { verifyFirst }: TryOptions,
): Promise<{ target: Target } | { why: string; next?: string }> {
  const { component } = step
  const { clock } = world
  const limitMs = Math.max(step.limitMs, VERIFY_MS)
  const lookAgain = patience(clock, step)
  for (;;) {
    const asked = clock.mono()
    try {
      return { target: await within(clock, limitMs, signal, () => world.target(component)) }
    } catch (error) {
      signal.throwIfAborted()
      if (verifyFirst && (await lookAgain(asked, signal))) continue
      return { why: `${component} cannot be opened: ${messageOf(error)}`, ...nextOf(error) }
    }
  }
}

function nextOf(error: unknown): { next?: string } {
  return error instanceof BackoutError ? nextIn(error) : {}
}

/** Applies within the step's limit. Resolves with the error, if any, once the act has settled or was given up on. */
async function applyWithin(
  clock: Clock,
  target: Target,
  step: Step,
  act: Act,
  stepAct: (signal: AbortSignal) => StepAct,
): Promise<unknown> {
  const limit = new AbortController()
  // Told to stop, by its limit or because this process lets go, it has a while to do so, and is not waited for for ever.
  const given = Promise.withResolvers<void>()
  let cancel = clock.after(step.limitMs, () => stop(timedOut(step)))
  const stop = (reason: unknown) => {
    cancel()
    cancel = clock.after(SETTLE_MS, given.resolve)
    limit.abort(reason)
  }
  if (act.signal.aborted) stop(act.signal.reason)
  const listened = onAbort(act.signal, () => stop(act.signal.reason))
  const apply = async () => target.apply(step, stepAct(limit.signal))
  const applied = apply().then(
    () => null,
    (error: unknown) => first(error) ?? new Error('it failed without saying why'),
  )
  try {
    const first = await Promise.race([applied, given.promise])
    return limit.signal.aborted ? limit.signal.reason : first
  } finally {
    listened()
    cancel()
  }
}

function timedOut(step: Step): BackoutError {
  return new BackoutError({
    code: 'step_timed_out',
    what: `Step ${step.id} did not end within ${step.limitMs} ms`,
    next: 'raise its limit in backout.yaml, or find out what it waits for',
    exit: 'failed',
  })
}

/** Marks an effect: unique to run and step, the same over attempts and processes, safe in file and unit names. */
export function idemOf(runId: string, stepId: string): string {
  const readable = `${runId}.${stepId.replaceAll(/[^A-Za-z0-9._-]/g, '.')}`
  // Where a name has a dot or a stranger sign itself, "a.b/c" and "a/b.c" would read alike.
  return /^[A-Za-z0-9_/-]*$/.test(stepId) ? readable : `${readable}-${hashOf(stepId).slice(0, 8)}`
}

function notedEarlier({ handle, notedBy }: Act, { key, fresh = false }: TryOptions): boolean {
  if (handle === null || key === undefined) return false
  // A journal of an older Backout does not say who noted it.
  return notedBy == null ? fresh : !notedBy.startsWith(key)
}

/** What a step is given to act with. `asked` receives the loss that the step asked about last. */
export function makeAct(
  world: World,
  step: Step,
  act: Act,
  signal: AbortSignal,
  options: TryOptions,
  asked: { loss: readonly Loss[] } = { loss: [] },
): StepAct {
  const guard = () => {
    act.guard()
    signal.throwIfAborted()
  }
  const idem = idemOf(options.runId, step.id)
  const release = options.release === undefined ? {} : { release: options.release }
  const base = { vault: world.vault, backups: world.backups, signal, idem, guard, ...release }
  const progress = (p: object) => act.progress({ step: step.id, ...p })
  let { handle } = act
  let earlier = notedEarlier(act, options)
  return {
    ...base,
    attempt: options.attempt,
    get handle() {
      return handle
    },
    get earlier() {
      return earlier
    },
    note: async (value: Json) => {
      handle = value
      earlier = false
      await act.note(value)
    },
    progress,
    preRollback: async () => {
      const all = await world.backups.list(step.component)
      const own = all.filter(b => b.reason === 'pre-rollback' && b.idem?.startsWith(`${options.runId}.`))
      return own.at(-1) ?? null
    },
    accepts: loss => {
      asked.loss = loss
      return accepts(
        options.accepted,
        loss.map(l => ({ ...l, component: step.component })),
      )
    },
    tell: (fact: Fact) => act.tell('fact', toJson({ step: step.id, component: step.component, ...fact })),
    exec: async (component, side, argv, env) => {
      const other = await world.target(component)
      if (other.exec === undefined) {
        throw new BackoutError({
          code: 'cannot_exec',
          what: `${component} cannot run commands from its releases, which ${step.id} needs`,
          next: 'use an adapter that serves exec-from',
          exit: 'failed',
        })
      }
      return other.exec(side, argv, { ...base, progress, limitMs: step.limitMs, ...(env === undefined ? {} : { env }) })
    },
    execLeft: async component => {
      const other = await world.target(component)
      if (other.execLeft !== undefined) return other.execLeft(idem, signal)
      if (other.exec === undefined) return null
      throw new BackoutError({
        code: 'cannot_exec',
        what: `${component} does not tell what became of a command that ${step.id} began there`,
        next: 'see whether it is still at work, then resolve the step by hand',
        exit: 'failed',
      })
    },
  }
}
