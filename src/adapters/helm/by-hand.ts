import type { PatchOp } from '../../kubernetes/api/client.ts'
import type { KubeObject } from '../../kubernetes/api/objects.ts'
import { below, type Difference, isFields } from './compare.ts'
import type { Item } from './manifest.ts'

/** A field that kubectl wrote and the manifest does not name: Helm leaves it, whatever it goes back to. */
interface ByHand extends Difference {
  readonly pointer: readonly (string | number)[]
  /** The manifest names it too, and says less. */
  readonly named: boolean
}

interface Entry {
  manager?: string
  subresource?: string
  fieldsV1?: Record<string, unknown>
}

/** A restart by hand changes nothing of what runs, and of a pause the pods tell. */
const NO_CHANGE = ['spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt', 'spec.paused']

/** What people changed by kubectl, as the API server knows it, and Helm has no word of. */
export function byHand(live: KubeObject, { fields }: Item): ByHand[] {
  const entries = (live.metadata['managedFields'] ?? []) as Entry[]
  const found = entries
    .filter(({ manager = '', subresource }) => manager.startsWith('kubectl') && (subresource ?? 'scale') === 'scale')
    .flatMap(({ fieldsV1 = {} }) => {
      const { 'f:metadata': _, 'f:status': __, ...owned } = fieldsV1
      return within(owned, live, fields, { at: '', pointer: [] })
    })
  const all = new Map(found.filter(({ at }) => !NO_CHANGE.includes(at)).map(one => [one.at, one]))
  return [...all.values()]
}

function within(
  owned: Record<string, unknown>,
  live: unknown,
  wanted: unknown,
  { at, pointer }: Pick<ByHand, 'at' | 'pointer'>,
): ByHand[] {
  return Object.entries(owned).flatMap(([key, child]): ByHand[] => {
    const place = placeOf(key, live, wanted)
    if (place === null || place.live === undefined) return []
    const here = { at: place.name(at), pointer: [...pointer, place.step] }
    const deeper = isFields(child) ? child : {}
    const whole = Object.keys(deeper).length === 0 || '.' in deeper
    const missing = place.wanted === undefined || place.wanted === null
    if (missing && whole) return [{ ...here, value: place.live, named: false }]
    if (Object.keys(deeper).length > 0) return within(deeper, place.live, place.wanted, here)
    const longer = Array.isArray(place.live) && Array.isArray(place.wanted) && place.live.length !== place.wanted.length
    return longer ? [{ ...here, value: place.live, named: true }] : []
  })
}

interface Place {
  readonly step: string | number
  readonly live: unknown
  readonly wanted: unknown
  readonly name: (at: string) => string
}

/** What a key of `managedFields` names: a field, an item of a list by its keys, or an item by its value. */
function placeOf(key: string, live: unknown, wanted: unknown): Place | null {
  const [how, what] = [key.slice(0, 2), key.slice(2)]
  if (how === 'f:') {
    const name = (at: string) => below(at, what)
    const of = (fields: unknown) => (isFields(fields) ? fields[what] : undefined)
    return { step: what, live: of(live), wanted: of(wanted), name }
  }
  if ((how !== 'k:' && how !== 'v:') || !Array.isArray(live)) return null
  const value = JSON.parse(what) as unknown
  const keys = isFields(value) ? Object.entries(value) : []
  const is = (item: unknown) =>
    how === 'v:'
      ? item === value
      : keys.every(([name, is]) => isFields(item) && (item[name] === is || (name === 'protocol' && !(name in item))))
  const step = live.findIndex(is)
  const name = (at: string) => `${at}[${keys.length > 0 ? keys.map(([, is]) => String(is)).join('/') : String(value)}]`
  return { step, live: live[step], wanted: Array.isArray(wanted) ? wanted.find(is) : undefined, name }
}

/** Takes them away: what comes later in a list first, for the others move up. */
export function removals(found: readonly ByHand[]): PatchOp[] {
  const own = found.filter(({ named }) => !named)
  const outer = own.filter(one => !own.some(other => other !== one && isWithin(one.pointer, other.pointer)))
  return outer
    .toSorted((a, b) => order(b.pointer, a.pointer))
    .map(({ pointer }) => ({ op: 'remove', path: `/${pointer.map(escaped).join('/')}` }))
}

function isWithin(inner: ByHand['pointer'], outer: ByHand['pointer']): boolean {
  return outer.length < inner.length && outer.every((step, i) => inner[i] === step)
}

function order(a: ByHand['pointer'], b: ByHand['pointer']): number {
  const i = a.findIndex((step, at) => step !== b[at])
  const [x, y] = [a[i], b[i]]
  if (typeof x === 'number' && typeof y === 'number') return x - y
  return String(x) < String(y) ? -1 : 1
}

function escaped(step: string | number): string {
  return String(step).replaceAll('~', '~0').replaceAll('/', '~1')
}
