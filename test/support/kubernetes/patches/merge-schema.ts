/**
 * How lists and maps of the built-in types merge, from the API's own markers in k8s.io/api (types.go): `patchMergeKey` for
 * strategic merge patch, `listType`/`listMapKey`/`mapType` for server-side apply.
 */
interface ListRule {
  /** `patchMergeKey`. */
  readonly key: string
  /** `listMapKey`s, where server-side apply tells items apart by more. */
  readonly keys?: readonly string[]
}

const LISTS: Record<string, ListRule> = {
  containers: { key: 'name' },
  initContainers: { key: 'name' },
  ephemeralContainers: { key: 'name' },
  env: { key: 'name' },
  volumes: { key: 'name' },
  imagePullSecrets: { key: 'name' },
  secrets: { key: 'name' },
  volumeMounts: { key: 'mountPath' },
  volumeDevices: { key: 'devicePath' },
  hostAliases: { key: 'ip' },
  topologySpreadConstraints: { key: 'topologyKey', keys: ['topologyKey', 'whenUnsatisfiable'] },
  conditions: { key: 'type' },
  ownerReferences: { key: 'uid' },
}

const SERVICE_PORTS: ListRule = { key: 'port', keys: ['port', 'protocol'] }
const CONTAINER_PORTS: ListRule = { key: 'containerPort', keys: ['containerPort', 'protocol'] }

const ATOMIC_MAPS = new Set([
  'selector',
  'labelSelector',
  'namespaceSelector',
  'nodeSelector',
  'configMapKeyRef',
  'secretKeyRef',
  'fieldRef',
  'resourceFieldRef',
  'scaleTargetRef',
  'involvedObject',
  'targetRef',
])

export interface Place {
  /** Names of the fields from the root, without list items. */
  readonly path: readonly string[]
  /** A custom resource: only its metadata has known lists. */
  readonly custom: boolean
}

function rule(place: Place): ListRule | null {
  const name = place.path.at(-1) ?? ''
  if (place.custom && place.path[0] !== 'metadata') return null
  if (name === 'ports') return place.path.some(part => part.endsWith('ontainers')) ? CONTAINER_PORTS : SERVICE_PORTS
  return LISTS[name] ?? null
}

/** The merge key of a list in a strategic merge patch; null: replaced as a whole. */
export function mergeKey(place: Place): string | null {
  return rule(place)?.key ?? null
}

/** `set`: a list of strings that merges by value. */
export function mergesAsSet(place: Place): boolean {
  return place.path.length === 2 && place.path[0] === 'metadata' && place.path[1] === 'finalizers'
}

/** Keys of the items of an associative list; null: the list is one value. */
export function listKeys(place: Place): readonly string[] | null {
  const found = rule(place)
  return found === null ? null : (found.keys ?? [found.key])
}

export function isAtomicMap(place: Place): boolean {
  return !place.custom && ATOMIC_MAPS.has(place.path.at(-1) ?? '')
}

/** Defaults that stand for a key that an item leaves out. */
export function keyDefault(key: string): string | undefined {
  return key === 'protocol' ? 'TCP' : undefined
}
