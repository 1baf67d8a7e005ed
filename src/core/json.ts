import { createHash } from 'node:crypto'

/** What can be written to the journal and read back unchanged. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** One text for one content: keys sorted, no white space. */
export function canonical(value: unknown): string {
  return written(value) ?? 'null'
}

/** The same for what is known to be JSON already. Keys that are whole numbers come first, as JavaScript orders them. */
export function canonicalJson(value: Json): string {
  return canonical(value)
}

/** As JSON.stringify writes it, which is spared a trip there and back; undefined for what JSON leaves out. */
function written(value: unknown): string | undefined {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    return written((value as { toJSON(): unknown }).toJSON())
  }
  let text = ''
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) text += `${i === 0 ? '' : ','}${written(value[i]) ?? 'null'}`
    return `[${text}]`
  }
  const object = value as Record<string, unknown>
  for (const key of orderedKeys(object)) {
    const inner = written(object[key])
    if (inner !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${inner}`
  }
  return `{${text}}`
}

function orderedKeys(value: Record<string, unknown>): string[] {
  const keys = Object.keys(value)
  if (keys.length > 1) keys.sort()
  if (!keys.some(startsWithDigit)) return keys
  return Object.keys(Object.fromEntries(keys.map(key => [key, null])))
}

function startsWithDigit(key: string): boolean {
  const first = key.charCodeAt(0)
  return first >= 48 && first <= 57
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
