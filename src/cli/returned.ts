import type { Step } from '../core/contract.ts'
import type { Act, Engine } from '../core/engine.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import { makeAct, within } from '../core/executor/attempt.ts'
import type { World } from '../core/executor/world.ts'
import { toJson } from '../core/json.ts'
import { takeLock } from '../engine/sqlite/lock.ts'
import type { Session } from './session.ts'
import { worldOf } from './wiring/world.ts'

/** What became of a target that was kept away from users when its run ended. */
export interface Returned {
  readonly step: string
  /** `back`: it answers, and is not on the release. */
  readonly is: 'silent' | 'back' | 'on the release'
  /** Kept away from users again; null where there was no need. */
  readonly fenced: boolean | null
  readonly why: string
}

/** A host that does not answer is given up on after so many milliseconds: somebody waits for the answer. */
const PATIENCE_MS = 30_000

/**
 * Looks again at what the last run left fenced, and fences what is back with the wrong version: it may have come back
 * into traffic by itself, as a host does that is switched on again. Holds the environment's lock, so that no run brings it
 * back at the same time; null where a process is at work there.
 */
export async function lookAgain(
  session: Session,
  engine: Engine,
  run: string,
  steps: readonly Step[],
): Promise<Returned[] | null> {
  const { environment, targets } = session
  const lock = lockOf(session, run)
  if (lock === null) return null
  try {
    const world = worldOf(environment, targets)
    const returned = await Promise.all(steps.map(step => lookAt(world, step, run)))
    for (const found of returned.filter(r => r.is !== 'silent')) {
      await engine.record('returned', toJson({ run, ...found }))
    }
    return returned
  } finally {
    lock.release()
  }
}

function lockOf({ environment }: Session, run: string) {
  try {
    return takeLock(`${environment.home}/locks`, environment.config.environment, run)
  } catch (error) {
    if (error instanceof BackoutError && error.code === 'environment_busy') return null
    throw error
  }
}

/** What of the last run holds on until a person lifts it. */
export interface Lasting {
  readonly step: string
  /** `unknown`: its target cannot be asked. */
  readonly is: 'in force' | 'lifted' | 'unknown'
  readonly why: string
}

/** Asks the targets of steps whose effect outlives their run whether it is still there. */
export async function stillInForce(session: Session, run: string, steps: readonly Step[]): Promise<Lasting[]> {
  const world = worldOf(session.environment, session.targets)
  return Promise.all(steps.map(step => askAgain(world, step, run)))
}

async function askAgain(world: World, step: Step, run: string): Promise<Lasting> {
  const { act, limited } = asking(world, step, run)
  try {
    const target = await limited(() => world.target(step.component))
    const { is, why } = await limited(() => target.verify(step, act))
    return { step: step.id, is: is === 'done' ? 'in force' : is === 'not-done' ? 'lifted' : 'unknown', why }
  } catch (error) {
    return { step: step.id, is: 'unknown', why: messageOf(error) }
  }
}

function asking(world: World, step: Step, run: string) {
  const { signal } = new AbortController()
  const act = makeAct(world, step, nobody(signal), signal, { attempt: 1, verifyFirst: true, accepted: [], runId: run })
  return { act, limited: <T>(work: () => Promise<T>) => within(world.clock, PATIENCE_MS, signal, work) }
}

async function lookAt(world: World, step: Step, run: string): Promise<Returned> {
  const { act, limited } = asking(world, step, run)
  try {
    const target = await limited(() => world.target(step.component))
    const { is, why } = await limited(() => target.verify(step, act))
    if (is === 'done') return { step: step.id, is: 'on the release', fenced: null, why }
    if (is !== 'not-done') return { step: step.id, is: 'silent', fenced: null, why }
    try {
      if (target.fence === undefined) throw new Error('its adapter has no fence')
      await limited(async () => target.fence?.(step, act))
      return { step: step.id, is: 'back', fenced: true, why }
    } catch (error) {
      return { step: step.id, is: 'back', fenced: false, why: `${why}; ${messageOf(error)}` }
    }
  } catch (error) {
    return { step: step.id, is: 'silent', fenced: null, why: messageOf(error) }
  }
}

/** Nothing is journalled of a look: only what it found. */
function nobody(signal: AbortSignal): Act {
  return { signal, handle: null, guard: () => {}, note: async () => {}, progress: () => {}, tell: async () => {} }
}

export function returnedLines(returned: readonly Returned[] | null): string[] {
  if (returned === null) return ['a process is at work here: what was fenced was not looked at again']
  return returned.map(({ step, is, fenced, why }) => {
    if (is === 'silent') return `still fenced: ${step}: ${why}`
    if (is === 'on the release') return `on the release by now: ${step}: ${why}; let it have users again: backout run`
    const now = fenced === true ? 'kept away from users again' : 'NOT kept away from users'
    return `back, and not on the release: ${step}: ${why}; ${now}; bring it back: backout run`
  })
}

/** A command of `lifts` stands on a line of its own, to be copied: it is never wrapped. */
export function lastingLines(
  lasting: readonly Lasting[],
  lifts: ReadonlyMap<string, string | null>,
): { text: string; command: string | null }[] {
  return lasting
    .filter(({ is }) => is !== 'lifted')
    .map(({ step, is, why }) => {
      const command = lifts.get(step) ?? null
      const text = is === 'in force' ? `still in force: ${why}` : `perhaps still in force: ${step}: ${why}`
      return { text: command === null ? text : `${text}; lifted by:`, command }
    })
}
