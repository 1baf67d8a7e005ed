import { isWarmingUp, type Refusal } from './api/errors.ts'
import { corePath, type Template } from './api/objects.ts'
import type { Case, Say } from './case.ts'
import { exactImages, type Goal, revisionFor } from './goals.ts'
import { eachOf } from './site.ts'
import { isLive, ready } from './status.ts'
import { withImages } from './template.ts'
import { claimsOf } from './volumes.ts'

const AT_ONCE = 10
/** By rules that are the same for whoever makes a pod. */
const FOR_ALL = [
  /(maximum|minimum) \S+ usage per|\S+ max limit to request ratio per/,
  /failed quota: .*must specify/,
  /error looking up service account/,
  /no PriorityClass with name/,
]

/**
 * What refuses the release's pods by now, besides what is `told`: its object is taken all the same, and of a
 * StatefulSet or a DaemonSet nothing but events would tell. The server is asked to make one, and makes none. Who may not
 * make pods is not told.
 */
export async function podsUnmakeable(it: Case, say: Say, told: readonly string[]): Promise<void> {
  const { site, changing, question } = it
  const untold = changing.filter(({ seen }) => !told.includes(seen.id))
  await eachOf(untold, AT_ONCE, async goal => {
    const { id, name } = goal.seen
    const template = templateFor(it, goal)
    if (template === null || arePodsThere(it, goal)) return
    const { labels, annotations } = template.metadata ?? {}
    const metadata = { generateName: `${name}-`, labels, annotations }
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: withClaims(goal, template) }
    const refusal = await site.client.wouldRefuse(corePath(site.namespace, 'pods'), pod, question.signal)
    if (refusal === null || !isOfThePod(refusal)) return
    const sure = FOR_ALL.some(rule => rule.test(refusal.message))
    say(
      sure ? 'blocker' : 'warning',
      'pods_refused',
      sure
        ? `No pod of ${id} as it was at ${question.release} can be made by now: ${refusal.message}`
        : `The server lets you make no pod of ${id} as it was at ${question.release}, and maybe its controller none: ${refusal.message}`,
      sure
        ? `change what it names until the release is replaced by one that keeps it, or take the rung "image"`
        : 'see that it lets the controller make such a pod',
    )
  })
}

function templateFor({ rung, site }: Case, goal: Goal): Template | null {
  const { seen, manifest, pinned } = goal
  if (rung === 'image') return seen.object === null ? null : withImages(seen.object.spec.template, exactImages(pinned))
  const kept = rung === 'adopt' ? revisionFor(goal, site.ctx.vault) : null
  return kept?.template ?? manifest?.spec.template ?? null
}

/** As with a rollout that got stuck: the others only have to go. */
function arePodsThere({ rung, site }: Case, goal: Goal): boolean {
  const kept = rung === 'adopt' ? revisionFor(goal, site.ctx.vault) : null
  const there = kept?.pods.filter(pod => isLive(pod) && ready(pod)).length ?? 0
  return there > 0 && there >= (goal.seen.object?.spec.replicas ?? there)
}

/** A StatefulSet gives each pod claims of its own; here anything of that name does. */
function withClaims({ seen, manifest }: Goal, { spec }: Template): Template['spec'] {
  const object = manifest ?? seen.object
  const claims = object === null ? [] : claimsOf({ ...object, kind: seen.kind })
  if (claims.length === 0) return spec
  return { ...spec, volumes: [...(spec.volumes ?? []), ...claims.map(name => ({ name, emptyDir: {} }))] }
}

/** Not of who asks; and there is room in a quota once one of the pods that are left has gone. */
function isOfThePod(refusal: Refusal): boolean {
  const { status, message } = refusal
  if (isWarmingUp(refusal)) return false
  if (/failed calling webhook/.test(message)) return true
  if (/denied the request/.test(message)) return !/does not support dry run/.test(message)
  return status === 403 && !/\bcannot \w+ (resource|path) |exceeded quota/.test(message)
}
