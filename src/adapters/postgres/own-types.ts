import type { SchemaShape } from '../../data/schema.ts'
import { MORE, OTHERWISE, plain, WORD, WORDS } from './convert.ts'
import { joined, split } from './names.ts'

/** A type, and the schema that says what it is. */
export interface Typed {
  readonly type: string
  readonly schema: SchemaShape
}

export function isArray(type: string): boolean {
  return plain(type).endsWith('[]')
}

/** What a schema says of a type of its own; empty: it is none. */
export function definition({ type, schema }: Typed): string {
  const { schema: in_, name } = split(plain(type))
  return schema.others[`type ${joined(in_, name)}`] ?? ''
}

export function wordsOf(typed: Typed): string[] | null {
  const text = definition(typed)
  return text.startsWith('enum ') ? (JSON.parse(text.slice('enum '.length)) as string[]) : null
}

export function partsOf(typed: Typed): Map<string, string> {
  const text = definition(typed)
  const parts = text.startsWith('composite ') ? (JSON.parse(text.slice('composite '.length)) as string[]) : []
  return new Map(parts.map(part => [part.slice(0, part.indexOf(' ')), part.slice(part.indexOf(' ') + 1)]))
}

export const DOMAIN = /^domain over (.+?)(?= not null| default | COLLATE | CHECK |$)/

/** What a domain is over, and all else as it is. */
export function below(typed: Typed): Typed {
  const over = isArray(typed.type) ? undefined : DOMAIN.exec(definition(typed))?.[1]
  return over === undefined ? typed : below({ ...typed, type: over })
}

export function elementOf({ type, schema }: Typed): Typed {
  return { type: plain(type).replace(/(\[\])+$/, ''), schema }
}

/**
 * How a value is staged of a type that is called the same on both sides and is another one in `theirs`: as a text, by a name that
 * `convert` knows; null: as it is.
 */
export function redefined(type: string, theirs: SchemaShape, ours: SchemaShape): string | null {
  const [now, then] = [below({ type, schema: theirs }), below({ type, schema: ours })]
  if (sameInside(now, then)) return null
  const words = isArray(then.type) ? null : wordsOf(then)
  if (words !== null && wordsOf(now) !== null) return `${WORD}${JSON.stringify([plain(then.type), words])}`
  if (now.type !== then.type) return definition(now) === '' && definition(then) === '' ? null : OTHERWISE
  if (isArray(then.type)) {
    const [element, was] = [below(elementOf(now)), below(elementOf(then))]
    return wordsOf(element) === null || element.type !== was.type ? OTHERWISE : `${WORDS}${plain(was.type)}`
  }
  const [is, had] = [[...partsOf(now)], [...partsOf(then)]]
  const kept = had.every(([name, part], i) => is[i]?.[0] === name && is[i]?.[1] === part && same(part))
  return kept && had.length > 0 && is.length > had.length ? `${MORE}${is.length - had.length}` : OTHERWISE

  function same(part: string): boolean {
    return sameInside(below({ type: part, schema: theirs }), below({ type: part, schema: ours }))
  }
}

/** Down to the last part. */
function sameInside(now: Typed, then: Typed): boolean {
  if (now.type !== then.type) return false
  if (isArray(then.type)) return sameInside(below(elementOf(now)), below(elementOf(then)))
  const parts = [...partsOf(then).values()]
  const same = (type: string) => sameInside(below({ ...now, type }), below({ ...then, type }))
  return definition(now) === definition(then) && parts.every(same)
}
