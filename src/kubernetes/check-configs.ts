import { goesBack } from './capture.ts'
import { type Case, isDue, restarts, type Say } from './case.ts'
import type { Goal } from './goals.ts'
import { referencesOf } from './template.ts'

export function checkDue(it: Case, goal: Goal, say: Say): void {
  if (!isDue(it, goal) || !restarts(it, goal)) return
  say(
    'note',
    'restart_due',
    `An earlier run put back what pods of ${goal.seen.id} read, and ended before they were made anew: that is done now`,
    'nothing',
  )
}

export function checkConfigs(it: Case, say: Say): void {
  const { site, configs, question, goals, added, fixed } = it
  for (const [id, now] of configs) {
    if (added.has(id)) {
      checkAdded(it, id, say)
      continue
    }
    const needed = goals.some(
      g => g.manifest !== null && referencesOf(g.manifest.spec.template).some(r => r.id === id && !r.optional),
    )
    if (goesBack(site, id)) {
      const kept = question.to.configs[id]?.sealed != null
      if (!kept)
        say(
          'blocker',
          'content_gone',
          `${id} was captured without its content, which is to go back`,
          'capture a release with `pinned:` as it is now, or take it out of there',
        )
      else if (fixed.has(id))
        say(
          'blocker',
          'config_immutable',
          `${id} is not as it was at ${question.release}, and ${fixed.get(id)}: its content cannot be put back into it`,
          `kubectl -n ${site.namespace} delete ${id}, then plan again: it is made again as it was captured`,
        )
      continue
    }
    if (now === null && needed) {
      say(
        'blocker',
        'config_gone',
        `${id}, which ${question.release} reads, is not there`,
        'make it again; name it in `pinned` so that releases keep its content',
      )
    } else if (now !== null) {
      say(
        'warning',
        'config_current',
        `${id} is not as it was at ${question.release}, and keeps today's content`,
        'name it in `pinned` where it must go back too, and capture again',
      )
    }
  }
  const back = [...configs.keys()].filter(id => goesBack(site, id) && !added.has(id))
  if (back.length > 0)
    say(
      'note',
      'config_back',
      `${back.join(', ')} goes back to its content at ${question.release}`,
      'see that nothing else reads it, or can live with that',
    )
}

/** Pods that can do without it read it once it is there, those of the release too. */
function checkAdded({ site, question, fixed }: Case, id: string, say: Say): void {
  const what = `${id} was not there at ${question.release}, and pods of ${question.release} read it where it is`
  if (!goesBack(site, id)) {
    const remedy = id.startsWith('secret/')
      ? `find out who made it; kubectl -n ${site.namespace} delete ${id} where it belongs to the release that is left`
      : 'see that the release can live with it'
    return say('warning', 'config_new', `${what}: it is left as it is`, remedy)
  }
  if (fixed.has(id)) {
    const remedy = `kubectl -n ${site.namespace} delete ${id}, then plan again`
    return say('blocker', 'config_immutable', `${what}; it is immutable, and cannot be emptied`, remedy)
  }
  say(
    'warning',
    'config_new',
    `${what}: it is emptied, and what it has is kept in the vault`,
    'see that nothing else needs it; name it in `current` where it is to stay',
  )
}
