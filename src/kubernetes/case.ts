import type { Finding, Question } from '../core/contract.ts'
import { FIELD_MANAGER } from './api/client.ts'
import type { ConfigObject, Pod } from './api/objects.ts'
import { boundingsOf, isLeftToScale, leastThen } from './autoscalers.ts'
import { goesBack } from './capture.ts'
import { type GitOwner, ownersOf } from './gitops.ts'
import { differs, type Goal, goalsOf, revisionFor } from './goals.ts'
import { readConfigs, type World } from './look.ts'
import { openConfig } from './manifests.ts'
import { configMac, isEmpty, leastOf, worldOf } from './observe.ts'
import type { KubernetesPin } from './pin.ts'
import type { Site } from './site.ts'
import { isLive } from './status.ts'
import type { RollArgs } from './steps.ts'
import { DUE, isPublished, referencesOf } from './template.ts'
import { keepsItsPods } from './volumes.ts'

export type Say = (level: Finding['level'], code: string, what: string, remedy: string) => void

interface Asked {
  readonly stop: boolean
  readonly redeploy: boolean
}

/** All that a proposal is made of. */
export interface Case {
  readonly site: Site
  readonly world: World
  readonly question: Question<KubernetesPin>
  readonly rung: RollArgs['rung']
  readonly asked: Asked
  readonly goals: readonly Goal[]
  /** Those that something is done to. */
  readonly changing: readonly Goal[]
  readonly owners: readonly GitOwner[]
  /** ConfigMaps and Secrets that are not as pinned, by id; the hash of today's content, null where it is gone. */
  readonly configs: ReadonlyMap<string, string | null>
  /** Those of them that were not there at the release, whose pods can do without, and are now. */
  readonly added: ReadonlySet<string>
  /** Those of them that cannot be as they were, by what of them cannot be changed. */
  readonly fixed: ReadonlyMap<string, string>
  /** Autoscalers that get other bounds. */
  readonly boundings: ReturnType<typeof boundingsOf>
}

export async function caseOf(site: Site, question: Question<KubernetesPin>): Promise<Case> {
  const { from, to, needs, signal } = question
  const rung = question.rung as RollArgs['rung']
  const world = await worldOf(site, from, signal)
  const asked = {
    stop: needs.some(n => n.of === site.component && n.what === 'stopped'),
    redeploy: needs.some(n => n.of === site.component && n.what === 'redeployed'),
  }
  const goals = await goalsOf(world, to, site.ctx.vault)
  const scaling = { site, world, question, goals }
  const boundings = boundingsOf(scaling)
  // What is bound would be put back by its own owner as well.
  const objects = [...world.objects, ...boundings.map(({ scaler: object }) => ({ object }))]
  const [owners, { configs, added, fixed }] = await Promise.all([
    ownersOf(site, { objects }, signal),
    changedConfigs(site, world, { to, goals }, signal),
  ])
  const all = asked.stop || asked.redeploy
  const changing = goals.filter(
    goal => all || differs(goal, rung, replicasFor(scaling, goal)) || restarts({ site, world, configs }, goal),
  )
  return { site, world, question, rung, asked, goals, changing, owners, configs, added, fixed, boundings }
}

async function changedConfigs(
  site: Site,
  world: World,
  { to, goals }: { to: KubernetesPin; goals: readonly Goal[] },
  signal: AbortSignal,
): Promise<Pick<Case, 'configs' | 'added' | 'fixed'>> {
  const without = doneWithout(to, goals)
  const unread = [...Object.keys(to.configs), ...without].filter(id => !world.configs.has(id))
  const more = await readConfigs(site, unread, signal)
  const there = (id: string) => world.configs.get(id) ?? more.get(id) ?? null
  // A capture of an older Backout has what the cluster publishes, too.
  const own = Object.entries(to.configs).filter(([id]) => !isPublished(id))
  const changed = own.filter(([id, { mac }]) => configMac(there(id), site.ctx.vault) !== mac)
  const added = without.filter(id => !isEmpty(there(id)))
  const ids = [...changed.map(([id]) => id), ...added]
  return {
    configs: new Map(ids.map(id => [id, configMac(there(id), site.ctx.vault)])),
    added: new Set(added),
    fixed: await fixedOf(site, to, new Map(ids.map(id => [id, there(id)]))),
  }
}

/** The type of a Secret cannot be changed, and neither can anything of what is immutable. */
async function fixedOf(
  { ctx: { vault } }: Site,
  { configs }: KubernetesPin,
  changed: ReadonlyMap<string, ConfigObject | null>,
): Promise<Map<string, string>> {
  const fixed = new Map<string, string>()
  for (const [id, now] of changed) {
    if (now === null) continue
    const sealed = configs[id]?.sealed ?? null
    const then = sealed === null || now.type === undefined ? null : await openConfig(sealed, vault).catch(() => null)
    if (now.immutable === true) fixed.set(id, 'is immutable')
    else if (then?.type !== undefined && then.type !== now.type)
      fixed.set(id, `is of the type ${now.type} now, and was of ${then.type}, which cannot be changed`)
  }
  return fixed
}

/** What pods of the release would read, were it there: it was not, for all that is referred to is captured. */
function doneWithout(to: KubernetesPin, goals: readonly Goal[]): string[] {
  const all = goals.flatMap(({ manifest }) => (manifest === null ? [] : referencesOf(manifest.spec.template)))
  const needed = new Set(all.filter(({ optional }) => !optional).map(({ id }) => id))
  return [...new Set(all.map(({ id }) => id))].filter(id => to.configs[id] === undefined && !needed.has(id))
}

/**
 * A run put back what its pods read, and ended before they were made anew. Those of a later revision were since. What another
 * component's step put back left no mark here: then pods are due that were there before it was written.
 */
export function isDue({ site, world }: Pick<Case, 'site' | 'world'>, { seen, pinned }: Goal): boolean {
  const mark = seen.object?.metadata.annotations?.[DUE]
  if (mark !== undefined) {
    const [, ...then] = mark.split(' ')
    if (then.length === 0 || seen.revisions.some(({ name, pods }) => then.includes(name) && pods.some(isLive)))
      return true
  }
  const back = pinned.configs.filter(id => goesBack(site, id)).map(id => putBackAt(world.configs.get(id) ?? null))
  return seen.pods.some(pod => isLive(pod) && back.some(at => at !== null && bornBefore(pod, at)))
}

/** When Backout put its content back, or took it away; null: it did not, or somebody wrote all of it anew since. */
function putBackAt(object: ConfigObject | null): string | null {
  const entries = (object?.metadata['managedFields'] ?? []) as { manager?: string; time?: string }[]
  const own = entries.filter(({ manager }) => manager === FIELD_MANAGER).map(({ time }) => time ?? '')
  return own.toSorted().at(-1) ?? null
}

/** Both are the API server's own times, to the second. */
function bornBefore({ metadata: { creationTimestamp } }: Pod, at: string): boolean {
  return creationTimestamp != null && Date.parse(creationTimestamp) < Date.parse(at)
}

/** Pods read their configuration when they start: those that run the release already would keep the bad one. */
export function restarts(it: Pick<Case, 'site' | 'world' | 'configs'>, goal: Goal): boolean {
  const { site, configs } = it
  const { pinned, sameTemplate } = goal
  if (!isDue(it, goal) && !pinned.configs.some(id => configs.has(id) && goesBack(site, id))) return false
  return sameTemplate || revisionFor(goal, site.ctx.vault)?.pods.some(isLive) === true
}

/** How many pods it is to have; null: as many as there are. */
export function replicasFor(it: Pick<Case, 'site' | 'world' | 'question'>, goal: Goal): number | null {
  const { site, world, question } = it
  const { seen, pinned } = goal
  const current = site.config.replicas === 'current'
  if (isLeftToScale(it, goal)) {
    // Scaled to nothing, an autoscaler does not bring it back.
    return seen.object?.spec.replicas === 0 ? Math.max(1, pinned.replicas ?? 1, leastOf(world, seen.id)) : null
  }
  if (pinned.replicas !== null) {
    const now = seen.object?.spec.replicas ?? 0
    if (now > pinned.replicas && keepsItsPods(goal)) return null
    return current && now > 0 ? null : pinned.replicas
  }
  if (seen.kind === 'DaemonSet' || seen.object === null) return null
  // What decided about it is gone, or is in the way: nobody else sees to it that there are enough.
  const now = seen.object.spec.replicas ?? 1
  const least = Math.max(1, leastThen(question.to, seen.id))
  if (now === 0) return Math.max(least, pinned.ran ?? 1)
  return now < least && !current ? least : null
}
