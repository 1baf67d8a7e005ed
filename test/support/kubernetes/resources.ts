import { noSuchPath } from './status.ts'

export interface Resource {
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly singular: string
  readonly kind: string
  readonly namespaced: boolean
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly subresources: readonly string[]
  /** Served through a CustomResourceDefinition: no strategic merge patch, no unconditional update. */
  readonly custom: boolean
  /** Which writes raise `metadata.generation`. */
  readonly generation: 'none' | 'spec' | 'spec-and-annotations' | 'all-but-status'
}

type Some = Partial<Resource> & Pick<Resource, 'kind' | 'plural'>

function make(group: string, version: string, some: Some): Resource {
  return {
    group,
    version,
    singular: some.kind.toLowerCase(),
    namespaced: true,
    shortNames: [],
    categories: [],
    subresources: [],
    custom: false,
    generation: 'none',
    ...some,
  }
}

const ALL = { categories: ['all'] }
const SCALED = ['status', 'scale']
const STATUS = ['status']

const CORE: Some[] = [
  {
    kind: 'Namespace',
    plural: 'namespaces',
    namespaced: false,
    shortNames: ['ns'],
    subresources: ['status', 'finalize'],
  },
  { kind: 'Node', plural: 'nodes', namespaced: false, shortNames: ['no'], subresources: STATUS },
  { kind: 'Pod', plural: 'pods', shortNames: ['po'], ...ALL, subresources: ['status', 'log', 'eviction'] },
  { kind: 'Service', plural: 'services', shortNames: ['svc'], ...ALL, subresources: STATUS },
  { kind: 'ConfigMap', plural: 'configmaps', shortNames: ['cm'] },
  { kind: 'Secret', plural: 'secrets' },
  { kind: 'ServiceAccount', plural: 'serviceaccounts', shortNames: ['sa'] },
  { kind: 'Event', plural: 'events', shortNames: ['ev'] },
  { kind: 'ResourceQuota', plural: 'resourcequotas', shortNames: ['quota'], subresources: STATUS },
  { kind: 'LimitRange', plural: 'limitranges', shortNames: ['limits'] },
  { kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims', shortNames: ['pvc'], subresources: STATUS },
]

const APPS: Some[] = [
  {
    kind: 'Deployment',
    plural: 'deployments',
    shortNames: ['deploy'],
    ...ALL,
    subresources: SCALED,
    generation: 'spec-and-annotations',
  },
  { kind: 'ReplicaSet', plural: 'replicasets', shortNames: ['rs'], ...ALL, subresources: SCALED, generation: 'spec' },
  {
    kind: 'StatefulSet',
    plural: 'statefulsets',
    shortNames: ['sts'],
    ...ALL,
    subresources: SCALED,
    generation: 'spec',
  },
  { kind: 'DaemonSet', plural: 'daemonsets', shortNames: ['ds'], ...ALL, subresources: STATUS, generation: 'spec' },
  { kind: 'ControllerRevision', plural: 'controllerrevisions' },
]

/** What an API server of 1.33 serves of its own, as far as the tests need it. */
const BUILT_IN: Resource[] = [
  ...CORE.map(some => make('', 'v1', some)),
  ...APPS.map(some => make('apps', 'v1', some)),
  make('batch', 'v1', { kind: 'Job', plural: 'jobs', ...ALL, subresources: STATUS, generation: 'spec' }),
  make('autoscaling', 'v2', {
    kind: 'HorizontalPodAutoscaler',
    plural: 'horizontalpodautoscalers',
    shortNames: ['hpa'],
    ...ALL,
    subresources: STATUS,
  }),
  make('policy', 'v1', {
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    shortNames: ['pdb'],
    subresources: STATUS,
    generation: 'spec',
  }),
  make('coordination.k8s.io', 'v1', { kind: 'Lease', plural: 'leases' }),
  make('apiextensions.k8s.io', 'v1', {
    kind: 'CustomResourceDefinition',
    plural: 'customresourcedefinitions',
    namespaced: false,
    shortNames: ['crd', 'crds'],
    subresources: STATUS,
    generation: 'spec',
  }),
]

/** What older servers call otherwise, in the same form as far as tests use it: by 1.21 and 1.23 they had today's names. */
function versionAt({ group, version }: Resource, minor: number): string {
  if (group === 'policy' && minor < 21) return 'v1beta1'
  return group === 'autoscaling' && minor < 23 ? 'v1' : version
}

/** The resources that are served now; a CustomResourceDefinition adds to them. */
export class Resources {
  readonly #all = new Map<string, Resource>()

  /** The minor version of Kubernetes 1 that is served. */
  readonly minor: number

  constructor(minor = 33) {
    this.minor = minor
    for (const resource of BUILT_IN) this.add({ ...resource, version: versionAt(resource, minor) })
  }

  add(resource: Resource): void {
    this.#all.set(keyOf(resource), resource)
  }

  remove(resource: Resource): void {
    this.#all.delete(keyOf(resource))
  }

  all(): Resource[] {
    return [...this.#all.values()]
  }

  of(group: string, version: string, plural: string): Resource {
    const found = this.#all.get(`${group}/${plural}`)
    if (found === undefined || found.version !== version) throw noSuchPath()
    return found
  }

  /** By the key of `keyOf`; throws where it is not served, which is a mistake of the stand-in itself. */
  key(key: string): Resource {
    const found = this.#all.get(key)
    if (found === undefined) throw new Error(`the stand-in serves no ${key}`)
    return found
  }

  ofKind(apiVersion: string, kind: string): Resource | undefined {
    return this.all().find(resource => apiVersionOf(resource) === apiVersion && resource.kind === kind)
  }
}

export function keyOf(resource: Resource): string {
  return `${resource.group}/${resource.plural}`
}

export function apiVersionOf(resource: { group: string; version: string }): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`
}
