import type { StepAct, Verdict } from '../../core/contract.ts'
import { parseId, type Workload, workloadPath } from '../api/objects.ts'
import { haltedBy, halting, resuming } from '../halt.ts'
import type { Site } from '../site.ts'
import type { HaltArgs } from '../steps.ts'
import { abort, isAborted } from './rollout.ts'
import { change } from './write.ts'

/**
 * Keeps a controller from replacing further pods; putting the template back lets it go on. Where the run does not get there, it
 * stays so until somebody lifts it.
 */
export async function halt(site: Site, { object }: HaltArgs, act: StepAct): Promise<void> {
  const { kind, name } = parseId(object)
  if (kind === 'Rollout') return abort(site, object, act)
  const decide = (read: Workload) => {
    const now = { ...read, kind }
    return haltedBy(now) === null ? halting(now, act.idem) : null
  }
  const path = workloadPath(site.namespace, kind, name)
  const now = await change<Workload>(site, { path, name: object, decide }, act)
  const lift = resuming(site.namespace, kind, now)
  const text = `${object} is held until its template is put back; if this run does not do that, let it go on: ${lift}`
  await act.tell({ kind: 'note', text, data: { path, lift } })
}

export async function isHaltDone(site: Site, { object }: HaltArgs, act: StepAct): Promise<Verdict> {
  const { kind, name } = parseId(object)
  const live = await site.client.get<Workload>(workloadPath(site.namespace, kind, name), act.signal)
  if (live === null) return { is: 'not-done', why: `${object} is not there` }
  const now = { ...live, kind }
  if (kind === 'Rollout') return isAborted(now)
  if (haltedBy(now) !== null)
    return { is: 'done', why: `the rollout of ${object} is held: its controller replaces no pods` }
  return { is: 'not-done', why: `the rollout of ${object} is not held by a run` }
}
