import type { Step } from '../core/contract.ts'
import type { Act, Engine } from '../core/engine.ts'
import { messageOf } from '../core/errors.ts'
import { makeAct } from '../core/executor/attempt.ts'
import { standsOn, within } from '../core/executor/verdict.ts'
import type { World } from '../core/executor/world.ts'
import { toJson } from '../core/json.ts'
import { lockOwner } from '../engine/sqlite/lock.ts'
import { type LastingStep, type LeftStep, leftBehind, type Told } from './left-behind.ts'
import { tryLock } from './open-runs.ts'
import { findRun, type Session } from './session.ts'
import { worldOf } from './wiring/world.ts'

/** What became of a target that was kept away from users when its run ended. */
export interface Returned {
  readonly step: string
  /** The release that its run left it without. */
  readonly release: string
  /** `back`: it answers, and is on what the run left. */
  readonly is: 'silent' | 'back' | 'on the release' | 'on another release'
  /** Kept away from users again; null where there was no need, or nobody can tell. */
  readonly fenced: boolean | null
  readonly why: string
}

/** A host that does not answer is given up on after so many milliseconds: somebody waits for the answer. */
const PATIENCE_MS = 30_000

/**
 * Looks again at what was left fenced, and fences what is back as the run left it: it may have come back into traffic by
 * itself, as a host does that is switched on again. Where something was deployed since, it is said and left alone. Null
 * where a process is at work there.
 */
export async function lookAgain(session: Session, engine: Engine, told: Told, fenced: readonly LeftStep[]) {
  const { environment, targets } = session
  if (lockOwner(`${environment.home}/locks`, environment.config.environment) !== null) return null
  const world = worldOf(environment, targets)
  const looked = await Promise.all(fenced.map(async left => ({ left, found: await lookAt(world, left) })))
  // Who is silent is waited for without the lock: nobody who goes back waits for that too.
  const back = looked.filter(({ left, found }) => isOpen(found, left))
  const kept = back.length === 0 ? [] : await keepAway(session, engine, told, world, back)
  const returned = looked.map(one => ({
    run: one.left.run,
    found: kept.find(k => k.step === one.found.step) ?? one.found,
  }))
  for (const { run, found } of returned) {
    const tells =
      (found.fenced !== null && found.is === 'back') || found.fenced === true || found.is === 'on the release'
    if (tells) await engine.record('returned', toJson({ run, ...found }))
  }
  return returned.map(({ found }) => found)
}

/** Holds the environment's lock, so that no run brings them back at the same time, and asks once more: one may have by now. */
async function keepAway(
  session: Session,
  engine: Engine,
  told: Told,
  world: World,
  back: readonly { left: LeftStep; found: Returned }[],
): Promise<Returned[]> {
  const alone = (why: string) => back.map(({ found }) => ({ ...found, why: `${found.why}; ${why}` }))
  const lock = tryLock(session, told.run.id)
  if (lock === null) return alone('a process is at work here')
  try {
    const newest = await findRun(engine, session.environment, undefined)
    if (newest.id !== told.run.id) return alone(`run ${newest.id} has begun since`)
    const { fenced } = await leftBehind(session, engine, told)
    const still = fenced.filter(left => back.some(({ found }) => found.step === left.step.id))
    return await Promise.all(still.map(async left => fenceAgain(world, left, await lookAt(world, left))))
  } finally {
    lock.release()
  }
}

/** What of a run holds on until a person lifts it. */
export interface Lasting {
  readonly run: string
  readonly step: string
  /** `unknown`: its target cannot be asked. */
  readonly is: 'in force' | 'lifted' | 'unknown'
  readonly why: string
  /** The command that lifts it; null where it was not told. */
  readonly lift: string | null
}

/**
 * Asks the targets of steps whose effect outlives their run whether it is still there. Of an earlier run it is kept in the
 * journal that it is lifted, and not asked for again.
 */
export async function stillInForce(
  session: Session,
  engine: Engine,
  newest: string,
  steps: readonly LastingStep[],
): Promise<Lasting[]> {
  const world = worldOf(session.environment, session.targets)
  const found = await Promise.all(steps.map(lasting => askAgain(world, lasting)))
  const lifted = found.filter(({ run, is }) => is === 'lifted' && run !== newest)
  for (const { run, step, why } of lifted) await engine.record('lifted', { run, step, why })
  return found
}

async function askAgain(world: World, { step, run, lift }: LastingStep): Promise<Lasting> {
  const { act, limited } = asking(world, step, run)
  const told = { run, step: step.id, lift }
  try {
    const target = await limited(() => world.target(step.component))
    const { is, why } = await limited(() => target.verify(step, act))
    return { ...told, is: is === 'done' ? 'in force' : is === 'not-done' ? 'lifted' : 'unknown', why }
  } catch (error) {
    return { ...told, is: 'unknown', why: messageOf(error) }
  }
}

function asking(world: World, step: Step, run: string) {
  const { signal } = new AbortController()
  const act = makeAct(world, step, nobody(signal), signal, { attempt: 1, verifyFirst: true, accepted: [], runId: run })
  return { act, limited: <T>(work: () => Promise<T>) => within(world.clock, PATIENCE_MS, signal, work) }
}

async function lookAt(world: World, { run, release, step, steps, loose, since }: LeftStep): Promise<Returned> {
  const { act, limited } = asking(world, step, run)
  const found = (is: Returned['is'], why: string): Returned => ({
    step: step.id,
    release,
    is,
    fenced: is === 'silent' && loose ? false : null,
    why,
  })
  try {
    const target = await limited(() => world.target(step.component))
    const { is, why } = await limited(() => standsOn(target, step, steps, act))
    if (is === 'release') return found('on the release', why)
    if (is === 'unknown') return found('silent', why)
    if (is === 'other') return found('on another release', why)
    return found('back', since === null ? why : `${why}; ${since}`)
  } catch (error) {
    return found('silent', messageOf(error))
  }
}

/** It may have users, and what belongs there is known: it answers, or it could never be kept away. */
function isOpen({ is }: Returned, { loose, since }: LeftStep): boolean {
  return since === null && (is === 'back' || (is === 'silent' && loose))
}

async function fenceAgain(world: World, left: LeftStep, found: Returned): Promise<Returned> {
  if (!isOpen(found, left)) return found
  const { run, step } = left
  const { act, limited } = asking(world, step, run)
  try {
    const target = await limited(() => world.target(step.component))
    if (target.fence === undefined) throw new Error('its adapter has no fence')
    await limited(async () => target.fence?.(step, act))
    return { ...found, fenced: true }
  } catch (error) {
    return { ...found, why: `${found.why}; ${messageOf(error)}`, fenced: false }
  }
}

/** Nothing is journalled of a look: only what it found. */
function nobody(signal: AbortSignal): Act {
  return { signal, handle: null, guard: () => {}, note: async () => {}, progress: () => {}, tell: async () => {} }
}

export function returnedLines(returned: readonly Returned[] | null): string[] {
  if (returned === null) return ['a process is at work here: what was fenced was not looked at again']
  return returned.map(({ step, release, is, fenced, why }) => {
    if (is === 'silent' && fenced === false)
      return `NOT kept away from users: ${step}: ${why}; take it out of the load balancer by hand`
    if (is === 'silent') return `${fenced === null ? 'still fenced' : 'fenced by now'}: ${step}: ${why}`
    if (is === 'on the release')
      return `on the release by now: ${step}: ${why}; put it back into traffic, where it was taken out of that`
    if (is === 'on another release')
      return `on another release by now: ${step}: ${why}; somebody has put it there since, so it is left alone`
    if (fenced === null)
      return `back, and not on the release: ${step}: ${why}, so it is left alone; look at what belongs there: backout plan`
    const now = fenced ? 'kept away from users again' : 'NOT kept away from users'
    return `back, and not on the release: ${step}: ${why}; ${now}; bring it back: backout run --to ${release}`
  })
}

/** A command that lifts stands on a line of its own, to be copied: it is never wrapped. */
export function lastingLines(lasting: readonly Lasting[], newest: string): { text: string; command: string | null }[] {
  return lasting
    .filter(({ is }) => is !== 'lifted')
    .map(({ run, step, is, why, lift }) => {
      const what = is === 'in force' ? `still in force: ${why}` : `perhaps still in force: ${step}: ${why}`
      const text = run === newest ? what : `${what}, since ${run}`
      return { text: lift === null ? text : `${text}; lifted by:`, command: lift }
    })
}
