import type { Say } from './case.ts'
import { type Goal, towardGoal } from './goals.ts'
import { isPromoted } from './rollout.ts'
import type { Site } from './site.ts'
import type { RollArgs } from './steps.ts'

/** What becomes of the steps of a Rollout on the way back. */
export function checkSteps(goal: Goal, rung: RollArgs['rung'], site: Site, say: Say): void {
  const { seen, pinned } = goal
  if (seen.object === null || towardGoal(goal)) return
  const { status = {}, metadata } = seen.object
  const stable = status.stableRS === undefined ? null : `${metadata.name}-${status.stableRS}`
  // Back to what is stable its controller skips the steps by itself, and pods are there already.
  if (rung === 'adopt' && stable !== null && stable === pinned.keeper) return
  const promoted = isPromoted(seen.object) ? ', which is promoted' : ''
  if (site.config.steps === 'follow') {
    return say(
      'warning',
      'steps_followed',
      `${seen.id} leaves its release${promoted} step by step: pauses of its canary or blue-green hold the run until somebody promotes it`,
      `kubectl argo rollouts promote ${seen.name} -n ${site.namespace}, or set \`steps: skip\``,
    )
  }
  say(
    'note',
    'steps_skipped',
    `${seen.id} leaves its release${promoted} at once: steps, pauses and analyses of its strategy are skipped`,
    'set `steps: follow` to go through them',
  )
}
