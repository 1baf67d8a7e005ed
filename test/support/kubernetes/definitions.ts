import { type Fields, type Obj } from './types.ts'

interface Defined {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly shortNames?: readonly string[]
  readonly subresources: Fields
}

const SCALE = {
  specReplicasPath: '.spec.replicas',
  statusReplicasPath: '.status.HPAReplicas',
  labelSelectorPath: '.status.selector',
}

/** Kinds of Argo and Flux, with the subresources that their own definitions have. Their schemas are left open. */
const DEFINED = {
  rollouts: {
    group: 'argoproj.io',
    version: 'v1alpha1',
    kind: 'Rollout',
    plural: 'rollouts',
    shortNames: ['ro'],
    subresources: { status: {}, scale: SCALE },
  },
  analysisRuns: {
    group: 'argoproj.io',
    version: 'v1alpha1',
    kind: 'AnalysisRun',
    plural: 'analysisruns',
    subresources: {},
  },
  // Argo CD writes the status of its applications through the object itself.
  applications: {
    group: 'argoproj.io',
    version: 'v1alpha1',
    kind: 'Application',
    plural: 'applications',
    shortNames: ['app', 'apps'],
    subresources: {},
  },
  kustomizations: {
    group: 'kustomize.toolkit.fluxcd.io',
    version: 'v1',
    kind: 'Kustomization',
    plural: 'kustomizations',
    shortNames: ['ks'],
    subresources: { status: {} },
  },
  helmReleases: {
    group: 'helm.toolkit.fluxcd.io',
    version: 'v2',
    kind: 'HelmRelease',
    plural: 'helmreleases',
    shortNames: ['hr'],
    subresources: { status: {} },
  },
} satisfies Record<string, Defined>

export type DefinedName = keyof typeof DEFINED

/** A CustomResourceDefinition, to be applied to any cluster that lacks it. */
export function definition(name: DefinedName): Obj {
  const { group, version, kind, plural, subresources, ...rest }: Defined = DEFINED[name]
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List`, ...rest },
      versions: [{ name: version, served: true, storage: true, schema, subresources }],
    },
  }
}
