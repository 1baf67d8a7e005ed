import { isAtomicMap, keyDefault, listKeys, mergesAsSet, type Place } from '../patches/merge-schema.ts'
import { type Fields, isFields, same } from '../types.ts'

/**
 * Sets of field paths as structured-merge-diff keeps them in managedFields. A path is its elements (`f:spec`,
 * `k:{"name":"web"}`, `v:"x"`) joined by a character that no name holds.
 */
export type Paths = Set<string>

const JOIN = '\u0000'
/** Never owned by anybody (apimachinery, managedfields: stripmeta.go), and the fields that say what an object is. */
const STRIPPED = new Set(
  [
    ['f:apiVersion'],
    ['f:kind'],
    ['f:metadata'],
    ...[
      'name',
      'namespace',
      'creationTimestamp',
      'selfLink',
      'uid',
      'clusterName',
      'generation',
      'managedFields',
      'resourceVersion',
    ].map(name => ['f:metadata', `f:${name}`]),
  ].map(path => path.join(JOIN)),
)

export const elements = (path: string): string[] => path.split(JOIN)

export function child(path: string, element: string): string {
  return path === '' ? element : `${path}${JOIN}${element}`
}

export function isUnder(path: string, ancestor: string): boolean {
  return path.startsWith(ancestor + JOIN)
}

/** All leaves of an object, and its list items. */
export function pathsOf(object: Fields, custom: boolean): Paths {
  const paths: Paths = new Set()
  collect(object, '', { path: [], custom }, paths)
  for (const stripped of STRIPPED) paths.delete(stripped)
  return paths
}

function collect(value: unknown, here: string, place: Place, into: Paths): void {
  if (isFields(value) && !isAtomicMap(place)) {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined)
    if (entries.length === 0 && here !== '') into.add(here)
    for (const [name, member] of entries) {
      collect(member, child(here, `f:${name}`), { ...place, path: [...place.path, name] }, into)
    }
  } else if (Array.isArray(value) && listKeys(place) !== null) {
    if (value.length === 0) into.add(here)
    for (const item of value as Fields[]) {
      const at = child(here, itemElement(item, place))
      into.add(at)
      collect(item, at, place, into)
    }
  } else if (Array.isArray(value) && mergesAsSet(place)) {
    for (const item of value) into.add(child(here, `v:${JSON.stringify(item)}`))
  } else {
    into.add(here)
  }
}

export function itemElement(item: Fields, place: Place): string {
  const keys = [...(listKeys(place) ?? [])].sort()
  return `k:${JSON.stringify(Object.fromEntries(keys.map(key => [key, item[key] ?? keyDefault(key)])))}`
}

/** What one write did to an object, leaf by leaf. */
export interface Difference {
  /** Added or with another value. */
  readonly set: Paths
  readonly removed: Paths
}

export function difference(before: Fields, after: Fields, custom: boolean): Difference {
  const old = leaves(before, custom)
  const fresh = leaves(after, custom)
  const set = new Set(
    [...fresh].filter(([path, value]) => !old.has(path) || !same(old.get(path), value)).map(([path]) => path),
  )
  const removed = new Set([...old.keys()].filter(path => !fresh.has(path)))
  return { set, removed }
}

function leaves(object: Fields, custom: boolean): Map<string, unknown> {
  const paths = pathsOf(object, custom)
  return new Map([...paths].map(path => [path, isItem(path) ? 'item' : valueAt(object, path)]))
}

function isItem(path: string): boolean {
  return elements(path).at(-1)?.startsWith('k:') ?? false
}

export function valueAt(object: unknown, path: string): unknown {
  let here = object
  const names: string[] = []
  for (const element of elements(path)) {
    if (element.startsWith('f:')) {
      names.push(element.slice(2))
      here = isFields(here) ? here[element.slice(2)] : undefined
    } else if (Array.isArray(here)) {
      here = find(here, element)
    } else {
      return undefined
    }
  }
  return here
}

export function find(list: readonly unknown[], element: string): unknown {
  const wanted = JSON.parse(element.slice(2)) as unknown
  if (element.startsWith('v:')) return list.find(item => same(item, wanted))
  return list.find(item => isFields(item) && matches(item, wanted as Fields))
}

export function matches(item: Fields, keys: Fields): boolean {
  return Object.entries(keys).every(([key, value]) => same(item[key] ?? keyDefault(key), value))
}

/** As it stands in `fieldsV1`. */
export function encode(paths: Paths): Fields {
  const tree: Fields = {}
  for (const path of paths) {
    let here = tree
    for (const element of elements(path)) here = (here[element] ??= {}) as Fields
  }
  for (const path of paths) mark(tree, path)
  return tree
}

/** A member that has members of its own says by `.` that it is in the set itself. */
function mark(tree: Fields, path: string): void {
  let here = tree
  for (const element of elements(path)) here = here[element] as Fields
  if (Object.keys(here).length > 0) here['.'] = {}
}

export function decode(tree: Fields, here = '', into: Paths = new Set()): Paths {
  const members = Object.entries(tree)
  if (members.length === 0 && here !== '') into.add(here)
  for (const [element, below] of members) {
    if (element === '.') into.add(here)
    else decode(below as Fields, child(here, element), into)
  }
  return into
}

/** For people: `.spec.template.spec.containers[name="web"].image`. */
export function pathText(path: string): string {
  return elements(path)
    .map(element => {
      if (element.startsWith('f:')) return `.${element.slice(2)}`
      if (element.startsWith('v:')) return `[=${element.slice(2)}]`
      const keys = Object.entries(JSON.parse(element.slice(2)) as Fields)
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`
    })
    .join('')
}
