import { canonical } from '../../core/json.ts'

/** A value as a driver gives it, as text; null: NULL. Times are ISO text in UTC. */
export function shownValue(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return `${value}`
  return value instanceof Date ? value.toISOString() : canonical(value)
}
