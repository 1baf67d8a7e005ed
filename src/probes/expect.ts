import { z } from 'zod'
import { canonical, type Json, sameJson } from '../core/json.ts'
import { at, POINTER } from '../exec/pointer.ts'

/** What a measured value is held against. */
const wanted = z.union([
  z.union([z.string(), z.number(), z.boolean(), z.null()]),
  z.strictObject({
    equals: z.json().optional().describe('equal to this, whatever it is'),
    min: z.number().optional().describe('a number, not below this'),
    max: z.number().optional().describe('a number, not above this'),
    matches: regex().optional().describe('a text that this regular expression finds something in'),
  }),
])
export type Wanted = z.infer<typeof wanted>

export function wantedValue(): typeof wanted {
  return wanted
}

/** JSON pointers and what each leads to. */
export function wantedJson(): z.ZodType<Record<string, Wanted>> {
  const pointer = z.string().regex(POINTER, 'expected a JSON pointer such as "/status" or "/queue/length"')
  return z.record(pointer, wanted)
}

/** A regular expression as text. */
export function regex(): z.ZodType<string> {
  return z.string().refine(compiles, 'not a regular expression')
}

function compiles(source: string): boolean {
  try {
    return new RegExp(source) instanceof RegExp
  } catch {
    return false
  }
}

/** null where the value is as wanted, otherwise what is wrong with it. */
export function mismatch(what: string, value: Json | undefined, want: Wanted): string | null {
  if (value === undefined) return `${what} is not there`
  if (want === null || typeof want !== 'object') return same(what, value, want)
  if (want.equals !== undefined && !sameJson(value, want.equals)) return same(what, value, want.equals)
  if (want.matches !== undefined && !(typeof value === 'string' && new RegExp(want.matches).test(value))) {
    return `${what} is ${shown(value)}, which /${want.matches}/ does not match`
  }
  const { min, max } = want
  if (min === undefined && max === undefined) return null
  if (typeof value !== 'number') return `${what} is ${shown(value)}, not a number`
  if (min !== undefined && value < min) return `${what} is ${value}, below ${min}`
  if (max !== undefined && value > max) return `${what} is ${value}, above ${max}`
  return null
}

function same(what: string, value: Json, want: Json): string | null {
  return sameJson(value, want) ? null : `${what} is ${shown(value)}, not ${shown(want)}`
}

/** The first thing in the document that is not as wanted, or null. */
export function mismatches(doc: Json, wants: Readonly<Record<string, Wanted>>): string | null {
  for (const [pointer, want] of Object.entries(wants)) {
    const wrong = mismatch(pointer === '' ? 'the document' : pointer, at(doc, pointer), want)
    if (wrong !== null) return wrong
  }
  return null
}

/** The one value that a probe looks at, for the report; null where it looks at several, or at a structure. */
export function single(doc: Json, wants: Readonly<Record<string, Wanted>>): number | string | null {
  const [pointer, ...more] = Object.keys(wants)
  if (pointer === undefined || more.length > 0) return null
  const value = at(doc, pointer)
  return typeof value === 'number' || typeof value === 'string' ? value : null
}

export function shown(value: Json): string {
  const text = canonical(value)
  return text.length > 80 ? `${text.slice(0, 79)}…` : text
}
