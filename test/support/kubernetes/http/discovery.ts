import { apiVersionOf, type Resource, type Resources } from '../resources.ts'
import { type Fields } from '../types.ts'

const VERSION = {
  major: '1',
  minor: '33',
  gitVersion: 'v1.33.4',
  gitCommit: '74cdb4273239fd9a67cbd4b6e05d4e0d02e8a3ee',
  gitTreeState: 'clean',
  buildDate: '2025-08-13T13:50:03Z',
  goVersion: 'go1.24.5',
  compiler: 'gc',
  platform: 'linux/amd64',
}

export function versionOf(minor: number): Fields {
  return String(minor) === VERSION.minor
    ? { ...VERSION }
    : { ...VERSION, minor: String(minor), gitVersion: `v1.${minor}.0` }
}

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
/** Groups whose resources are only asked, never stored. */
const VIRTUAL: Record<string, { kind: string; name: string }[]> = {
  'authorization.k8s.io': [
    { kind: 'SelfSubjectAccessReview', name: 'selfsubjectaccessreviews' },
    { kind: 'SelfSubjectRulesReview', name: 'selfsubjectrulesreviews' },
  ],
  'authentication.k8s.io': [{ kind: 'SelfSubjectReview', name: 'selfsubjectreviews' }],
}

/** Answers `/api`, `/apis` and what hangs below them; undefined for anything else. */
export function discovery(path: readonly string[], resources: Resources): Fields | undefined {
  const [root, group, version] = path
  if (root === 'api' && path.length === 1)
    return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
  if (root === 'api' && path.length === 2 && group === 'v1') return resourceList('', 'v1', resources)
  if (root !== 'apis') return undefined
  const groups = groupsOf(resources)
  if (path.length === 1) return { kind: 'APIGroupList', apiVersion: 'v1', groups }
  const found = groups.find(one => one['name'] === group)
  if (found === undefined) return undefined
  if (path.length === 2) return { kind: 'APIGroup', apiVersion: 'v1', ...found }
  const served = (found['versions'] as Fields[]).some(one => one['version'] === version)
  return path.length === 3 && served ? resourceList(group ?? '', version ?? '', resources) : undefined
}

function groupsOf(resources: Resources): Fields[] {
  const versions = new Map<string, string>(Object.keys(VIRTUAL).map(group => [group, 'v1']))
  for (const resource of resources.all()) if (resource.group !== '') versions.set(resource.group, resource.version)
  return [...versions].map(([name, version]) => {
    const one = { groupVersion: `${name}/${version}`, version }
    return { name, versions: [one], preferredVersion: one }
  })
}

function resourceList(group: string, version: string, resources: Resources): Fields {
  const listed = resources.all().filter(resource => resource.group === group && resource.version === version)
  const virtual = (VIRTUAL[group] ?? []).map(one => ({
    ...one,
    singularName: one.kind.toLowerCase(),
    namespaced: false,
    verbs: ['create'],
  }))
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf({ group, version }),
    resources: [...listed.flatMap(describe), ...virtual],
  }
}

function describe(resource: Resource): Fields[] {
  const base = { singularName: resource.singular, namespaced: resource.namespaced, kind: resource.kind }
  const main = {
    name: resource.plural,
    ...base,
    verbs: VERBS,
    ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
    ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
  }
  const subs = resource.subresources.map(sub => ({
    ...base,
    name: `${resource.plural}/${sub}`,
    singularName: '',
    verbs: sub === 'log' ? ['get'] : sub === 'eviction' ? ['create'] : ['get', 'patch', 'update'],
  }))
  return [main, ...subs]
}
