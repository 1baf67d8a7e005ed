import type { Finding } from '../core/contract.ts'
import { sameJson } from '../core/json.ts'
import { partitionOf } from './apply/partition.ts'
import { checkBeside } from './beside.ts'
import { type Case, replicasFor, type Say } from './case.ts'
import { checkAutoscalers } from './check-autoscalers.ts'
import { checkConfigs, checkDue } from './check-configs.ts'
import { checkOwners } from './gitops.ts'
import { deletes, type Goal, leftover, movedTags, revisionFor, towardGoal, unreadyPods } from './goals.ts'
import { imagesSeen } from './images.ts'
import { podsRefused } from './pod-security.ts'
import { checkPorts } from './ports.ts'
import { quotas } from './quota.ts'
import { podsUnmakeable } from './refused.ts'
import { rights } from './rights.ts'
import { checkSteps } from './rollout-check.ts'
import { serverFinding } from './server.ts'
import { rolloutOf } from './status.ts'
import { differingPaths, refsOf, withImages } from './template.ts'
import { checkCommands, checkImageVolumes, checkOrdinals, checkVolumes } from './volumes.ts'

/** What stands in the way of a rung, and what going back by it means. Reads only. */
export async function check(it: Case): Promise<Finding[]> {
  const findings: Finding[] = []
  const component = it.site.component
  const say: Say = (level, code, what, remedy) => findings.push({ level, code, component, what, remedy })
  if (!it.world.namespaceThere) {
    say(
      'blocker',
      'namespace_gone',
      `There is no namespace ${it.site.namespace}`,
      `kubectl create namespace ${it.site.namespace}, then plan again: its objects are applied as they were captured`,
    )
    return findings
  }
  for (const goal of it.changing) checkObject(it, goal, say)
  // Nothing would be done because of it alone.
  for (const goal of it.goals) checkOrdinals(it, goal, say)
  checkConfigs(it, say)
  checkCommands(it, say)
  checkOthers(it, say)
  checkAutoscalers(it, say)
  checkPorts(it, say)
  await checkBeside(it, say)
  checkOwners(it.owners, { gitops: it.site.config.gitops, acts: it.changing.length > 0 }, say)
  if (it.question.mode === 'emergency' || findings.some(f => f.level === 'blocker')) return findings
  const server = serverFinding(it.site, it.question.signal).then(found => found && findings.push(found))
  const refused = podsRefused(it, say).then(told => podsUnmakeable(it, say, told))
  await Promise.all([rights(it, say), quotas(it, say), refused, imagesSeen(it, say), server])
  // What ended first says nothing: the same world must have the same plan.
  return findings.toSorted((a, b) => (a.code + a.what < b.code + b.what ? -1 : 1))
}

function checkObject(it: Case, goal: Goal, say: Say): void {
  const { rung, question, site } = it
  const { seen, manifest } = goal
  if (manifest === null) {
    return say(
      'blocker',
      'content_gone',
      `What was captured of ${seen.id} with ${question.release} is gone from the vault`,
      'bring the vault back from where copies are kept',
    )
  }
  if (seen.object === null) {
    if (rung === 'manifest')
      return say(
        'note',
        'object_gone',
        `${seen.id} is not there; it is made again as it was captured`,
        'find out who deleted it',
      )
    return say(
      'blocker',
      'object_gone',
      `${seen.id} is not in ${site.namespace}`,
      'it has to be applied as it was captured',
    )
  }
  checkImmutable(goal, rung, say)
  if (rung === 'adopt') checkRevision(it, goal, say)
  if (rung === 'image') checkImages(goal, say)
  checkRollout(goal, say)
  if (seen.kind === 'Rollout') checkSteps(goal, rung, it.site, say)
  checkReplicas(it, goal, say)
  checkVolumes(it, goal, say)
  checkImageVolumes(it, goal, say)
  checkDue(it, goal, say)
}

/** Fields that no update can change. */
function checkImmutable({ seen, manifest }: Goal, rung: Case['rung'], say: Say): void {
  if (seen.object === null || manifest === null) return
  const [now, then] = [seen.object.spec, manifest.spec]
  if (!sameJson(now.selector, then.selector) && rung !== 'image') {
    const remedy = `kubectl delete ${seen.id} --cascade=orphan, then plan again: it is applied as it was captured, and takes its pods over`
    say(
      'blocker',
      'immutable_field',
      `The selector of ${seen.id} is another one than captured, and cannot be changed`,
      remedy,
    )
  }
  const fixed = ['volumeClaimTemplates', 'serviceName', 'podManagementPolicy'].filter(
    name => seen.kind === 'StatefulSet' && !sameJson(withoutStatus(now[name]), withoutStatus(then[name])),
  )
  if (fixed.length === 0) return
  const what = `${fixed.join(', ')} of ${seen.id} cannot be changed, and stay as they are`
  if (rung !== 'manifest') return say('warning', 'immutable_field', what, 'see that the release can live with them')
  say('blocker', 'immutable_field', what, `kubectl delete ${seen.id} --cascade=orphan, then plan again`)
}

/** Claims carry a status that moves by itself. */
function withoutStatus(value: unknown): unknown {
  if (!Array.isArray(value)) return value ?? null
  return value.map((claim: { status?: unknown }) => ({ ...claim, status: null }))
}

function checkRevision({ site, question }: Case, goal: Goal, say: Say): void {
  const { seen } = goal
  if (towardGoal(goal)) return
  const revision = revisionFor(goal, site.ctx.vault)
  if (revision === null) {
    return say(
      'blocker',
      'revision_gone',
      `The revision of ${seen.id} at ${question.release} is not kept any more (revisionHistoryLimit)`,
      'its template has to be put back as it was captured',
    )
  }
  const moved = movedTags(goal).filter(ref => Object.values(refsOf(revision.template)).includes(ref))
  if (moved.length > 0) {
    say(
      'blocker',
      'image_moved',
      `${moved.join(', ')} is another image today than it was at ${question.release}`,
      'the image has to be named by its digest',
    )
  }
}

/** Only images are set: what else the bad release changed stays. */
function checkImages({ seen, manifest, pinned }: Goal, say: Say): void {
  if (seen.object === null || manifest === null) return
  const containers = refsOf(seen.object.spec.template)
  const missing = Object.keys(pinned.images).filter(name => containers[name] === undefined)
  if (missing.length > 0) {
    return say(
      'blocker',
      'container_gone',
      `${seen.id} has no container ${missing.join(', ')} any more`,
      'the template has to be put back',
    )
  }
  const blank = Object.fromEntries(Object.keys(containers).map(name => [name, '']))
  const paths = differingPaths(withImages(manifest.spec.template, blank), withImages(seen.object.spec.template, blank))
  if (paths.length === 0) return
  say(
    'warning',
    'template_differs',
    `Only the images of ${seen.id} go back; these stay as they are: ${paths.slice(0, 8).join(', ')}`,
    'see that the release can live with them',
  )
}

function checkRollout(goal: Goal, say: Say): void {
  const { seen } = goal
  if (seen.object === null) return
  if (seen.kind === 'Deployment' && rolloutOf(seen.object).paused) {
    say('warning', 'paused', `${seen.id} is paused; going back lets it go on`, 'find out who paused it, and why')
  }
  const replace = leftover(goal)
  if (replace === 'unready' && deletes(goal)) {
    const now = unreadyPods(goal)
    const which = now.length === 0 ? '' : ` (now ${now.slice(0, 5).join(', ')})`
    say(
      'warning',
      'pods_deleted',
      `A StatefulSet does not replace pods that never got ready: those of ${seen.id} that are of the release that is left${which} are deleted; their volumes stay`,
      'look at these pods first, if what they hold in memory matters',
    )
  }
  const partition = goal.manifest === null ? 0 : partitionOf({ ...goal.manifest, kind: seen.kind })
  if (partition > 0) {
    say(
      'warning',
      'partition_lowered',
      `${seen.id} has the partition ${partition} in its release, which keeps its first pods on what they are: it is lowered until all pods are of the release, and put back then`,
      'see that all of its pods may be made anew',
    )
  }
  if (replace === 'all') {
    say(
      'warning',
      'pods_deleted',
      `${seen.id} replaces no pods by itself with its release's strategy (OnDelete): they are evicted one after the other, each once all others are ready`,
      'see that it may be restarted now',
    )
  }
}

function checkReplicas(it: Case, goal: Goal, say: Say): void {
  const { seen } = goal
  const wanted = replicasFor(it, goal)
  const now = seen.object?.spec.replicas ?? 1
  if (wanted === null || wanted >= now) return
  say(
    'warning',
    'replicas_lowered',
    `${seen.id} goes from ${now} to ${wanted} pods, as at the capture`,
    'set `replicas: current` to keep as many as there are',
  )
}

function checkOthers({ site, world, question }: Case, say: Say): void {
  const added = world.objects.map(s => s.id).filter(id => question.to.objects[id] === undefined)
  if (added.length > 0) {
    say(
      'warning',
      'object_new',
      `${added.join(', ')} was not there at ${question.release}, and is left as it is`,
      'scale it to nothing or delete it, if it belongs to the release that is left',
    )
  }
  const gone = Object.keys(question.to.services).filter(name => !world.services.some(s => s.metadata.name === name))
  if (gone.length > 0) {
    say(
      'warning',
      'service_gone',
      `service/${gone.join(', service/')}, which sent users to ${site.component}, is not there`,
      'make it again',
    )
  }
}
