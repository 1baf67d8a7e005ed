import type { Swarm } from './look.ts'
import { replicasOf } from './spec.ts'
import type { Pace, Spec } from './types.ts'

/**
 * What Swarm takes for a service that says nothing of updates. Only as a whole: once a specification has an entry at all,
 * what is missing in it is zero, and no Parallelism means all tasks at once.
 */
export const SWARMS_OWN: Pace = {
  Parallelism: 1,
  FailureAction: 'pause',
  Monitor: 5e9,
  MaxFailureRatio: 0,
  Order: 'stop-first',
}

const NS_PER_MS = 1e6

/** Should the new tasks fail, Swarm is to stop there: its own rollback would bring the bad release back. */
export function careful(spec: Spec): Spec {
  return { ...spec, UpdateConfig: { ...(spec.UpdateConfig ?? SWARMS_OWN), FailureAction: 'pause' } }
}

type Way = 'update' | 'rollback'

function paceOf(spec: Spec, way: Way): Pace {
  return (way === 'update' ? spec.UpdateConfig : spec.RollbackConfig) ?? SWARMS_OWN
}

/** How many of its tasks there are, and how many of them are replaced at the same time. */
function batchOf(spec: Spec, way: Way, { nodes }: Swarm): { tasks: number; atOnce: number } {
  const tasks = replicasOf(spec) ?? nodes.length
  const { Parallelism: atOnce = 0 } = paceOf(spec, way)
  return { tasks, atOnce: atOnce === 0 ? tasks : Math.min(atOnce, tasks) }
}

/** Milliseconds that Swarm spends on waiting between tasks, and on looking at the last ones: as the service has it. */
export function waitsOf(spec: Spec, way: Way, swarm: Swarm): number {
  const { tasks, atOnce } = batchOf(spec, way, swarm)
  const { Delay: delay = 0, Monitor: monitor = 0 } = paceOf(spec, way)
  return atOnce === 0 ? 0 : (Math.ceil(tasks / atOnce) * delay + monitor) / NS_PER_MS
}

/** All its tasks are stopped before the first new one is there. */
export function stopsAll(spec: Spec, way: Way, swarm: Swarm): boolean {
  const { tasks, atOnce } = batchOf(spec, way, swarm)
  return tasks > 0 && atOnce === tasks && paceOf(spec, way).Order !== 'start-first'
}
