import type { ColumnShape, SchemaShape } from '../../data/schema.ts'
import { ALWAYS, convert } from './convert.ts'
import { literal, quote } from './names.ts'
import { below, DOMAIN, definition, elementOf, isArray, partsOf, type Typed, wordsOf } from './own-types.ts'

/** True for values that would not be the same after their column became the type of `then`; null: all of them are. */
export function misfit(
  value: string,
  now: ColumnShape,
  then: ColumnShape,
  live: SchemaShape,
  base: SchemaShape,
): string | null {
  return misfits(value, { type: now.type, schema: live }, { type: then.type, schema: base })
}

/** The same where the type is called as it was, and has more words or parts now, or allows more. */
export function misfitWords(value: string, type: string, then: SchemaShape, now: SchemaShape): string | null {
  return misfits(value, { type, schema: now }, { type, schema: then })
}

function misfits(value: string, now: Typed, then: Typed): string | null {
  const [from, to] = [below(now), below(then)]
  const types = from.type === to.type ? withinType(value, from, to) : betweenTypes(value, from, to)
  return either([types, ...refusedAgain(value, now, then)])
}

function either(conditions: readonly (string | null)[]): string | null {
  const some = conditions.filter(c => c !== null)
  return some.length < 2 ? (some[0] ?? null) : `(${some.join(' OR ')})`
}

function betweenTypes(value: string, from: Typed, to: Typed): string | null {
  if (isInstant(from.type) && isClock(to.type)) {
    return notConverted(value, from.type, to.type.replace('without', 'with'))
  }
  // The words of then, not those that a type of this name has now.
  const words = isArray(to.type) ? null : wordsOf(to)
  return words === null || convert(value, from.type, to.type) === null
    ? notConverted(value, from.type, to.type)
    : notAmong(value, words)
}

function notConverted(value: string, from: string, to: string): string | null {
  const conversion = convert(value, from, to)
  // Nobody can tell: every value is at risk. A row of which a part is missing is a value too.
  if (conversion === null) return `${value} IS DISTINCT FROM NULL`
  return conversion.fits === ALWAYS ? null : `NOT (${conversion.fits})`
}

/** The instant stays what it was in the zone of whoever converts it; only its precision may not. */
function isInstant(type: string): boolean {
  return /^timestamp(\(\d\))? with time zone$/.test(type)
}

function isClock(type: string): boolean {
  return /^timestamp(\(\d\))? without time zone$/.test(type)
}

/** Called the same, and another one inside. */
function withinType(value: string, now: Typed, then: Typed): string | null {
  if (isArray(then.type)) return withinArray(value, now, then)
  const [is, was] = [wordsOf(now), wordsOf(then)]
  if (was !== null && is !== null) return is.every(word => was.includes(word)) ? null : notAmong(value, was)
  return withinParts(value, now, then)
}

function withinArray(value: string, now: Typed, then: Typed): string | null {
  const one = misfits('backout_one.v', elementOf(now), elementOf(then))
  return one === null ? null : `EXISTS (SELECT FROM unnest(${value}) AS backout_one(v) WHERE ${one})`
}

/** Parts of a composite type: those that came since go, and so do those that were of another type. */
function withinParts(value: string, now: Typed, then: Typed): string | null {
  const [is, was] = [partsOf(now), partsOf(then)]
  const parts = [...is].map(([name, type]) => {
    const part = `(${value}).${quote(name)}`
    const old = was.get(name)
    if (old === undefined) return `${part} IS DISTINCT FROM NULL`
    return misfits(part, { type, schema: now.schema }, { type: old, schema: then.schema })
  })
  return either(parts)
}

function notAmong(value: string, words: readonly string[]): string {
  return `${value}::text NOT IN (${words.map(literal).join(', ') || "''"})`
}

/** True for what the checks of a domain refused then and do not now. */
function refusedAgain(value: string, now: Typed, then: Typed): string[] {
  const is = checksOf(now)
  const back = checksOf(then).filter(check => !is.includes(check))
  return back.map(check => `NOT ${check.replaceAll(/\bVALUE\b/g, () => value)}`)
}

/** Those of a domain and of every domain that it is over. */
function checksOf(typed: Typed): string[] {
  const over = isArray(typed.type) ? undefined : DOMAIN.exec(definition(typed))?.[1]
  if (over === undefined) return []
  const [, ...own] = definition(typed).split(/ (?=CHECK \()/)
  return [
    ...own.map(check => check.slice('CHECK '.length).replace(/ NOT VALID$/, '')),
    ...checksOf({ ...typed, type: over }),
  ]
}
