import { type Api } from './api.ts'
import { listOf } from './defaults/pod-spec.ts'
import { forbidden } from './status.ts'
import { at, type Fields, type Obj } from './types.ts'

const ENFORCE = 'pod-security.kubernetes.io/enforce'
const WARN = 'pod-security.kubernetes.io/warn'
const RANKS = ['privileged', 'baseline', 'restricted']

/**
 * staging/src/k8s.io/pod-security-admission (on since 1.23): pods are refused, and who writes what makes pods is warned. Some of
 * its rules. Where a namespace only says what is enforced, that is warned of too (since 1.26).
 */
export function enforcePodSecurity(api: Api): void {
  if (api.resources.minor < 23) return
  api.admit.push((verb, resource, object) => {
    if (verb !== 'create' || object.kind !== 'Pod') return
    const level = levelOf(api, object.metadata.namespace, ENFORCE)
    const found = violations(level, object.spec)
    if (found.length > 0) throw forbidden(resource, object.metadata.name, `violates ${told(level, found)}`)
  })
}

/** For who has just written that object. */
export function podSecurityWarnings(api: Api, object: Obj): string[] {
  const template = at(object.spec, 'template', 'spec')
  if (template === undefined || api.resources.minor < 23) return []
  const { namespace } = object.metadata
  const [warn, enforce] = [levelOf(api, namespace, WARN), levelOf(api, namespace, ENFORCE)]
  const level = labelOf(api, namespace, WARN) === undefined && api.resources.minor >= 26 ? enforce : warn
  const found = violations(level, template)
  return found.length === 0 ? [] : [`would violate ${told(level, found)}`]
}

function labelOf(api: Api, namespace: string | undefined, label: string): string | undefined {
  return api.store.get(api.resources.key('/namespaces'), undefined, namespace ?? '')?.metadata.labels?.[label]
}

function levelOf(api: Api, namespace: string | undefined, label: string): string {
  return labelOf(api, namespace, label) ?? 'privileged'
}

const told = (level: string, found: readonly string[]): string => `PodSecurity "${level}:latest": ${found.join(', ')}`

function violations(level: string, spec: unknown): string[] {
  const rank = RANKS.indexOf(level)
  const containers = [...listOf(at(spec, 'initContainers')), ...listOf(at(spec, 'containers'))]
  return containers.flatMap(one => {
    const said = (one['securityContext'] ?? {}) as Fields
    const name = `container "${String(one['name'])}" must`
    const baseline = said['privileged'] === true ? [`privileged (${name} not set securityContext.privileged=true)`] : []
    const restricted =
      said['allowPrivilegeEscalation'] === false
        ? []
        : [`allowPrivilegeEscalation != false (${name} set securityContext.allowPrivilegeEscalation=false)`]
    return [...(rank >= 1 ? baseline : []), ...(rank >= 2 ? restricted : [])]
  })
}
