import { badRequest } from './status.ts'
import { at, type LabelSelector, type Obj, textOf } from './types.ts'

type Labels = Readonly<Record<string, string>> | undefined
type Test = (labels: Labels) => boolean

/** `metav1.LabelSelector`: an empty one selects everything, none selects nothing. */
export function selects(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (selector === undefined) return false
  const exact = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels?.[key] === value)
  return exact && (selector.matchExpressions ?? []).every(term => expression(term, labels))
}

function expression(term: { key: string; operator: string; values?: string[] }, labels: Labels): boolean {
  const value = labels?.[term.key]
  switch (term.operator) {
    case 'In':
      return value !== undefined && (term.values ?? []).includes(value)
    case 'NotIn':
      return value === undefined || !(term.values ?? []).includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    default:
      return false
  }
}

/** The query parameter `labelSelector`: `a=b,c!=d,e in (f,g),h,!i`. */
export function labelSelector(text: string): Test {
  const terms = text.split(/,(?![^(]*\))/).flatMap(term => (term.trim() === '' ? [] : [labelTerm(term.trim())]))
  return labels => terms.every(test => test(labels))
}

function labelTerm(term: string): Test {
  const set = /^([^\s!=]+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(term)
  if (set !== null) {
    const [, key = '', operator, list = ''] = set
    const values = list.split(',').map(value => value.trim())
    return labels => expression({ key, operator: operator === 'in' ? 'In' : 'NotIn', values }, labels)
  }
  const equal = /^([^\s!=]+)\s*(==|=|!=)\s*(\S*)$/.exec(term)
  if (equal !== null) {
    const [, key = '', operator, value = ''] = equal
    return operator === '!=' ? labels => labels?.[key] !== value : labels => labels?.[key] === value
  }
  const bare = /^(!?)\s*([^\s!=]+)$/.exec(term)
  if (bare === null) throw badRequest(`unable to parse requirement: found '${term}'`)
  const [, not, key = ''] = bare
  return labels => (labels?.[key] !== undefined) === (not === '')
}

const POD_FIELDS = [
  'spec.nodeName',
  'spec.restartPolicy',
  'spec.schedulerName',
  'spec.serviceAccountName',
  'status.phase',
]
const MORE_FIELDS: Record<string, readonly string[]> = {
  Pod: [...POD_FIELDS, 'status.podIP', 'status.nominatedNodeName'],
  Event: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'reason',
    'type',
    'source',
    'reportingComponent',
  ],
  Secret: ['type'],
  ReplicaSet: ['status.replicas'],
  Job: ['status.successful'],
  Namespace: ['status.phase'],
}

/** The query parameter `fieldSelector`. Only what the real server indexes may be asked. */
export function fieldSelector(text: string, kind: string): (object: Obj) => boolean {
  const known = ['metadata.name', 'metadata.namespace', ...(MORE_FIELDS[kind] ?? [])]
  const tests = text
    .split(',')
    .filter(term => term.trim() !== '')
    .map(term => {
      const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(term.trim())
      if (match === null) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`)
      const [, field = '', operator, value = ''] = match
      if (!known.includes(field)) throw badRequest(`field label not supported: ${field}`)
      return (object: Obj): boolean => {
        const is = textOf(at(object, ...field.split('.')))
        return operator === '!=' ? is !== value : is === value
      }
    })
  return object => tests.every(test => test(object))
}
