import { createHash } from 'node:crypto'

/** What can be written to the journal and read back unchanged. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** Rebuilds a value with every object's keys in order, leaving out undefined ones, so that equal content has equal text. */
function ordered(value: Json): Json {
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map(ordered)
  const entries = Object.entries(value).filter(([, v]) => v !== undefined)
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return Object.fromEntries(entries.map(([k, v]) => [k, ordered(v)]))
}

/** One text for one content: keys sorted, no white space. */
export function canonical(value: unknown): string {
  return canonicalJson(toJson(value))
}

/** The same for what is known to be JSON already. */
export function canonicalJson(value: Json): string {
  return JSON.stringify(ordered(value))
}

/** SHA-256 of the canonical text, as hex. */
export function hashOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex')
}

/** A value as it will be after a trip through the journal. Throws on what JSON cannot hold (cycles, bigint). */
export function toJson(value: unknown): Json {
  return value === undefined ? null : (JSON.parse(JSON.stringify(value)) as Json)
}

/** True where both hold the same content, whatever the order of keys. */
export function sameJson(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b)
}
