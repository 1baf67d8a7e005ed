import { z } from 'zod'
import { systemClock } from '../../core/clock.ts'
import type { StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { isAlive } from './deployments.ts'
import { needsPerson, saysOf } from './follow.ts'
import type { Site } from './site.ts'
import type { Args } from './steps.ts'

/** LifeTime refused to stop it. */
const handle = z.object({ refused: z.literal(true) })

type Settling = Extract<Args, { do: 'settle' }>

/** Sees to it that a deployment of somebody else has ended: stopped, or waited for where it cannot be stopped any more. */
export async function settle(site: Site, { deployment: key, stop }: Settling, act: StepAct): Promise<void> {
  const { deployments } = await site.places(act.signal)
  let told = false
  for (;;) {
    act.signal.throwIfAborted()
    const at = await deployments.status(key, act.signal)
    if (!isAlive(at)) return act.tell({ kind: 'note', text: `The deployment ${key} is ${at.DeploymentStatus}` })
    if (stop && !told && at.DeploymentStatus !== 'aborting') {
      act.guard()
      await abort(site, key, act)
      told = true
      continue
    }
    if (at.DeploymentStatus === 'needs_user_intervention') {
      throw new BackoutError({
        code: 'needs_person',
        what: `The deployment ${key} waits for a person: ${needsPerson(at)}`,
        cause: saysOf(at) || undefined,
        next: `continue or abort it at ${site.config.url}/lifetime, then go on`,
        exit: 'waiting',
      })
    }
    act.progress({ text: `deployment ${key}: ${at.DeploymentStatus}` })
    await systemClock.sleep(site.config.limits.poll, act.signal)
  }
}

/** Asked once. From some moment on LifeTime stops nothing any more: then its end is waited for. */
async function abort(site: Site, key: string, act: StepAct): Promise<void> {
  const { deployments } = await site.places(act.signal)
  try {
    await deployments.command(key, 'abort', act.signal)
  } catch (error) {
    if (act.signal.aborted || !(error instanceof BackoutError) || error.code !== 'lifetime_refused') throw error
    await act.note({ refused: true })
    const why = error.why ?? messageOf(error)
    const text = `LifeTime does not stop the deployment ${key} any more, so its end is waited for: ${why}`
    await act.tell({ kind: 'note', text })
  }
}

/** One that goes on was not stopped yet, unless it is being stopped: then nothing more can be done than to look. */
export async function verifySettle(site: Site, { deployment: key, stop }: Settling, act: StepAct): Promise<Verdict> {
  const { deployments } = await site.places(act.signal)
  const at = await deployments.status(key, act.signal)
  const why = `the deployment ${key} is ${at.DeploymentStatus}`
  if (!isAlive(at)) return { is: 'done', why }
  if (at.DeploymentStatus === 'aborting') return { is: 'running', why }
  if (at.DeploymentStatus !== 'needs_user_intervention') return { is: 'not-done', why }
  // What waits for a person and cannot be stopped is that person's.
  const is = stop && !handle.safeParse(act.handle).success ? 'not-done' : 'unknown'
  return { is, why: `${why}: ${needsPerson(at)}` }
}
