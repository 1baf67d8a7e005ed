import { badRequest } from '../status.ts'
import { type Fields, isFields, same, textOf } from '../types.ts'
import { mergeKey, mergesAsSet } from './merge-schema.ts'

const DIRECTIVE = '$patch'
const RETAIN = '$retainKeys'
const ORDER = '$setElementOrder/'
const DELETE = '$deleteFromPrimitiveList/'

/** Strategic merge patch for built-in types (apimachinery, util/strategicpatch). */
export function strategicMerge(document: Fields, patch: Fields): Fields {
  return mergeMap(document, patch, [])
}

function mergeMap(document: Fields, patch: Fields, path: readonly string[]): Fields {
  const directive = patch[DIRECTIVE]
  if (directive === 'replace') return without(patch, DIRECTIVE)
  if (directive === 'delete') return {}
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`Unknown patch type found: ${textOf(directive)}`)
  const merged: Fields = { ...document }
  retain(merged, patch[RETAIN])
  for (const [key, value] of Object.entries(patch)) {
    if (key === DIRECTIVE || key === RETAIN || key.startsWith(ORDER)) continue
    if (key.startsWith(DELETE)) {
      deletePrimitives(merged, key.slice(DELETE.length), value)
    } else {
      mergeField(merged, key, value, [...path, key])
    }
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(ORDER)) order(merged, key.slice(ORDER.length), value, path)
  }
  return merged
}

function mergeField(merged: Fields, key: string, value: unknown, path: readonly string[]): void {
  const old = merged[key]
  if (value === null) delete merged[key]
  else if (isFields(value)) merged[key] = mergeMap(isFields(old) ? old : {}, value, path)
  else if (Array.isArray(value)) merged[key] = mergeList(Array.isArray(old) ? old : [], value, path)
  else merged[key] = value
}

function mergeList(old: readonly unknown[], patch: readonly unknown[], path: readonly string[]): unknown[] {
  const place = { path, custom: false }
  if (mergesAsSet(place)) return [...old, ...patch.filter(item => !old.includes(item))]
  const key = mergeKey(place)
  const replaces = patch.some(item => isFields(item) && item[DIRECTIVE] === 'replace')
  if (key === null || replaces) return patch.flatMap(item => cleaned(item))
  const merged: unknown[] = [...old]
  for (const item of patch) {
    if (!isFields(item)) throw badRequest('map: expected a map in a list with a merge key')
    const id = item[key]
    if (id === undefined) throw badRequest(`map: map[] does not contain declared merge key: ${key}`)
    const at = merged.findIndex(candidate => isFields(candidate) && same(candidate[key], id))
    if (item[DIRECTIVE] === 'delete') {
      if (at >= 0) merged.splice(at, 1)
    } else if (at >= 0) {
      merged[at] = mergeMap(merged[at] as Fields, item, path)
    } else {
      merged.push(mergeMap({}, item, path))
    }
  }
  return merged
}

function cleaned(item: unknown): unknown[] {
  if (!isFields(item) || item[DIRECTIVE] === undefined) return [item]
  const rest = without(item, DIRECTIVE)
  return Object.keys(rest).length === 0 ? [] : [rest]
}

function without(map: Fields, key: string): Fields {
  const { [key]: _, ...rest } = map
  return rest
}

/** `$retainKeys`: whatever the list does not name goes, for unions such as a deployment's strategy. */
function retain(merged: Fields, keys: unknown): void {
  if (!Array.isArray(keys)) return
  for (const key of Object.keys(merged)) if (!keys.includes(key)) delete merged[key]
}

function deletePrimitives(merged: Fields, key: string, values: unknown): void {
  const list = merged[key]
  if (Array.isArray(list) && Array.isArray(values)) merged[key] = list.filter(item => !values.includes(item))
}

/** `$setElementOrder`: named items in that order, those of the server alone after the item that they stood behind. */
function order(merged: Fields, key: string, wanted: unknown, path: readonly string[]): void {
  const list = merged[key]
  if (!Array.isArray(list) || !Array.isArray(wanted)) return
  const by = mergeKey({ path: [...path, key], custom: false })
  const idOf = (item: unknown): string => JSON.stringify(by !== null && isFields(item) ? item[by] : item)
  const rank = new Map(wanted.map((item, i) => [idOf(item), i]))
  let last = -1
  const ranked = list.map(item => {
    last = rank.get(idOf(item)) ?? last
    return { item, rank: last }
  })
  merged[key] = ranked.sort((a, b) => a.rank - b.rank).map(entry => entry.item)
}
