import { type Json, sameJson } from '../core/json.ts'

/** Where two pins differ, as paths: "level.applied", "schema.tables.orders". Empty: they lead to the same. */
export function differences(a: Json, b: Json, path = ''): string[] {
  if (!isTree(a) || !isTree(b)) return sameJson(a, b) ? [] : [path === '' ? 'all of it' : path]
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])]
  return keys.flatMap(key => {
    const at = path === '' ? key : `${path}.${key}`
    const [left, right] = [a[key], b[key]]
    if (left === undefined || right === undefined) return [at]
    return differences(left, right, at)
  })
}

/**
 * A pin without what differs although it leads to the same: when it was made, and the ids of backups.
 * @param backups Ids of the capture's own backups.
 */
export function comparable(pin: Json, backups: readonly string[]): Json {
  const bare = (value: Json): Json => {
    if (typeof value === 'string' && backups.includes(value)) return null
    if (Array.isArray(value)) return value.map(bare)
    if (!isTree(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, bare(inner)]))
  }
  const made = bare(pin)
  if (!isTree(made)) return made
  const { at: _at, ...rest } = made
  return rest
}

function isTree(value: Json): value is { [key: string]: Json } {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
