import { listOf } from './defaults/pod-spec.ts'
import { type Resource } from './resources.ts'
import { selects } from './selectors.ts'
import { type Cause, invalid } from './status.ts'
import { at, type Fields, isFields, type LabelSelector, type Obj, same } from './types.ts'

const IMMUTABLE = 'field is immutable'
const STATEFUL =
  "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
const STATEFUL_MUTABLE = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
]

/** Answers 422 as pkg/apis/<group>/validation does, for the rules that going back to an old version can run into. */
export function validate(resource: Resource, object: Obj, before: Obj | null, minor: number): void {
  const causes: Cause[] = [...nameOf(object), ...shape(object, minor)]
  if (causes.length === 0 && before !== null) causes.push(...changes(object, before))
  if (causes.length > 0) throw invalid(resource, object.metadata.name, causes)
}

function nameOf(object: Obj): Cause[] {
  const { name } = object.metadata
  if (/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name) && name.length <= 253) return []
  const rule =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
  return [wrong('metadata.name', name, rule)]
}

const wrong = (field: string, value: unknown, why: string): Cause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
  field,
})

const required = (field: string, why = ''): Cause => ({
  reason: 'FieldValueRequired',
  message: `Required value${why === '' ? '' : `: ${why}`}`,
  field,
})

const TEMPLATED = ['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job']

function shape(object: Obj, minor: number): Cause[] {
  if (object.kind === 'Pod') return podSpec(object.spec, 'spec', minor)
  if (!TEMPLATED.includes(object.kind)) return []
  // Of a StatefulSet it looks at labels and restartPolicy alone: its pods' volumes come from claims, too. They are refused later.
  const looks = object.kind !== 'StatefulSet'
  const causes = looks ? podSpec(at(object.spec, 'template', 'spec'), 'spec.template.spec', minor) : []
  if (object.kind === 'Job') return [...causes, ...jobRestart(object)]
  const selector = at(object.spec, 'selector') as LabelSelector | undefined
  if (selector === undefined) return [required('spec.selector'), ...causes]
  const labels = at(object.spec, 'template', 'metadata', 'labels') as Record<string, string> | undefined
  if (!selects(selector, labels)) {
    causes.push(wrong('spec.template.metadata.labels', labels ?? null, '`selector` does not match template `labels`'))
  }
  const restart = at(object.spec, 'template', 'spec', 'restartPolicy')
  if (restart !== 'Always') {
    causes.push(unsupported('spec.template.spec.restartPolicy', restart, ['Always']))
  }
  return causes
}

const unsupported = (field: string, value: unknown, supported: readonly string[]): Cause => ({
  reason: 'FieldValueNotSupported',
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported.map(one => JSON.stringify(one)).join(', ')}`,
  field,
})

function jobRestart(object: Obj): Cause[] {
  const restart = at(object.spec, 'template', 'spec', 'restartPolicy')
  if (restart === 'Never' || restart === 'OnFailure') return []
  return [
    {
      reason: 'FieldValueRequired',
      message: 'Required value: valid values: "OnFailure", "Never"',
      field: 'spec.template.spec.restartPolicy',
    },
  ]
}

function podSpec(spec: unknown, field: string, minor: number): Cause[] {
  const containers = listOf(at(spec, 'containers'))
  if (containers.length === 0) return [required(`${field}.containers`)]
  const volumes = listOf(at(spec, 'volumes'))
  const names = volumes.map(volume => volume['name'])
  return [
    ...(minor < IMAGE_VOLUMES ? imageVolumes(volumes, field) : []),
    ...containers.flatMap((container, i) => [
      ...containerCauses(container, names, `${field}.containers[${i}]`),
      ...onlyOfSidecars(container, at(spec, 'restartPolicy'), `${field}.containers[${i}]`),
    ]),
  ]
}

/** The first minor version that takes them by default (KEP-4639): older ones drop the field, and find nothing there. */
const IMAGE_VOLUMES = 35

function imageVolumes(volumes: readonly Fields[], field: string): Cause[] {
  return volumes.flatMap((volume, i) =>
    volume['image'] === undefined ? [] : [required(`${field}.volumes[${i}]`, 'must specify a volume type')],
  )
}

function onlyOfSidecars(container: Fields, restart: unknown, field: string): Cause[] {
  const own = container['restartPolicy'] === undefined ? [] : ['may not be set for non-init containers']
  const resized = listOf(container['resizePolicy']).filter(one => one['restartPolicy'] !== 'NotRequired')
  return [
    ...own.map(why => forbiddenField(`${field}.restartPolicy`, why)),
    ...(restart === 'Never' ? resized : []).map(one =>
      wrong(`${field}.resizePolicy`, one['restartPolicy'], "must be 'NotRequired' when `restartPolicy` is 'Never'"),
    ),
  ]
}

function containerCauses(container: Fields, volumes: readonly unknown[], field: string): Cause[] {
  const causes: Cause[] = []
  if (typeof container['name'] !== 'string' || container['name'] === '') causes.push(required(`${field}.name`))
  if (typeof container['image'] !== 'string' || container['image'] === '') causes.push(required(`${field}.image`))
  listOf(container['volumeMounts']).forEach((mount, i) => {
    if (volumes.includes(mount['name'])) return
    causes.push({
      reason: 'FieldValueNotFound',
      message: `Not found: ${JSON.stringify(mount['name'])}`,
      field: `${field}.volumeMounts[${i}].name`,
    })
  })
  return causes
}

function changes(object: Obj, before: Obj): Cause[] {
  const fixed = (...path: string[]): Cause[] =>
    same(at(object, ...path), at(before, ...path))
      ? []
      : [wrong(path.join('.'), at(object, ...path) ?? null, IMMUTABLE)]
  switch (object.kind) {
    case 'Deployment':
    case 'ReplicaSet':
    case 'DaemonSet':
      return fixed('spec', 'selector')
    case 'StatefulSet':
      return stateful(object, before)
    case 'Job':
      return [...fixed('spec', 'selector'), ...fixed('spec', 'completionMode'), ...jobTemplate(object, before)]
    case 'Service':
      return fixed('spec', 'clusterIP')
    case 'ConfigMap':
    case 'Secret':
      return fixedData(object, before)
    case 'ControllerRevision':
      return same(object['data'], before['data']) ? [] : [wrong('data', object['data'], IMMUTABLE)]
    case 'Pod':
      return podChanges(object, before)
    default:
      return []
  }
}

function stateful(object: Obj, before: Obj): Cause[] {
  const rest = (spec: unknown): Fields =>
    Object.fromEntries(Object.entries(isFields(spec) ? spec : {}).filter(([name]) => !STATEFUL_MUTABLE.includes(name)))
  if (same(rest(object.spec), rest(before.spec))) return []
  return [{ reason: 'FieldValueForbidden', message: STATEFUL, field: 'spec' }]
}

/** Only a suspended job that never ran may get other labels, resources and the like; the stand-in knows no such case. */
function jobTemplate(object: Obj, before: Obj): Cause[] {
  if (same(at(object.spec, 'template'), at(before.spec, 'template'))) return []
  return [wrong('spec.template', at(object.spec, 'template'), IMMUTABLE)]
}

function fixedData(object: Obj, before: Obj): Cause[] {
  if (before['immutable'] === true) {
    if (object['immutable'] !== true) return [forbiddenField('immutable', 'field is immutable when `immutable` is set')]
    const changed = ['data', 'binaryData'].filter(field => !same(object[field], before[field]))
    return changed.map(field => forbiddenField(field, 'field is immutable when `immutable` is set'))
  }
  if (object.kind !== 'Secret' || object['type'] === before['type']) return []
  return [wrong('type', object['type'], IMMUTABLE)]
}

const forbiddenField = (field: string, why: string): Cause => ({
  reason: 'FieldValueForbidden',
  message: `Forbidden: ${why}`,
  field,
})

const POD_RULE =
  'Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

function podChanges(object: Obj, before: Obj): Cause[] {
  const rest = (pod: Obj): unknown => {
    const spec = structuredClone(pod.spec) as Fields
    for (const name of ['containers', 'initContainers']) for (const one of listOf(spec[name])) delete one['image']
    const { activeDeadlineSeconds: _, tolerations: __, nodeName: ___, schedulingGates: ____, ...others } = spec
    return others
  }
  const gates = (pod: Obj) => listOf(at(pod.spec, 'schedulingGates')).map(gate => String(gate['name']))
  const added = gates(object).filter(name => !gates(before).includes(name))
  if (added.length > 0)
    return [
      forbiddenField('spec.schedulingGates', `only deletion is allowed, but found new scheduling gate '${added[0]}'`),
    ]
  return same(rest(object), rest(before)) ? [] : [{ reason: 'FieldValueForbidden', message: POD_RULE, field: 'spec' }]
}
