import type { GateNode, Step } from '../contract.ts'
import type { Act, Ctx } from '../engine.ts'
import { BackoutError, messageOf } from '../errors.ts'
import { type Json, toJson } from '../json.ts'
import type { AcceptedLoss, Plan } from '../plan.ts'
import { spare } from '../secret.ts'
import type { Phase } from '../words.ts'
import { makeAct, type Tried, tryStep } from './attempt.ts'
import { cancelled, type Failure, type NodeResult, nextIn, OK } from './result.ts'
import { within } from './verdict.ts'
import type { World } from './world.ts'

/** Where a part of a plan is executed. */
export interface Place {
  readonly ctx: Ctx
  readonly world: World
  readonly plan: Plan
  readonly phase: Phase
  /** The run that a person started; children carry their own id in `ctx`. */
  readonly runId: string
  /** Prefix of all keys: plan, phase, pass. */
  readonly key: string
  /** This is not the first pass: every step may have been begun before. */
  readonly again: boolean
  readonly accepted: readonly AcceptedLoss[]
  /** Steps and gates that a person skipped, with a reason in the journal. */
  readonly skips: readonly string[]
  /** How many failures the sequence around it still tolerates; as many as each `par` does, where it does not say. */
  readonly mayFail?: number
  /** Users of several components are brought to safety side by side. */
  readonly sideBySide?: boolean
  /** It takes users to safety: an abort keeps none of it from being done. */
  readonly regardless?: boolean
  /** What the run keeps away from users: those who come back must not come back to it. */
  readonly fenced?: readonly Step[]
  /** Of this run or child, whatever the place in it. */
  readonly last: LastGate
}

/** The gate that let the run go on last. `stale`: the run was interrupted since. */
export interface LastGate {
  gate: GateNode | null
  stale: boolean
  /** What took the place of this run while it watched. */
  superseded?: string
}

const BACKOFF_MS = [500, 2_000, 5_000, 15_000, 30_000]

interface Said {
  readonly do: 'done' | 'not-done' | 'look' | 'skip' | 'accept'
  readonly by: string
  readonly reason: string | null
}

/** Executes one step to its end: retries, asks a person where nothing else can tell. */
export async function executeStep(place: Place, step: Step): Promise<NodeResult> {
  const { ctx } = place
  const key = `${place.key}/${step.id}`
  ctx.tell(`${key}/begun`, 'step-begun', { step: step.id, title: step.title, estimateMs: step.estimateMs })
  let force = false
  let retries = step.retries
  let accepted = place.accepted
  for (let attempt = 1; ; attempt++) {
    const tried = await once({ ...place, accepted }, step, `${key}#`, attempt, force)
    force = false
    if (tried.is === 'done') return done(place, key, step, tried)
    if (tried.is === 'left') return left(place, key, step, tried)
    if (tried.is === 'loss') {
      const said = await ask(place, step, `${key}#${attempt}`, tried)
      if (said.by === '$cancel') return left(place, key, step, tried)
      if (said.do !== 'accept') return after(place, key, step, said, tried)
      const { component } = step
      accepted = [...accepted, ...tried.loss.map(l => ({ what: l.what, unit: l.unit, max: l.count, component }))]
      continue
    }
    if (tried.is === 'unknown' && step.onUnknown === 'fence') return fence(place, key, step, tried.why)
    if (tried.is === 'unknown' && step.onUnknown === 'ask') {
      const said = await ask(place, step, `${key}#${attempt}`, tried)
      if (said.by === '$cancel') return left(place, key, step, tried)
      // The target is asked before anything is done again.
      if (said.do === 'look') continue
      if (said.do !== 'not-done') return after(place, key, step, said, tried)
      force = true
      continue
    }
    if (retries-- <= 0) return failed(place, key, step, tried)
    // What is harmless twice is applied again without asking first.
    force = tried.is === 'unknown' && !tried.running
    ctx.tell(`${key}#${attempt}/retry`, 'step-retry', { step: step.id, attempt, why: tried.why })
    if (await leftBetween(place, `${key}#${attempt}`, tried, attempt)) return left(place, key, step, tried)
  }
}

/** Waits between two tries, paused if somebody says so. True: the run was aborted meanwhile. */
async function leftBetween({ ctx, ...place }: Place, key: string, tried: Tried, attempt: number): Promise<boolean> {
  // What may have taken effect is looked at first.
  const cancel = tried.is === 'not-done' ? ['$cancel'] : []
  const heard = place.regardless === true ? [] : [...cancel, '$pause', '$resume']
  const ms = BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length) - 1] ?? 500
  const said = await ctx.wait(`${key}/backoff`, heard, ms)
  if (said?.name !== '$pause') return said?.name === '$cancel'
  const then = await ctx.wait(`${key}/paused`, ['$resume', '$cancel'], Infinity)
  place.last.stale = true
  return then?.name === '$cancel' && tried.is === 'not-done'
}

/** @param of What the keys of all attempts begin with. */
async function once(place: Place, step: Step, of: string, attempt: number, force: boolean): Promise<Tried> {
  const { ctx, world } = place
  const key = `${of}${attempt}`
  let fresh = false
  // The intent is on disk before the target is touched; where it was there already, somebody may have begun.
  const intend = async () => {
    fresh = true
    return null
  }
  await ctx.run(`${key}?`, intend, { pure: true })
  const verifyFirst = (!fresh || place.again || attempt > 1) && !(force && fresh)
  const { accepted, runId, plan, regardless = false } = place
  const { release } = plan.to
  const options = { attempt, verifyFirst, accepted, runId, release, key: of, fresh: fresh && attempt === 1, regardless }
  const tryOnce = async (act: Act) => {
    const tried = await tryStep(world, step, act, options)
    // What is accepted later must be what was asked about.
    if (tried.is === 'loss') spare(tried.loss.flatMap(l => [l.what, l.unit]))
    return toJson(tried)
  }
  const tried = await ctx.run(key, tryOnce, { handle: step.id })
  return tried as unknown as Tried
}

function done(place: Place, key: string, step: Step, tried: Tried & { is: 'done' }): NodeResult {
  place.ctx.tell(`${key}/done`, 'step-done', { step: step.id, ms: tried.ms, found: tried.found, why: tried.why })
  return OK
}

function failed(place: Place, key: string, step: Step, tried: Tried): Failure {
  const next = nextOf(tried)
  place.ctx.tell(`${key}/failed`, 'step-failed', { step: step.id, why: tried.why, ...next, ms: tried.ms })
  return { ok: false, kind: 'step', what: step.id, component: step.component, why: tried.why, ...next, then: null }
}

function nextOf(tried: Tried): { next?: string } {
  return 'next' in tried ? nextIn(tried) : {}
}

/** An abort came before it was applied, or applied again, or while a person was asked what became of it. */
function left(place: Place, key: string, step: Step, { ms, ...tried }: Tried): Failure {
  const why = `left as it is, for the run was aborted: ${tried.why}`
  const begun = tried.is === 'left' ? tried.begun : tried.is !== 'loss'
  place.ctx.tell(`${key}/failed`, 'step-failed', { step: step.id, why, ms, left: { begun, why: tried.why } })
  return cancelled()
}

/** Waits for a person's word on a step that nothing else can tell of. */
async function ask(place: Place, step: Step, key: string, tried: Tried): Promise<Said> {
  const { ctx } = place
  const answers = tried.is === 'loss' ? ['accept', 'skip'] : ['done', 'not-done', 'look', 'skip']
  ctx.tell(`${key}/asked`, 'asked', {
    token: key,
    about: 'step',
    step: step.id,
    title: step.title,
    why: tried.why,
    ...nextOf(tried),
    answers,
    loss: tried.is === 'loss' ? toJson(tried.loss) : null,
  })
  const said = await ctx.wait(`${key}/answer`, [`answer:${key}`, '$cancel'], Infinity, 'waiting')
  if (said === null || said.name === '$cancel') return { do: 'skip', by: '$cancel', reason: null }
  ctx.tell(`${key}/answered`, 'answered', { token: key, step: step.id, ...(said.value as Record<string, Json>) })
  return said.value as unknown as Said
}

function after(place: Place, key: string, step: Step, said: Said, tried: Tried): NodeResult {
  const type = said.do === 'done' ? 'step-done' : 'step-skipped'
  const why = `${said.by} said so${said.reason === null ? '' : `: ${said.reason}`}`
  place.ctx.tell(`${key}/${said.do}`, type, { step: step.id, ms: tried.ms, found: false, why, by: said.by })
  return said.do === 'skip' ? { ok: true, tolerated: [], skipped: [step.id] } : OK
}

type Fenced = { ok: boolean; why: string; none?: boolean }

/** Keeps the target of a step that came to nothing away from users; that it failed stands either way. */
export async function fence(place: Place, key: string, step: Step, why: string): Promise<Failure> {
  const { ctx, world, runId, accepted, plan } = place
  const keepAway = async (act: Act) => {
    const over = new AbortController()
    try {
      const target = await world.target(step.component)
      if (target.fence === undefined) return { ok: false, why: 'its adapter has no fence', none: true }
      const options = { attempt: 1, verifyFirst: false, accepted, runId, release: plan.to.release, key }
      const signal = AbortSignal.any([act.signal, over.signal])
      const keep = async () => target.fence?.(step, makeAct(world, step, act, signal, options))
      await within(world.clock, step.limitMs, act.signal, keep)
      return { ok: true, why }
    } catch (error) {
      // Given up on, it writes nothing more.
      over.abort(error)
      act.signal.throwIfAborted()
      const none = error instanceof BackoutError && error.code === 'fence_missing'
      return { ok: false, why: messageOf(error), ...(none ? { none } : {}) }
    }
  }
  const fenced = (await ctx.run(`${key}/fence`, keepAway, { handle: step.id })) as Fenced
  const told = { step: step.id, component: step.component, fenced: fenced.ok, why, fence: fenced.why }
  ctx.tell(`${key}/fenced`, 'fenced', told)
  const said = fenced.ok ? `${why}; kept away from users` : `${why}; could not be kept away from users: ${fenced.why}`
  const failure: Failure = {
    ok: false,
    kind: 'fenced',
    what: step.id,
    component: step.component,
    why: said,
    then: null,
  }
  return fenced.ok ? failure : { ...failure, loose: fenced.none === true ? 'nobody' : 'refused' }
}
