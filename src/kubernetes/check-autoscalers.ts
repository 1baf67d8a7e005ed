import { type Bounds, boundsThen, keeperOf, leastThen, scaledBy, spanOf } from './autoscalers.ts'
import { type Case, replicasFor, type Say } from './case.ts'
import type { Goal } from './goals.ts'
import type { World } from './look.ts'
import { boundsOf, isScaled } from './observe.ts'

export function checkAutoscalers(it: Case, say: Say): void {
  checkNew(it, say)
  checkKept(it, say)
  checkGone(it, say)
}

function checkNew({ site, world, question: { to, release }, boundings }: Case, say: Say): void {
  for (const scaler of world.autoscalers) {
    const id = scaledBy(scaler)
    if (to.objects[id] === undefined || boundsThen(to, scaler) !== null) continue
    const { name } = scaler.metadata
    const then = spanOf(to, id)
    const had = then === null ? '' : `, which had ${toldOf(then)}`
    const bound = boundings.find(one => one.scaler === scaler)
    const keeper = keeperOf(scaler)
    const left =
      bound === undefined ? `it is left as it is${putBackBy(keeper)}` : `it is bound to ${toldOf(bound.bounds)}`
    const type = keeper?.type ?? 'horizontalpodautoscaler'
    say(
      'warning',
      'autoscaler_new',
      `The autoscaler ${name} was not there at ${release}, and keeps ${id} at ${toldOf(boundsOf(scaler))}${had}: ${left}`,
      `if it belongs to the release that is left: kubectl -n ${site.namespace} delete ${type} ${keeper?.name ?? name}`,
    )
  }
}

function putBackBy(keeper: ReturnType<typeof keeperOf>): string {
  return keeper === null ? '' : `, for ${keeper.title} made it, and would put its bounds back`
}

/** Bounds of the release that do not go back, for they are not what decides. */
function checkKept({ site, world, question: { to, release } }: Case, say: Say): void {
  for (const scaler of world.autoscalers) {
    const [keeper, then, now] = [keeperOf(scaler), boundsThen(to, scaler), boundsOf(scaler)]
    if (keeper === null || then === null || (then.min === now.min && then.max === now.max)) continue
    const { name } = scaler.metadata
    say(
      'warning',
      'autoscaler_kept',
      `The autoscaler ${name} keeps ${scaledBy(scaler)} at ${toldOf(now)}, and kept it at ${toldOf(then)} at ${release}: it is left as it is${putBackBy(keeper)}`,
      `change it there: kubectl -n ${site.namespace} edit ${keeper.type} ${keeper.name}`,
    )
  }
}

function toldOf({ min, max }: Bounds): string {
  return min === max ? podsTold(min) : `${min} to ${podsTold(max)}`
}

function podsTold(count: number): string {
  return count === 1 ? '1 pod' : `${count} pods`
}

function checkGone(it: Case, say: Say): void {
  const { world, question, goals } = it
  const { to } = question
  for (const [name, { min, max, target }] of Object.entries(to.autoscalers)) {
    if (world.autoscalers.some(a => a.metadata.name === name && boundsThen(to, a) !== null)) continue
    const kept = target === null ? '' : `, which kept ${target} at ${toldOf({ min, max })},`
    const orphans = goals.filter(goal => (target === null ? isOrphan(world, goal) : goal.seen.id === target))
    const become = orphans.map(goal => `; ${becomes(it, goal)}`)
    say(
      'warning',
      'autoscaler_gone',
      `The autoscaler ${name}${kept} is not there any more${become.join('')}`,
      'make it again, or see that so many pods are enough',
    )
  }
}

/** Something decided about its pods, and nothing does any more. */
function isOrphan(world: World, { seen, pinned }: Goal): boolean {
  return pinned.replicas === null && seen.kind !== 'DaemonSet' && !isScaled(world, seen.id)
}

function becomes(it: Case, goal: Goal): string {
  const { seen, pinned, manifest } = goal
  const known = pinned.ran !== null || leastThen(it.question.to, seen.id) > 0
  const wanted = replicasFor(it, goal)
  const now = seen.object === null ? manifest?.spec.replicas : seen.object.spec.replicas
  if (wanted === null) return `${seen.id} stays at ${podsTold(now ?? 1)}`
  const unknown = known ? '' : `, for how many it had was not captured with ${it.question.release}`
  return `${seen.id} comes back with ${podsTold(wanted)}${unknown}`
}
