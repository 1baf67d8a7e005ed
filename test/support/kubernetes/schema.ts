import { type Resource } from './resources.ts'
import { type Fields, isFields, type Obj } from './types.ts'

/**
 * What fields the built-in kinds have, and of which type: out of the official client's models, which are generated from the
 * API server's own description. A typed server keeps no field that it does not know.
 */
interface Attribute {
  readonly baseName: string
  readonly type: string
}

const ROOTS: Readonly<Record<string, string>> = {
  '/namespaces': 'V1Namespace',
  '/nodes': 'V1Node',
  '/pods': 'V1Pod',
  '/services': 'V1Service',
  '/configmaps': 'V1ConfigMap',
  '/secrets': 'V1Secret',
  '/serviceaccounts': 'V1ServiceAccount',
  '/events': 'CoreV1Event',
  '/resourcequotas': 'V1ResourceQuota',
  '/limitranges': 'V1LimitRange',
  '/persistentvolumeclaims': 'V1PersistentVolumeClaim',
  'apps/deployments': 'V1Deployment',
  'apps/replicasets': 'V1ReplicaSet',
  'apps/statefulsets': 'V1StatefulSet',
  'apps/daemonsets': 'V1DaemonSet',
  'apps/controllerrevisions': 'V1ControllerRevision',
  'batch/jobs': 'V1Job',
  'autoscaling/horizontalpodautoscalers': 'V2HorizontalPodAutoscaler',
  'policy/poddisruptionbudgets': 'V1PodDisruptionBudget',
}

const PLAIN: Readonly<Record<string, readonly string[]>> = {
  string: ['string'],
  Date: ['string'],
  V1MicroTime: ['string'],
  number: ['number'],
  boolean: ['boolean'],
  IntOrString: ['string', 'number'],
}

const models = new Map<string, ReadonlyMap<string, string>>()
await Promise.all(Object.values(ROOTS).map(load))

async function load(type: string): Promise<void> {
  if (models.has(type) || PLAIN[type] !== undefined) return
  models.set(type, new Map())
  const path = `@kubernetes/client-node/dist/gen/models/${type}.js`
  const module = (await import(path)) as Record<string, { getAttributeTypeMap(): Attribute[] }>
  const attributes = module[type]?.getAttributeTypeMap() ?? []
  models.set(type, new Map(attributes.map(one => [one.baseName, one.type])))
  await Promise.all(attributes.flatMap(one => /\b(?:V\d|CoreV\d)\w+/.exec(one.type) ?? []).map(load))
}

export interface Decoded {
  readonly object: Obj
  /** Paths of fields that the kind does not have; they are not in the object. */
  readonly unknown: readonly string[]
  /** What is of another type, in the words of Go's JSON. */
  readonly wrong: string | null
}

/** An object as a typed server keeps it. */
export function decodeTyped(resource: Resource, object: Obj): Decoded {
  const root = ROOTS[`${resource.group}/${resource.plural}`]
  if (root === undefined) return { object, unknown: [], wrong: null }
  const found = { unknown: [] as string[], wrong: null as string | null }
  return { object: read(object, root, '', found) as Obj, ...found }
}

type Found = { unknown: string[]; wrong: string | null }

function read(value: unknown, type: string, path: string, found: Found): unknown {
  if (value === null || value === undefined || type === 'any') return value
  const list = /^Array<(.+)>$/.exec(type)?.[1]
  if (list !== undefined) {
    if (!Array.isArray(value)) return wrong(value, `[]${list}`, path, found)
    return value.map((item, i) => read(item, list, `${path}[${i}]`, found))
  }
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1]
  if (map !== undefined) {
    if (!isFields(value)) return wrong(value, `map[string]${map}`, path, found)
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, read(item, map, `${path}.${key}`, found)]),
    )
  }
  const model = models.get(type)
  return model === undefined ? plain(value, type, path, found) : struct(value, model, { type, path }, found)
}

function struct(
  value: unknown,
  model: ReadonlyMap<string, string>,
  at: { type: string; path: string },
  found: Found,
): unknown {
  if (!isFields(value)) return wrong(value, at.type.replace(/^(Core)?V\d/, ''), at.path, found)
  const fields: Fields = {}
  for (const [name, member] of Object.entries(value)) {
    const here = at.path === '' ? name : `${at.path}.${name}`
    const type = model.get(name)
    if (type === undefined) found.unknown.push(here)
    else fields[name] = read(member, type, here, found)
  }
  return fields
}

function plain(value: unknown, type: string, path: string, found: Found): unknown {
  const allowed = PLAIN[type]
  return allowed === undefined || allowed.includes(typeof value) ? value : wrong(value, type, path, found)
}

function wrong(value: unknown, type: string, path: string, found: Found): unknown {
  const is = Array.isArray(value)
    ? 'array'
    : isFields(value)
      ? 'object'
      : typeof value === 'boolean'
        ? 'bool'
        : typeof value
  found.wrong ??= `json: cannot unmarshal ${is} into Go struct field .${path} of type ${type}`
  return value
}
