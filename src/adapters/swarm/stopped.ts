import { replicasOf, STOPPED } from './spec.ts'
import type { Spec } from './types.ts'

const NOWHERE = 'node.id==stopped-by-backout'

/** A specification by which no task runs, and that says how many there were. */
export function stoppedSpec(spec: Spec): Spec {
  const Labels = { ...spec.Labels, [STOPPED]: String(replicasOf(spec) ?? 'one on each node') }
  if (spec.Mode.Replicated !== undefined) return { ...spec, Labels, Mode: { Replicated: { Replicas: 0 } } }
  return { ...withConstraints(spec, [...others(spec), NOWHERE]), Labels }
}

/** By Backout, or by somebody who scaled it to nothing. */
export function isStopped(spec: Spec): boolean {
  return spec.Mode.Replicated?.Replicas === 0 || isNowhere(spec)
}

/** Whether a run stopped it, and nobody has let it go since: what is deployed meanwhile has no tasks either. */
export function isHeldStopped(spec: Spec): boolean {
  return isNowhere(spec) || (isStopped(spec) && tasksBefore(spec) !== null)
}

/** Without what a step of a run did to stop it. */
export function unstopped(spec: Spec): Spec {
  const plain = isNowhere(spec) ? withConstraints(spec, others(spec)) : spec
  const before = tasksBefore(plain)
  return isStopped(plain) && before !== null ? { ...plain, Mode: { Replicated: { Replicas: before } } } : plain
}

/** The command that has a stopped service run again. `spec` may be from before or after the stop. */
export function starting(spec: Spec): string {
  const { Name: name } = spec
  if (spec.Mode.Replicated === undefined) return `docker service update --constraint-rm ${NOWHERE} ${name}`
  return `docker service scale ${name}=${replicasOf(unstopped(spec))}`
}

function isNowhere(spec: Spec): boolean {
  return constraintsOf(spec).includes(NOWHERE)
}

function others(spec: Spec): string[] {
  return constraintsOf(spec).filter(c => c !== NOWHERE)
}

function constraintsOf({ TaskTemplate: { Placement: placement } }: Spec): readonly string[] {
  return placement?.Constraints ?? []
}

function withConstraints(spec: Spec, constraints: string[]): Spec {
  const { Constraints: _, ...placement } = spec.TaskTemplate.Placement ?? {}
  const Placement = { ...placement, ...(constraints.length === 0 ? {} : { Constraints: constraints }) }
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, Placement } }
}

/** How many tasks a replicated service had when it was stopped; null: nobody wrote that down. */
function tasksBefore({ Labels: labels }: Spec): number | null {
  const before = Number(labels?.[STOPPED] ?? Number.NaN)
  return Number.isSafeInteger(before) ? before : null
}
