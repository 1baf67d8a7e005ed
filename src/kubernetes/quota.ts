import { type Container, corePath, type KubeObject, type Pod, type PodSpec } from './api/objects.ts'
import { listIn } from './api/served.ts'
import type { Case, Say } from './case.ts'
import { type Goal, leftover, revisionFor } from './goals.ts'
import { isLive, ready } from './status.ts'
import { isSidecar, stayingIn } from './template.ts'

interface Quota extends KubeObject {
  spec?: { scopes?: string[]; scopeSelector?: unknown }
  status?: { hard?: Record<string, string>; used?: Record<string, string> }
}

interface Budget extends KubeObject {
  spec?: { selector?: { matchLabels?: Record<string, string> } }
  status?: { disruptionsAllowed?: number }
}

/** Whether there is room for a pod more while others are replaced, and whether pods may be evicted. */
export async function quotas(it: Case, say: Say): Promise<void> {
  const { site, question, changing } = it
  if (changing.length === 0) return
  const [list, budgets] = await Promise.all([
    site.client.list(corePath(site.namespace, 'resourcequotas'), question.signal).catch(() => null),
    listIn(site.client, 'policy', [site.namespace, 'poddisruptionbudgets'], question.signal).catch(() => null),
  ])
  // A quota that may not be read is found out by the rollout.
  for (const goal of changing) {
    for (const quota of list?.items ?? []) checkQuota(it, goal, quota as Quota, say)
    for (const budget of budgets?.items ?? []) checkBudget(goal, budget as Budget, say)
  }
}

function checkQuota(it: Case, goal: Goal, { metadata, spec, status }: Quota, say: Say): void {
  const { seen, manifest } = goal
  // Of a scope: which pods it counts is not known without its rules.
  if (spec?.scopes !== undefined || spec?.scopeSelector !== undefined || manifest === null) return
  if (seen.kind !== 'Deployment' || manifest.spec.strategy?.type === 'Recreate') return
  const kept = it.rung === 'adopt' ? revisionFor(goal, it.site.ctx.vault) : null
  const there = kept?.pods.filter(pod => isLive(pod) && ready(pod)).length ?? 0
  // Its pods are there already, as with a rollout that got stuck: the others only have to go.
  if (there >= (seen.object?.spec.replicas ?? 1)) return
  const freed = freedBy(seen.pods.filter(pod => isLive(pod) && !ready(pod) && kept?.pods.includes(pod) !== true))
  const wanted = needsOf(manifest.spec.template.spec)
  const short = Object.entries(status?.hard ?? {}).flatMap(([resource, hard]) => {
    const more = wanted[resource]
    if (more === undefined) return []
    const used = quantity(status?.used?.[resource] ?? '0') - (freed[resource] ?? 0)
    return quantity(hard) - used < more ? [resource] : []
  })
  if (short.length === 0) return
  const surge = manifest.spec.strategy?.rollingUpdate?.maxUnavailable
  const waits = surge === 0 || surge === '0' || surge === '0%'
  const what = `The quota ${metadata.name} leaves no room (${short.join(', ')}) for a pod more of ${seen.id} while others are replaced`
  if (waits)
    return say(
      'blocker',
      'quota_exceeded',
      `${what}, and maxUnavailable is 0`,
      'raise the quota, or scale something down',
    )
  say('warning', 'quota_tight', what, 'it goes on with pods that stop first; raise the quota to keep all of them')
}

/** Pods that serve nobody go before another one is made. */
function freedBy(pods: readonly Pod[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const { spec } of pods) {
    for (const [name, amount] of Object.entries(needsOf(spec))) total[name] = (total[name] ?? 0) + amount
  }
  return total
}

/**
 * What one pod counts against a quota: its containers and sidecars together, or more where one that runs before them asks for
 * more than that.
 */
export function needsOf(spec: PodSpec): Record<string, number> {
  const total = sumOf(stayingIn(spec))
  const { initContainers = [] } = spec
  initContainers.forEach((one, i) => {
    // Sidecars that were started before it run beside it.
    const beside = initContainers.slice(0, i).filter(isSidecar)
    for (const [key, amount] of Object.entries(sumOf([...beside, one]))) total[key] = Math.max(total[key] ?? 0, amount)
  })
  return { ...total, pods: 1, 'count/pods': 1 }
}

function sumOf(containers: readonly Container[]): Record<string, number> {
  const total: Record<string, number> = {}
  const add = (key: string, amount: string) => (total[key] = (total[key] ?? 0) + quantity(amount))
  for (const { resources } of containers) {
    for (const [name, amount] of Object.entries(resources?.requests ?? {})) {
      add(name, amount)
      add(`requests.${name}`, amount)
    }
    for (const [name, amount] of Object.entries(resources?.limits ?? {})) add(`limits.${name}`, amount)
  }
  return total
}

const UNITS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

/** "500m", "1Gi", "2e3" as a number. */
export function quantity(text: string): number {
  const [, number = '0', unit = ''] = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(text) ?? []
  return Number(number) * (UNITS[unit] ?? Number.NaN)
}

function checkBudget(goal: Goal, { metadata, spec, status }: Budget, say: Say): void {
  const { seen } = goal
  if (leftover(goal) !== 'all' || (status?.disruptionsAllowed ?? 0) > 0) return
  const labels = seen.object?.spec.template.metadata?.labels ?? {}
  const selects = Object.entries(spec?.selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value)
  if (!selects) return
  say(
    'warning',
    'disruption_budget',
    `The PodDisruptionBudget ${metadata.name} lets no pod of ${seen.id} go now, and each is evicted in turn`,
    'bring its pods to ready first, or loosen the budget for the time of the run',
  )
}
