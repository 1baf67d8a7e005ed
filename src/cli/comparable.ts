import { isTree } from '../core/differences.ts'
import type { Json } from '../core/json.ts'

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
