import { type Json, sameJson } from './json.ts'

/** Where two values differ, as paths: "level.applied", "schema.tables.orders". Empty: they are the same. */
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

export function isTree(value: Json): value is { [key: string]: Json } {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
