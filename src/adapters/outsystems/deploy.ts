import { join } from 'node:path'
import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Details, StatusAnswer } from './answers.ts'
import { soFar } from './capture.ts'
import { keyIn, NOTES } from './deployments.ts'
import { ended, missing, saysOf, stillMissing, verdictOf } from './follow.ts'
import { setMaintenance } from './maintenance.ts'
import { aliveOf, keep, lastEnded, mark, type Own, own, savedOf } from './own.ts'
import type { Site } from './site.ts'
import type { Args } from './steps.ts'
import { upload } from './transfer.ts'

type Deploying = Extract<Args, { do: 'deploy' | 'publish' }>

/** Has LifeTime deploy, by a deployment of this step's own: one that is going on is followed, never doubled. */
export async function deploy(site: Site, step: Step, args: Deploying, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  act.guard()
  const mine = await own(site, act)
  const alive = aliveOf(mine)
  if (alive !== undefined) return finish(site, args, alive.key, act)
  if ((await missing(site, args.applications, act.signal)).length === 0) return tidy(site, mine, act)
  await nobodyElse(site, step, act)
  const saved = savedOf(mine, args.do === 'deploy' ? args.applications : null) ?? (await save(site, args, act))
  await keep(act, saved)
  if (args.do === 'deploy') await withoutConflicts(site, saved, act)
  await start(site, step, saved, act)
  await finish(site, args, saved, act)
}

/** Two deployments into one environment at a time would mix their versions. */
async function nobodyElse(site: Site, step: Step, act: StepAct): Promise<void> {
  const { deployments, target } = await site.places(act.signal)
  const [other] = await deployments.alive(act.signal)
  if (other === undefined) return
  const { Key, StartedByUsername: by } = other.deployment
  throw new BackoutError({
    code: 'deployment_busy',
    what: `${step.title} was not begun: the deployment ${Key}${by === '' ? '' : ` of ${by}`} goes on in ${target.Name}`,
    cause: `it is ${other.status.DeploymentStatus}`,
    next: 'wait until it has ended, or abort it in LifeTime, then go on',
    exit: 'busy',
  })
}

/** Makes the deployment, saved and not started. */
async function save(site: Site, args: Deploying, act: StepAct): Promise<string> {
  const { source, target, deployments } = await site.places(act.signal)
  if (args.do === 'deploy') {
    if (source === null) throw noSource(target.Name)
    const operations = Object.values(args.applications).map(a => ({ version: a.version, zone: a.zone }))
    act.guard()
    return deployments.create(source.Key, operations, `${NOTES} ${args.release} ${mark(act)}`, act.signal)
  }
  const file = await packageOf(site, args, act)
  act.guard()
  const onProgress = (bytes: number, total: number | null) => act.progress(soFar('uploaded', bytes, total))
  try {
    return keyIn(await upload(site.lifetime, `/environments/${target.Key}/deployment/`, file, onProgress, act.signal))
  } catch (error) {
    if (error instanceof BackoutError && error.code === 'lifetime_unreachable') await act.tell(perhapsLeft(target.Name))
    throw error
  }
}

/** A deployment of a binary has no notes to be found by: one whose key was lost is left saved, and told of. */
function perhapsLeft(environment: string) {
  const text = `LifeTime may keep a saved deployment of the solution package into ${environment}, never started: delete it there`
  return { kind: 'side-effect', text } as const
}

function noSource(target: string): BackoutError {
  return new BackoutError({
    code: 'no_source',
    what: `There is no environment to deploy to ${target} from`,
    next: 'name one in `source`',
    exit: 'usage',
  })
}

/** The package, once it is known to be what was captured. */
async function packageOf(site: Site, args: Deploying & { do: 'publish' }, act: StepAct): Promise<string> {
  const { backup, file, sha256 } = args.solution
  const wrong = await act.backups.check(backup, act.signal)
  const kept = await act.backups.get(backup)
  const other = kept.files.find(f => f.path === file)?.sha256 === sha256 ? [] : ['its checksum is not the captured one']
  const why = [...wrong, ...other]
  if (why.length === 0) return join(kept.dir, file)
  throw new BackoutError({
    code: 'package_altered',
    what: `The solution package ${backup} of ${site.component} is not what was captured`,
    cause: why.join('; '),
    next: 'bring it back from a copy, or choose another release',
    exit: 'failed',
  })
}

/** LifeTime starts nothing that has conflicts; so that none is left saved, it is deleted. */
async function withoutConflicts(site: Site, key: string, act: StepAct): Promise<void> {
  const { deployments } = await site.places(act.signal)
  const found = await deployments.details(key, act.signal)
  if (found.ApplicationConflicts.length === 0) return
  act.guard()
  await deployments.remove(key, act.signal)
  throw conflicts(key, found)
}

function conflicts(key: string, { ApplicationConflicts }: Details): BackoutError {
  return new BackoutError({
    code: 'deployment_conflicts',
    what: `LifeTime sees conflicts in the deployment ${key}, which it would not start; it was deleted`,
    cause: ApplicationConflicts.map(c => c.Message || c.ModuleConflict?.ConflictType || 'it does not say which').join(
      '\n',
    ),
    next: 'take the next way back, or resolve them in LifeTime, then go on',
    exit: 'failed',
  })
}

async function start(site: Site, step: Step, key: string, act: StepAct): Promise<void> {
  const { deployments, target } = await site.places(act.signal)
  // LifeTime starts nothing in an environment that is in maintenance mode.
  if (site.config.maintenance !== undefined) await setMaintenance(site, false, act)
  act.guard()
  try {
    await deployments.command(key, 'start', act.signal)
  } catch (error) {
    if (act.signal.aborted || !(error instanceof BackoutError) || error.code !== 'lifetime_refused') throw error
    throw new BackoutError({
      code: 'not_started',
      what: `LifeTime did not start ${step.title}`,
      cause: error.why,
      next: `see what it says; where ${target.Name} is in maintenance mode or offline, end that, then go on`,
      exit: 'failed',
      from: error,
    })
  }
}

async function finish(site: Site, args: Deploying, key: string, act: StepAct): Promise<void> {
  const at = await ended(site, key, act)
  if (at.DeploymentStatus === 'finished_with_warnings') {
    await act.tell({ kind: 'note', text: `The deployment ${key} ended with warnings: ${saysOf(at)}` })
  }
  if (at.DeploymentStatus !== 'finished_successful' && at.DeploymentStatus !== 'finished_with_warnings') {
    throw endedBadly(key, at, await missing(site, args.applications, act.signal))
  }
  const left = await stillMissing(site, args.applications, act)
  if (left.length > 0) throw notThere(key, left)
  await tidy(site, await own(site, act), act)
}

/** What an attempt whose reply was lost has left saved. It was never started: nothing depends on its going. */
async function tidy(site: Site, mine: readonly Own[], act: StepAct): Promise<void> {
  const { deployments } = await site.places(act.signal)
  for (const { key, status } of mine) {
    if (status.DeploymentStatus !== 'saved') continue
    act.guard()
    await deployments.remove(key, act.signal).catch(async (error: unknown) => {
      await act.tell({
        kind: 'side-effect',
        text: `The saved deployment ${key} stays in LifeTime: ${messageOf(error)}`,
      })
    })
  }
}

function endedBadly(key: string, at: StatusAnswer, left: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'deployment_failed',
    what: `The deployment ${key} is ${at.DeploymentStatus}`,
    cause: [saysOf(at), ...left].filter(line => line !== '').join('\n'),
    next: 'see it in LifeTime, then go on or take the next way back',
    exit: 'failed',
  })
}

function notThere(key: string, left: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'versions_not_there',
    what: `The deployment ${key} ended well, but the environment does not run what it deployed`,
    cause: left.join('\n'),
    next: 'synchronize the environment in LifeTime; look who else deploys to it',
    exit: 'failed',
  })
}

/** Asks LifeTime for this step's deployments, and the environment for its versions. */
export async function verifyDeploy(site: Site, args: Deploying, act: StepAct): Promise<Verdict> {
  const mine = await own(site, act)
  const alive = aliveOf(mine)
  const still = alive === undefined ? null : verdictOf(alive.key, alive.status)
  if (still !== null) return still
  const left = await missing(site, args.applications, act.signal)
  const last = lastEnded(mine)
  if (left.length > 0) {
    const said = last === undefined ? '' : ` (its deployment ${last.key} is ${last.status.DeploymentStatus})`
    return { is: 'not-done', why: `${left.join('; ')}${said}` }
  }
  if (last?.status.DeploymentStatus === 'finished_with_errors' || last?.status.DeploymentStatus === 'force_finished') {
    const how = `the deployment ${last.key} is ${last.status.DeploymentStatus}`
    return { is: 'unknown', why: `the versions are there, but ${how}: ${saysOf(last.status)}` }
  }
  return { is: 'done', why: `the environment runs ${Object.values(args.applications).length} applications as captured` }
}
