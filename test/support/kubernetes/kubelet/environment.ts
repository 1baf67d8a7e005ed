import { type Api } from '../api.ts'
import { at, type Container, type Fields, isFields, type Obj, type Pod, type Ref, textOf } from '../types.ts'
import { listOf } from '../defaults/pod-spec.ts'

export type Environment = { env: Record<string, string> } | { missing: string }

/** What a container is started with; or what it refers to and is not there (kubelet_pods.go: makeEnvironmentVariables). */
export function environment(api: Api, pod: Pod, container: Container): Environment {
  const env: Record<string, string> = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOSTNAME: pod.metadata.name }
  try {
    for (const source of container.envFrom ?? []) {
      for (const [key, value] of Object.entries(whole(api, pod, source))) env[`${source.prefix ?? ''}${key}`] = value
    }
    for (const variable of container.env ?? []) {
      const value = variable.valueFrom === undefined ? (variable.value ?? '') : from(api, pod, variable.valueFrom)
      if (value !== null) env[variable.name] = value.replace(/\$\((\w+)\)/g, (all, name: string) => env[name] ?? all)
    }
    return { env }
  } catch (error) {
    return { missing: (error as Error).message }
  }
}

/** A volume's ConfigMap or Secret that is not there: the pod waits for it. null: all there. */
export function missingVolume(api: Api, pod: Pod): string | null {
  for (const volume of listOf(pod.spec.volumes)) {
    const map = volume['configMap']
    const secret = volume['secret']
    const refs: [string, unknown, unknown][] = [
      ['configmap', at(map, 'name'), at(map, 'optional')],
      ['secret', at(secret, 'secretName'), at(secret, 'optional')],
    ]
    for (const [what, name, optional] of refs) {
      if (typeof name !== 'string' || optional === true) continue
      if (api.store.get(api.resources.key(`/${what}s`), pod.metadata.namespace, name) === undefined) {
        return `MountVolume.SetUp failed for volume "${String(volume['name'])}" : ${what} "${name}" not found`
      }
    }
  }
  return null
}

function whole(api: Api, pod: Pod, source: { configMapRef?: Ref; secretRef?: Ref }): Record<string, string> {
  const map = source.configMapRef
  if (map !== undefined) return dataOf(read(api, pod, 'configmap', map), 'configmap')
  return source.secretRef === undefined ? {} : dataOf(read(api, pod, 'secret', source.secretRef), 'secret')
}

function read(api: Api, pod: Pod, what: 'configmap' | 'secret', ref: Ref): Obj | null {
  const found = api.store.get(api.resources.key(`/${what}s`), pod.metadata.namespace, ref.name)
  if (found !== undefined) return found
  if (ref.optional === true) return null
  throw new Error(`${what} "${ref.name}" not found`)
}

function dataOf(object: Obj | null, what: string): Record<string, string> {
  const data = Object.entries((object?.['data'] ?? {}) as Record<string, string>)
  return Object.fromEntries(
    data.map(([key, value]) => [key, what === 'secret' ? Buffer.from(value, 'base64').toString() : value]),
  )
}

function from(api: Api, pod: Pod, source: Record<string, Fields>): string | null {
  for (const [field, what] of [
    ['configMapKeyRef', 'configmap'],
    ['secretKeyRef', 'secret'],
  ] as const) {
    const ref = source[field] as (Ref & { key: string }) | undefined
    if (ref === undefined) continue
    const value = dataOf(read(api, pod, what, ref), what)[ref.key]
    if (value !== undefined) return value
    if (ref.optional === true) return null
    throw new Error(
      `couldn't find key ${ref.key} in ${what === 'configmap' ? 'ConfigMap' : 'Secret'} ${pod.metadata.namespace}/${ref.name}`,
    )
  }
  const path = source['fieldRef']?.['fieldPath']
  const value = typeof path === 'string' ? at(pod, ...path.split('.')) : undefined
  return isFields(value) ? JSON.stringify(value) : textOf(value)
}
