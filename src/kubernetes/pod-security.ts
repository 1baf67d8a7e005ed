import type { PatchOp } from './api/client.ts'
import { type Template, workloadPath } from './api/objects.ts'
import type { Case, Say } from './case.ts'
import { type Goal, revisionFor } from './goals.ts'
import { eachOf } from './site.ts'

const AT_ONCE = 10
const ENFORCE = 'pod-security.kubernetes.io/enforce'

/**
 * A namespace may enforce a Pod Security Standard by now that the release's pods do not keep: its object is taken all the same,
 * and none of its pods is made. The server says so when it is asked to write it, and writes nothing (since 1.26). Answers the
 * objects of which it says so.
 */
export async function podsRefused(it: Case, say: Say): Promise<string[]> {
  const { site, world, rung, changing, question } = it
  const level = world.labels[ENFORCE]
  // With images alone pods are as they are now.
  if (level === undefined || level === 'privileged' || rung === 'image') return []
  const found = await eachOf(changing, AT_ONCE, async goal => {
    const { object, id, kind, name } = goal.seen
    const value = templateFor(it, goal)
    if (object === null || value === null) return []
    const ops: PatchOp[] = [{ op: 'replace', path: '/spec/template', value }]
    const warnings = await site.client.wouldWarn(workloadPath(site.namespace, kind, name), object, ops, question.signal)
    // It warns of the standard that the namespace says to warn of, which may be another one.
    const found = warnings.find(warning => warning.startsWith(`would violate PodSecurity "${level}:`))
    if (found === undefined) return []
    say(
      'blocker',
      'pods_refused',
      `The namespace ${site.namespace} lets be made no pod of ${id} as it was at ${question.release}: ${found}`,
      `lift the standard until the release is replaced by one that keeps it: kubectl label namespace ${site.namespace} ${ENFORCE}-`,
    )
    return [id]
  })
  return found.flat()
}

function templateFor({ rung, site }: Case, goal: Goal): Template | null {
  const kept = rung === 'adopt' ? revisionFor(goal, site.ctx.vault) : null
  return kept?.template ?? goal.manifest?.spec.template ?? null
}
