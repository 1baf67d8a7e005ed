import { systemClock } from '../../core/clock.ts'
import type { StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import type { StatusAnswer } from './answers.ts'
import { differences } from './compare.ts'
import { isAlive } from './deployments.ts'
import type { Applications } from './pin.ts'
import { running } from './running.ts'
import type { Site } from './site.ts'

/** `Info` of a deployment in two stages whose first is done: nothing is decided by going on but the moment. */
const PREPARED = 'deployment_prepared'
const SAID = 3

/** Waits until a deployment has ended, and answers how. One that waits for a person is never continued for that person. */
export async function ended(site: Site, key: string, act: StepAct): Promise<StatusAnswer> {
  const { deployments } = await site.places(act.signal)
  for (let continued = false; ; ) {
    const at = await deployments.status(key, act.signal)
    if (!isAlive(at)) return at
    act.progress({ text: `deployment ${key}: ${at.DeploymentStatus}${lastOf(at)}` })
    if (at.DeploymentStatus === 'needs_user_intervention') {
      if (at.Info !== PREPARED || site.config.secondStage !== 'continue') throw intervention(site, key, at)
      if (!continued) {
        act.guard()
        await deployments.command(key, 'continue', act.signal)
        continued = true
      }
    }
    await systemClock.sleep(site.config.limits.poll, act.signal)
  }
}

function lastOf({ DeploymentLog }: StatusAnswer): string {
  const last = DeploymentLog.at(-1)?.Message
  return last === undefined ? '' : `: ${redact(last)}`
}

/** What LifeTime says of it: the last warnings and errors, or what it said last. */
export function saysOf({ DeploymentLog: log }: StatusAnswer): string {
  const grave = log.filter(m => m.Type === 'Warning' || m.Type === 'Error')
  return redact(
    (grave.length > 0 ? grave : log)
      .slice(-SAID)
      .map(m => m.Message)
      .join('; '),
  )
}

const INFOS: Readonly<Record<string, string>> = {
  business_process_impact: 'its warnings about business processes are to be read first',
  [PREPARED]: 'its first stage is done, and the second waits for the word',
  needs_configuration_or_confirmation: 'it waits for settings of applications, or for a confirmation',
  deployment_suspended: 'a step of it failed, and it is to be continued or aborted',
}

export function needsPerson({ Info }: StatusAnswer): string {
  return INFOS[Info] ?? `it says "${Info}"`
}

function intervention(site: Site, key: string, at: StatusAnswer): BackoutError {
  return new BackoutError({
    code: 'needs_person',
    what: `The deployment ${key} waits for a person: ${needsPerson(at)}`,
    cause: saysOf(at) || undefined,
    next: `continue or abort it at ${site.config.url}/lifetime, then say what it came to`,
    exit: 'waiting',
  })
}

/** What is not there yet of what a step brings back; empty where all of it is. */
export async function missing(site: Site, applications: Applications, signal: AbortSignal): Promise<string[]> {
  const now = await running(site, signal)
  return (await differences(site, now, applications, signal)).flatMap(d => d.why)
}

/** The same, given a while: an environment reports a deployment only once LifeTime has synchronized with it. */
export async function stillMissing(site: Site, applications: Applications, act: StepAct): Promise<string[]> {
  const until = performance.now() + site.config.limits.settle
  for (;;) {
    const left = await missing(site, applications, act.signal)
    if (left.length === 0 || performance.now() > until) return left
    act.progress({ text: `waiting until the environment reports it: ${left.length} differences` })
    await systemClock.sleep(Math.min(site.config.limits.poll, 1000), act.signal)
  }
}

/** Where a deployment has come to, as a verdict on what it is to bring about. */
export function verdictOf(key: string, at: StatusAnswer): Verdict | null {
  const is = `the deployment ${key} is ${at.DeploymentStatus}`
  if (at.DeploymentStatus === 'needs_user_intervention') {
    return { is: 'unknown', why: `${is}: ${needsPerson(at)}. ${saysOf(at)}`.trim() }
  }
  return isAlive(at) ? { is: 'running', why: is } : null
}
