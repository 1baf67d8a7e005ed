import { type Api } from './api.ts'
import { parseQuantity } from './kubelet/quantity.ts'
import { forbidden } from './status.ts'
import { type Fields, type Pod } from './types.ts'

type Quantities = Record<string, string>

interface Limit {
  readonly type: 'Container' | 'Pod'
  readonly min?: Quantities
  readonly max?: Quantities
  readonly maxLimitRequestRatio?: Quantities
}

interface Asked {
  readonly requests?: Quantities
  readonly limits?: Quantities
}

/** plugin/pkg/admission/limitranger: what pods may ask for. It gives them no defaults here. */
export function enforceLimits(api: Api): void {
  api.admit.push((verb, resource, object) => {
    if (verb !== 'create' || object.kind !== 'Pod') return
    const ranges = api.store.list(api.resources.key('/limitranges'), object.metadata.namespace)
    for (const { spec } of ranges)
      for (const limit of ((spec as Fields)['limits'] ?? []) as Limit[])
        for (const asked of askedBy(object as Pod, limit.type)) {
          const why = broken(limit, asked)
          if (why !== undefined) throw forbidden(resource, object.metadata.name, why)
        }
  })
}

function askedBy({ spec }: Pod, type: Limit['type']): Asked[] {
  const all = spec.containers.map(one => (one.resources ?? {}) as Asked)
  return type === 'Container' ? all : [{ requests: sum(all, 'requests'), limits: sum(all, 'limits') }]
}

/** Of one container nothing has to be added up. */
function sum(all: readonly Asked[], field: 'requests' | 'limits'): Quantities {
  if (all.length === 1) return all[0]?.[field] ?? {}
  const names = new Set(all.flatMap(one => Object.keys(one[field] ?? {})))
  const total = (name: string) => all.reduce((so, one) => so + parseQuantity(one[field]?.[name] ?? '0'), 0)
  return Object.fromEntries([...names].map(name => [name, String(total(name))]))
}

function broken({ type, min = {}, max = {}, maxLimitRequestRatio = {} }: Limit, asked: Asked): string | undefined {
  const { requests = {}, limits = {} } = asked
  const least = Object.entries(min).flatMap(([what, bound]) => {
    const is = requests[what]
    if (is !== undefined && parseQuantity(is) >= parseQuantity(bound)) return []
    return [
      `minimum ${what} usage per ${type} is ${bound}${is === undefined ? '.  No request is specified' : `, but request is ${is}`}`,
    ]
  })
  const most = Object.entries(max).flatMap(([what, bound]) => {
    const is = limits[what]
    if (is !== undefined && parseQuantity(is) <= parseQuantity(bound)) return []
    return [
      `maximum ${what} usage per ${type} is ${bound}${is === undefined ? '.  No limit is specified' : `, but limit is ${is}`}`,
    ]
  })
  const ratios = Object.entries(maxLimitRequestRatio).flatMap(([what, bound]) => {
    const ratio = parseQuantity(limits[what] ?? '0') / parseQuantity(requests[what] ?? '0')
    if (ratio <= parseQuantity(bound)) return []
    return [`${what} max limit to request ratio per ${type} is ${bound}, but provided ratio is ${ratio.toFixed(6)}`]
  })
  return [...least, ...most, ...ratios][0]
}
