import type { Kind, Template, Workload } from './api/objects.ts'

/** A label that no node has: what a DaemonSet is stopped by. */
export const STOPPED = 'backout.dev/stopped'

/** Whether a run stopped it, and it has not been let go since: what is deployed meanwhile has no pods either. */
export function isHeldStopped(template: Template): boolean {
  return template.spec.nodeSelector?.[STOPPED] !== undefined
}

/** Without what a step of the run added to stop it. */
export function asReleased(template: Template): Template {
  const { [STOPPED]: _, ...rest } = template.spec.nodeSelector ?? {}
  const { nodeSelector: __, ...spec } = template.spec
  return { ...template, spec: Object.keys(rest).length === 0 ? spec : { ...spec, nodeSelector: rest } }
}

/** The command that has a stopped one run again, as many pods of it as `before` had. */
export function starting(namespace: string, kind: Kind, { metadata: { name }, spec }: Workload): string {
  const object = `${kind.toLowerCase()} ${name}`
  if (kind !== 'DaemonSet') return `kubectl -n ${namespace} scale ${object} --replicas=${spec.replicas ?? 1}`
  const off = { spec: { template: { spec: { nodeSelector: { [STOPPED]: null } } } } }
  return `kubectl -n ${namespace} patch ${object} --type merge -p '${JSON.stringify(off)}'`
}
