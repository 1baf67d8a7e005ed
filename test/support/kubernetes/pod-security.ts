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
  const own = (at(spec, 'securityContext') ?? {}) as Fields
  return CHECKS.flatMap(({ from, breaks, of = '', why, must }) => {
    const found = rank < RANKS.indexOf(from) ? [] : containers.filter(one => breaks(contextOf(one), own))
    if (found.length === 0) return []
    const names = found.map(one => JSON.stringify(one['name'])).join(', ')
    return [`${why} (${of}container${found.length === 1 ? '' : 's'} ${names} must ${must})`]
  })
}

interface Check {
  readonly from: 'baseline' | 'restricted'
  /** By what a container says of itself, and its pod of all of them. */
  readonly breaks: (own: Fields, pods: Fields) => boolean
  readonly of?: string
  readonly why: string
  readonly must: string
}

/** pod-security-admission/policy: check_privileged.go and what else is named here. */
const CHECKS: readonly Check[] = [
  {
    from: 'baseline',
    breaks: own => own['privileged'] === true,
    why: 'privileged',
    must: 'not set securityContext.privileged=true',
  },
  {
    from: 'restricted',
    breaks: own => own['allowPrivilegeEscalation'] !== false,
    why: 'allowPrivilegeEscalation != false',
    must: 'set securityContext.allowPrivilegeEscalation=false',
  },
  // check_capabilities_restricted.go
  {
    from: 'restricted',
    breaks: own => !((at(own, 'capabilities', 'drop') ?? []) as string[]).includes('ALL'),
    why: 'unrestricted capabilities',
    must: 'set securityContext.capabilities.drop=["ALL"]',
  },
  {
    from: 'restricted',
    breaks: (own, pods) => (own['runAsNonRoot'] ?? pods['runAsNonRoot']) !== true,
    of: 'pod or ',
    why: 'runAsNonRoot != true',
    must: 'set securityContext.runAsNonRoot=true',
  },
  // check_seccompProfile_restricted.go
  {
    from: 'restricted',
    breaks: (own, pods) =>
      !['RuntimeDefault', 'Localhost'].includes(
        String(at(own, 'seccompProfile', 'type') ?? at(pods, 'seccompProfile', 'type')),
      ),
    of: 'pod or ',
    why: 'seccompProfile',
    must: 'set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
  },
]

function contextOf(container: Fields): Fields {
  return (container['securityContext'] ?? {}) as Fields
}
