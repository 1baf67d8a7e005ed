import { BackoutError } from '../../core/errors.ts'
import type { Client, Listed } from './client.ts'
import type { KubeObject } from './objects.ts'

/** Versions in which what is read here has the same form, the newest first. */
const VERSIONS = {
  /** v2 since 1.23. Bounds and target are in both; what a patch does not name is kept by the server. */
  autoscaling: ['v2', 'v1'],
  /** v1 since 1.21. */
  policy: ['v1', 'v1beta1'],
} as const

export type Group = keyof typeof VERSIONS

/** What a server was found to serve: not asked for again. */
const known = new WeakMap<Client, Map<Group, string>>()

/** The path of a collection of a group, or of one object of it. */
export function pathIn(group: Group, version: string, namespace: string, plural: string, name?: string): string {
  const all = `/apis/${group}/${version}/namespaces/${namespace}/${plural}`
  return name === undefined ? all : `${all}/${name}`
}

/** All of a collection, by the newest version that the server has. */
export async function listIn(
  client: Client,
  group: Group,
  [namespace, plural]: readonly [string, string],
  signal: AbortSignal,
): Promise<Listed> {
  const found = await firstServed(client, group, async version =>
    client.list(pathIn(group, version, namespace, plural), signal),
  )
  if (found !== null) return found
  const versions = await versionsOf(client, group, signal)
  // A server that has not even the group has nothing of it.
  if (versions.length === 0) return { items: [], resourceVersion: '' }
  throw new BackoutError({
    code: 'api_version_unknown',
    what: `The API server serves ${group} as ${versions.join(', ')}, and Backout knows ${VERSIONS[group].join(', ')}`,
    cause: `${plural} of ${namespace} cannot be read, and must not be taken for none`,
    next: 'use a Backout that is made for this version of Kubernetes',
    exit: 'blocked',
  })
}

/** The version that the server serves a group in; null where it has none that is known here. */
export async function versionIn(client: Client, group: Group, signal: AbortSignal): Promise<string | null> {
  return firstServed(client, group, async version =>
    (await client.get(`/apis/${group}/${version}`, signal)) === null ? null : version,
  )
}

async function firstServed<T>(
  client: Client,
  group: Group,
  ask: (version: string) => Promise<T | null>,
): Promise<T | null> {
  const versions = known.get(client) ?? new Map<Group, string>()
  known.set(client, versions)
  const before = versions.get(group)
  for (const version of before === undefined ? VERSIONS[group] : [before]) {
    const answer = await ask(version)
    if (answer === null) continue
    versions.set(group, version)
    return answer
  }
  return null
}

interface ApiGroup extends KubeObject {
  versions?: { version: string }[]
}

async function versionsOf(client: Client, group: Group, signal: AbortSignal): Promise<string[]> {
  const found = await client.get<ApiGroup>(`/apis/${group}`, signal)
  return (found?.versions ?? []).map(({ version }) => version)
}
