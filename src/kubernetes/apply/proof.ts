import { canonical } from '../../core/json.ts'
import type { Pod } from '../api/objects.ts'
import { currentOf, type Seen } from '../look.ts'
import { keepsOld } from '../rollout.ts'
import { isLive, ready, rolloutOf } from '../status.ts'
import type { RollArgs } from '../steps.ts'
import { bare, digestOf, runningIn } from '../template.ts'

type Proof = {
  readonly is: 'proven' | 'not-yet' | 'wrong'
  readonly why: string
  /** Pods of what the object asks for. */
  readonly fresh: readonly Pod[]
}

/** Whether what runs is what was pinned: every pod is of the wanted revision, runs its digests, and none is missing. */
export function provenBy(seen: Seen, { proof }: RollArgs): Proof {
  const pods = seen.pods.filter(isLive)
  const current = currentOf(seen)
  const fresh = current === null ? [] : pods.filter(pod => current.pods.includes(pod))
  if (current === null) return { is: 'not-yet', why: 'its controller has not seen the template yet', fresh }
  const stale = keepsOld(seen.object) ? undefined : pods.find(pod => !fresh.includes(pod))
  if (stale !== undefined) return { is: 'not-yet', why: `${stale.metadata.name} is of another revision`, fresh }
  for (const pod of fresh) {
    const running = runningIn([pod])
    for (const [container, wanted] of Object.entries(proof)) {
      const [id] = running[container] ?? []
      if (id === undefined) {
        if (wanted.length === 0) continue
        return { is: 'not-yet', why: `${pod.metadata.name} does not say yet what ${container} runs`, fresh }
      }
      const digest = digestOf(id) ?? id
      if (wanted.length > 0 && !wanted.includes(digest)) {
        return {
          is: 'wrong',
          why: `${container} of ${pod.metadata.name} runs ${id}, and ran ${wanted.join(' or ')}`,
          fresh,
        }
      }
    }
  }
  // Some controllers count pods that are on their way out: of a DaemonSet that is halted and let go on at once, as there.
  const wanted = seen.object === null ? 0 : rolloutOf(seen.object).wanted
  const up = fresh.filter(ready).length
  if (up < wanted) return { is: 'not-yet', why: `${up} of ${wanted} pods of it are there and ready`, fresh }
  return { is: 'proven', why: `${fresh.length} pods run what was pinned`, fresh }
}

/** Templates that ask for the same pods. */
export function sameTemplate(a: Parameters<typeof bare>[0], b: Parameters<typeof bare>[0]): boolean {
  return canonical(bare(a)) === canonical(bare(b))
}
