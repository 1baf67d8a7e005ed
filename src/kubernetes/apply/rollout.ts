import type { StepAct, Verdict } from '../../core/contract.ts'
import type { PatchOp } from '../api/client.ts'
import { parseId, type Workload, workloadPath } from '../api/objects.ts'
import { until } from '../api/watch.ts'
import { isPromoted, promotable } from '../rollout.ts'
import type { Site } from '../site.ts'
import { change, gone } from './write.ts'

/** Sends users back to the stable pods. The bad template stays on the object until another step replaces it. */
export async function abort(site: Site, object: string, act: StepAct): Promise<void> {
  const { kind, name } = parseId(object)
  const path = workloadPath(site.namespace, kind, name)
  const decide = (now: Workload): PatchOp[] | null => (isPromoted(now) ? null : setting(now, 'abort'))
  await change<Workload>(site, { path, at: `${path}/status`, name: object, decide }, act)
  const following = { client: site.client, signal: act.signal, awayMs: site.config.limits.away }
  const field = `?fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`
  await until(following, [`${workloadPath(site.namespace, kind)}${field}`], ([now]) => {
    if (now === undefined) throw gone(object, site.namespace)
    const verdict = isAborted({ ...(now as Workload), kind })
    act.progress({ text: verdict.why })
    return verdict.is === 'done' ? true : null
  })
}

/** The status subresource may be empty yet; nothing where it is set already. */
function setting(now: Workload, field: 'abort' | 'promoteFull'): PatchOp[] | null {
  if (now.status?.[field] === true) return null
  if (now.status === undefined) return [{ op: 'add', path: '/status', value: { [field]: true } }]
  return [{ op: 'add', path: `/status/${field}`, value: true }]
}

/** The controller's word, not the request's: users are at the stable pods once it has said so. */
export function isAborted(now: Workload): Verdict {
  if (isPromoted(now)) return { is: 'done', why: 'it is promoted: there is no step to abort' }
  const { abort: aborted, conditions } = now.status ?? {}
  if (aborted !== true) return { is: 'not-done', why: 'its controller goes on with its steps' }
  const said = conditions?.some(one => one.type === 'Progressing' && one.reason === 'RolloutAborted') === true
  if (said) return { is: 'done', why: 'its controller has sent users back to the stable pods' }
  return { is: 'running', why: 'its controller has not seen yet that it was aborted' }
}

/** Has the controller skip the steps that are left: all pods at once. */
export async function promote(site: Site, object: string, act: StepAct): Promise<void> {
  const { kind, name } = parseId(object)
  const path = workloadPath(site.namespace, kind, name)
  const decide = (now: Workload): PatchOp[] | null => (promotable(now) ? setting(now, 'promoteFull') : null)
  await change<Workload>(site, { path, at: `${path}/status`, name: object, decide }, act)
  act.progress({ text: `${object}: steps that are left are skipped` })
}
