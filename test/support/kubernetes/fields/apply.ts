import { isAtomicMap, listKeys, mergesAsSet, type Place } from '../patches/merge-schema.ts'
import { applyConflict, type Cause } from '../status.ts'
import { type Fields, isFields, type ManagedFields, type Obj } from '../types.ts'
import { bare, entryOf, isOf, lessened, type Manager } from './managed.ts'
import { decode, difference, elements, isUnder, itemElement, matches, type Paths, pathsOf, pathText } from './sets.ts'

interface Options {
  readonly by: Manager
  readonly force: boolean
  readonly custom: boolean
  readonly now: string
}

/**
 * Server-side apply (structured-merge-diff, merge/update.go): what the manager says now is merged in, what it said before and
 * says no more is taken out where nobody else owns it, and a field that another owns with another value is a conflict.
 */
export function applied(live: Obj, config: Obj, o: Options): Obj {
  const wanted = bare(config)
  const owned = pathsOf(wanted, o.custom)
  const merged = merge(bare(live), wanted, { path: [], custom: o.custom }) as Fields
  const entries = live.metadata.managedFields ?? []
  const change = difference(bare(live), merged, o.custom)
  const others = entries.filter(entry => !isOf(entry, o.by, 'Apply'))
  if (!o.force) refuse(others, change.set)
  const left = others.flatMap(entry => lessened(entry, { set: change.set, removed: new Set() }))
  const previous = entries.find(entry => isOf(entry, o.by, 'Apply'))
  const pruned = prune(merged, given(previous, owned, left), o.custom)
  const after = { ...pruned, apiVersion: live.apiVersion, kind: live.kind } as Obj
  return {
    ...after,
    metadata: {
      ...after.metadata,
      ...kept(live, config),
      managedFields: [...left, entryOf(o.by, 'Apply', config.apiVersion, owned, o.now)],
    },
  }
}

/** What `bare` took off and the write still needs. */
function kept(live: Obj, config: Obj): Fields {
  const resourceVersion = config.metadata.resourceVersion ?? live.metadata.resourceVersion
  return {
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(live.metadata.generation === undefined ? {} : { generation: live.metadata.generation }),
  }
}

function merge(live: unknown, config: unknown, place: Place): unknown {
  if (isFields(config) && !isAtomicMap(place)) {
    const merged: Fields = isFields(live) ? { ...live } : {}
    for (const [name, value] of Object.entries(config)) {
      merged[name] = merge(merged[name], value, { ...place, path: [...place.path, name] })
    }
    return merged
  }
  if (!Array.isArray(config) || !Array.isArray(live)) return config
  if (mergesAsSet(place)) return [...live, ...config.filter(item => !live.includes(item))]
  return listKeys(place) === null ? config : mergeItems(live as Fields[], config as Fields[], place)
}

/** Items that the config names stand in its order, those of the live object alone where they stood among them. */
function mergeItems(live: readonly Fields[], config: readonly Fields[], place: Place): Fields[] {
  const keysOf = (item: Fields): Fields => JSON.parse(itemElement(item, place).slice(2)) as Fields
  const alone = live.filter(item => !config.some(other => matches(other, keysOf(item))))
  const merged = config.map(item => {
    const old = live.find(other => matches(other, keysOf(item)))
    return merge(old, item, place) as Fields
  })
  return [...alone, ...merged].sort((a, b) => rank(live, a, keysOf) - rank(live, b, keysOf))
}

function rank(live: readonly Fields[], item: Fields, keysOf: (item: Fields) => Fields): number {
  const at = live.findIndex(other => matches(other, keysOf(item)))
  return at < 0 ? live.length : at
}

/** What the manager applied before and leaves out now, without what anybody else owns. */
function given(previous: ManagedFields | undefined, owned: Paths, others: readonly ManagedFields[]): Paths {
  if (previous === undefined) return new Set()
  const held = new Set(others.flatMap(entry => [...decode(entry.fieldsV1)]))
  const kept = (path: string): boolean =>
    owned.has(path) || held.has(path) || [...owned, ...held].some(other => isUnder(other, path))
  return new Set([...decode(previous.fieldsV1)].filter(path => !kept(path)))
}

function prune(object: Fields, paths: Paths, custom: boolean): Fields {
  const deepestLast = [...paths].sort((a, b) => elements(a).length - elements(b).length)
  let pruned: Fields = structuredClone(object)
  for (const path of deepestLast) pruned = cut(pruned, elements(path), { path: [], custom }) as Fields
  return pruned
}

function cut(value: unknown, path: readonly string[], place: Place): unknown {
  const [element, ...rest] = path
  if (element === undefined) return value
  if (element.startsWith('f:') && isFields(value)) {
    const name = element.slice(2)
    if (!(name in value)) return value
    const { [name]: member, ...others } = value
    return rest.length === 0
      ? others
      : { ...value, [name]: cut(member, rest, { ...place, path: [...place.path, name] }) }
  }
  if (!Array.isArray(value)) return value
  const wanted = JSON.parse(element.slice(2)) as unknown
  if (element.startsWith('v:')) return value.filter(item => item !== wanted)
  return (value as Fields[]).flatMap(item => {
    if (!matches(item, wanted as Fields)) return [item]
    return rest.length === 0 ? [] : [cut(item, rest, place) as Fields]
  })
}

function refuse(others: readonly ManagedFields[], set: Paths): void {
  const conflicts = others.flatMap(entry => {
    const owned = decode(entry.fieldsV1)
    return [...set].filter(path => owned.has(path)).map(path => ({ who: who(entry), path: pathText(path) }))
  })
  if (conflicts.length === 0) return
  const causes: Cause[] = conflicts.map(({ who, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${who}`,
    field: path,
  }))
  throw applyConflict(conflictText(conflicts), causes)
}

/** The wording of apimachinery's managedfields/internal/conflict.go. */
function who(entry: ManagedFields): string {
  const sub = entry.subresource === undefined ? '' : ` with subresource ${JSON.stringify(entry.subresource)}`
  const name = `${JSON.stringify(entry.manager)}${sub}`
  if (entry.operation === 'Apply') return name
  return `${name} using ${entry.apiVersion}${entry.time === undefined ? '' : ` at ${entry.time}`}`
}

function conflictText(conflicts: readonly { who: string; path: string }[]): string {
  const [first] = conflicts
  if (conflicts.length === 1) return `Apply failed with 1 conflict: conflict with ${first?.who}: ${first?.path}`
  const names = [...new Set(conflicts.map(conflict => conflict.who))].sort()
  const parts = names.map(name => {
    const paths = conflicts.filter(conflict => conflict.who === name).map(conflict => conflict.path)
    return `conflicts with ${name}:\n${paths.map(path => `- ${path}`).join('\n')}`
  })
  return `Apply failed with ${conflicts.length} conflicts: ${parts.join('\n')}`
}
