import type { Json } from '../core/json.ts'

/** What a JSON pointer (RFC 6901: "/weights/live", "" for the whole) leads to; undefined where it leads nowhere. */
export function at(doc: Json, pointer: string): Json | undefined {
  if (pointer === '') return doc
  let here: Json | undefined = doc
  for (const raw of pointer.split('/').slice(1)) {
    const key = raw.replaceAll('~1', '/').replaceAll('~0', '~')
    if (here === null || typeof here !== 'object' || !Object.hasOwn(here, key)) return undefined
    here = (here as Record<string, Json>)[key]
  }
  return here
}

export const POINTER = /^(\/([^~/]|~[01])*)*$/

/** The document in a text, or undefined where it holds none. */
export function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}
