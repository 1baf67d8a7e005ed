import type { StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { corePath, type Workload } from '../api/objects.ts'
import { currentOf, lookAt, type Seen } from '../look.ts'
import { isObserved } from '../rollout.ts'
import type { Site } from '../site.ts'
import { alive, ready, rolloutOf } from '../status.ts'
import type { RollArgs } from '../steps.ts'

/**
 * Deletes pods of another revision that their controller would leave: those that are not ready and hold a StatefulSet up, or
 * with `OnDelete` one after the other, each once all others are available.
 */
export async function replacePods(
  site: Site,
  seen: Seen & { object: Workload },
  { replace }: RollArgs,
  act: StepAct,
): Promise<void> {
  if (!isObserved(seen.object)) return
  const now = await lookAt(site, seen, act.signal)
  const current = currentOf(now)
  if (current === null) return
  const pods = now.pods.filter(alive)
  const old = pods.filter(pod => !current.pods.includes(pod))
  const { wanted } = rolloutOf(seen.object)
  const calm = now.pods.length === wanted && pods.every(ready)
  const due =
    replace === 'unready' ? old.filter(pod => !ready(pod)) : calm ? old.slice(0, 1) : old.filter(pod => !ready(pod))
  for (const { metadata } of due) {
    act.signal.throwIfAborted()
    act.guard()
    const path = corePath(site.namespace, 'pods', metadata.name)
    if (replace === 'unready' || !calm) await site.client.remove(path, { uid: metadata.uid }, act.signal)
    else await evict(site, metadata, act)
    act.progress({ text: `${metadata.name} of the release that is left was deleted, so that it is made anew` })
  }
}

/** A pod that serves goes only where its PodDisruptionBudget lets it. */
async function evict(site: Site, { name, uid }: { name: string; uid?: string }, act: StepAct): Promise<void> {
  const eviction = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name, namespace: site.namespace },
    deleteOptions: { preconditions: { uid } },
  }
  try {
    await site.client.post(`${corePath(site.namespace, 'pods', name)}/eviction`, eviction, act.signal)
  } catch (error) {
    // Gone by itself, or another one of that name by now.
    if (error instanceof BackoutError && /not found/i.test(error.why ?? '')) return
    if (error instanceof BackoutError && error.code === 'kubernetes_busy') {
      act.progress({ text: `${name} may not go yet: ${error.why}` })
      return
    }
    throw error
  }
}
