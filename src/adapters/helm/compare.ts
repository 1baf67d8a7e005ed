import { quantity } from '../../kubernetes/quota.ts'

type Fields = Record<string, unknown>

/** A field that is not as a manifest says it: where, and what is there. */
export interface Difference {
  readonly at: string
  readonly value: unknown
}

/**
 * What a manifest says and is not so. What it does not say is not looked at: the API server and controllers add much. Items of
 * lists are told apart by their names, and where they have none it is enough that one is as it is to be.
 */
export function differences(live: unknown, wanted: unknown, at = ''): Difference[] {
  if (wanted === null || wanted === undefined) return []
  if (live === null || live === undefined) return isNothing(wanted) ? [] : [{ at, value: null }]
  if (Array.isArray(wanted)) return Array.isArray(live) ? inList(live, wanted, at) : [{ at, value: live }]
  if (isFields(wanted)) {
    if (!isFields(live)) return [{ at, value: live }]
    return Object.entries(wanted).flatMap(([key, value]) => differences(live[key], value, below(at, key)))
  }
  return sameScalar(live, wanted, at) ? [] : [{ at, value: live }]
}

function inList(live: unknown[], wanted: unknown[], at: string): Difference[] {
  if (!wanted.every(isFields)) {
    const same =
      live.length === wanted.length && wanted.every((value, i) => differences(live[i], value, at).length === 0)
    return same ? [] : [{ at, value: live }]
  }
  return wanted.flatMap(item => {
    const named = typeof item['name'] === 'string'
    const like = named ? live.filter(one => isFields(one) && one['name'] === item['name']) : live
    const found = like.map(one => differences(one, item, named ? `${at}[${String(item['name'])}]` : at))
    if (found.some(one => one.length === 0)) return []
    const [only] = found
    if (!named) return [{ at, value: live }]
    return only === undefined ? [{ at: `${at}[${String(item['name'])}]`, value: null }] : only
  })
}

export function below(at: string, key: string): string {
  return at === '' ? key : `${at}.${key}`
}

export function isFields(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** What the API server leaves out. */
function isNothing(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0
  if (isFields(value)) return Object.values(value).every(isNothing)
  return value === null || value === undefined || value === '' || value === 0 || value === false
}

/** "1000m" is kept as "1". */
const AMOUNTS = /(^|\.)(requests|limits|hard|storage|sizeLimit|averageValue|divisor)(\.|$)/

function sameScalar(live: unknown, wanted: unknown, at: string): boolean {
  if (String(live) === String(wanted)) return true
  // An address that is left open is given by the cluster.
  if (wanted === '' && /(clusterIP|loadBalancerIP)$/.test(at)) return true
  // A text that YAML could take for a truth value: Helm has put it there as a text.
  if (typeof wanted === 'boolean' && typeof live === 'string') return true
  return AMOUNTS.test(at) && quantity(String(live)) === quantity(String(wanted))
}
