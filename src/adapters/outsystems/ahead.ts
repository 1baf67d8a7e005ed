import type { Finding } from '../../core/contract.ts'
import { hashOf } from '../../core/json.ts'
import { configurations, type Details, zone } from './answers.ts'
import type { Difference } from './compare.ts'
import { NOTES, neverWas, type Operation } from './deployments.ts'
import type { Applications } from './pin.ts'
import { shown, versionOf } from './running.ts'
import type { Site } from './site.ts'

/** What keeps LifeTime from deploying these versions, as far as it can be read. */
export async function obstacles(site: Site, back: readonly Difference[], signal: AbortSignal): Promise<Finding[]> {
  const { target, source } = await site.places(signal)
  const finding = findingOf(site.component)
  const out: Finding[] = []
  if (source === null) {
    const remedy = 'name another environment in `source`: LifeTime deploys from no environment into itself'
    out.push(finding('blocker', 'no_source', `There is no environment to deploy to ${target.Name} from`, remedy))
  }
  const zones = await zonesOf(site, target.Key, signal)
  for (const { key, to } of back) {
    if (to.modified) {
      const what = `${shown(to)} had been changed in ${target.Name} since it was tagged: LifeTime deploys tagged versions only`
      out.push(finding('blocker', 'not_tagged', what, 'take the solution package, or tag it there before each release'))
    } else if ((await versionOf(site, key, to.version, signal)) === null) {
      const what = `LifeTime no longer has the version ${shown(to)}`
      out.push(finding('blocker', 'version_gone', what, 'take the solution package, or another release'))
    }
    if (to.zone !== '' && zones !== null && !zones.has(to.zone)) {
      const what = `The deployment zone that ${to.name} ran in is no longer there`
      out.push(finding('blocker', 'zone_gone', what, 'make it again, or choose a release captured after the change'))
    }
    const why = await blockedWhy(site, key, target.Key, signal)
    if (why === null) continue
    const what = `${to.name} is blocked from being deployed to ${target.Name}${why === '' ? '' : `: ${why}`}`
    out.push(finding('blocker', 'application_blocked', what, 'unblock it in LifeTime'))
  }
  return out
}

/** Keys of the deployment zones; null where they are not licensed, so that there is only the default one. */
async function zonesOf(site: Site, environment: string, signal: AbortSignal): Promise<Set<string> | null> {
  const path = `/environments/${environment}/deploymentzones/`
  const found = await site.lifetime.perhaps(zone.array(), path, undefined, signal, [204, 400, 403, 404])
  return found === null ? null : new Set(found.map(z => z.Key))
}

/** Why it may not be deployed there, which LifeTime can be told; null: it may, or this LifeTime does not know of blocking. */
async function blockedWhy(site: Site, app: string, environment: string, signal: AbortSignal): Promise<string | null> {
  const path = `/applications/${app}/configurations/`
  const found = await site.lifetime.perhaps(configurations, path, undefined, signal, [204, 400, 403, 404, 405])
  const own = found?.configurations.find(c => c.environmentKey === environment && c.isBlocked)
  return own?.isBlockedChangeReason ?? null
}

const STALE_MS = 600_000

/** Marks deployments that are saved to be checked and never started, so that one that was left is found. */
function checkMark(site: Site): string {
  return `[backout check ${hashOf([site.config.url, site.config.environment, site.component]).slice(0, 12)}]`
}

export interface Checked {
  readonly details: Details
  /** Deployments of Backout that were saved, never started, and are still there. */
  readonly left: readonly string[]
}

/** LifeTime's own check of deploying these versions now: saved, checked, deleted. Nothing of it is ever started. */
export async function checked(site: Site, operations: readonly Operation[], signal: AbortSignal): Promise<Checked> {
  const { source, deployments } = await site.places(signal)
  if (source === null) throw new Error('there is no source environment')
  const left = await sweep(site, signal)
  const notes = `Backout looks for conflicts; this is never started and may be deleted. ${checkMark(site)}`
  const key = await deployments.create(source.Key, operations, notes, signal)
  try {
    return { details: await deployments.details(key, signal), left }
  } finally {
    // Also where the check was given up: what is left is deleted by the next one.
    await deployments.remove(key, AbortSignal.timeout(site.config.limits.request)).catch(() => {})
  }
}

/**
 * Deletes what an earlier check left; one that is new may belong to a plan that is being made right now. Answers what is still
 * there, also of steps whose reply was lost: to delete those is a person's decision, for their run may go on.
 */
async function sweep(site: Site, signal: AbortSignal): Promise<string[]> {
  const { deployments } = await site.places(signal)
  const left: string[] = []
  for (const { Key, Notes, CreatedOn, StartedOn } of await deployments.list(signal)) {
    const check = Notes.includes(checkMark(site))
    if (!neverWas(StartedOn) || !(check || Notes.startsWith(NOTES))) continue
    if (Date.now() - Date.parse(CreatedOn) < STALE_MS) continue
    if (check) await deployments.remove(Key, signal).catch(() => left.push(Key))
    else left.push(Key)
  }
  return left
}

/** What LifeTime's check says, as findings. A deployment with conflicts cannot be started. */
export function findingsOf(site: Site, { details, left }: Checked, now: Applications): Finding[] {
  const finding = findingOf(site.component)
  const nameOf = (key: string) => now[key]?.name ?? key
  const out = details.ApplicationConflicts.map(({ Message, ModuleConflict }) => {
    const type = ModuleConflict?.ConflictType ?? ''
    const what = `LifeTime sees a conflict: ${Message || type || 'it does not say which'}`
    return finding(
      'blocker',
      'conflict',
      what,
      'see it in LifeTime; where applications go back together it may be none',
    )
  })
  if (details.ApplicationsToRedeploy.length > 0) {
    const names = details.ApplicationsToRedeploy.map(nameOf).toSorted().join(', ')
    const does = site.config.redeployOutdated ? 'are redeployed along' : 'stay outdated, as `redeployOutdated` says'
    const what = `${names} use what is deployed and ${does}`
    out.push(finding('note', 'redeployed_along', what, 'none'))
  }
  if (details.ModulesToDelete.length > 0) {
    const names = details.ModulesToDelete.map(m => m.Name || m.Key)
      .toSorted()
      .join(', ')
    const what = `Modules that the earlier versions do not have are deleted: ${names}`
    out.push(finding('warning', 'modules_deleted', what, 'see that nothing else uses them'))
  }
  if (left.length > 0) {
    const what = `Deployments of Backout that were never started are still saved in LifeTime: ${left.join(', ')}`
    out.push(finding('note', 'saved_left', what, 'delete them there, unless their run is to go on'))
  }
  return out
}

export function findingOf(component: string) {
  return (level: Finding['level'], code: string, what: string, remedy: string): Finding => ({
    level,
    code,
    component,
    what,
    remedy,
  })
}
