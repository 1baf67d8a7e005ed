import { inspect } from 'node:util'
import { BackoutError } from './errors.ts'
import type { Json } from './json.ts'
import { NEEDS, PHASES, TIERS } from './words.ts'

/** What every secret shows instead of its value, wherever it is printed, logged or made into JSON. */
export const HIDDEN = '[secret]'

/**
 * A string of the configuration that holds `${env:…}`, `${file:…}` or `${cmd:…}`. Its value leaves only through
 * `reveal()`, at the moment of use; converted to text or JSON it shows `[secret]`.
 */
export class Secret {
  /** As written in the file, placeholders and all: safe to show. */
  readonly source: string
  #value: string | undefined

  constructor(source: string, value?: string) {
    this.source = source
    this.#value = value
    if (value !== undefined) remember(value)
  }

  resolve(value: string): void {
    this.#value = value
    remember(value)
  }

  reveal(): string {
    if (this.#value === undefined) {
      throw new BackoutError({
        code: 'secret_unresolved',
        what: `The secret ${this.source} was not read yet`,
        exit: 'internal',
      })
    }
    return this.#value
  }

  toString(): string {
    return HIDDEN
  }
  toJSON(): string {
    return HIDDEN
  }
  [inspect.custom](): string {
    return HIDDEN
  }
}

/** A setting that may hold a secret. */
export type Text = string | Secret

export function reveal(text: Text): string {
  return typeof text === 'string' ? text : text.reveal()
}

const known = new Set<string>()
let pattern: RegExp | null = null

/** Makes `redact` hide this value from now on. Values under four characters are too common to hide. */
export function remember(value: string): void {
  for (const part of [value, ...value.split('\n')]) {
    if (part.trim().length >= 4) known.add(part.trim())
  }
  pattern = null
}

/** The text with every known secret value hidden: the last line of defence for what other programs print. */
export function redact(text: string): string {
  if (known.size === 0) return text
  pattern ??= new RegExp(
    [...known]
      .flatMap(v => [v, JSON.stringify(v).slice(1, -1), encodeURIComponent(v)])
      .sort((a, b) => b.length - a.length)
      .map(v => v.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('|'),
    'g',
  )
  return text.replace(pattern, (hit: string, at: number) => (isInName(text, at, hit) ? hit : HIDDEN))
}

/** What Backout itself says: a password that is such a word as well must not change what a run does. */
const OWN_WORDS = `done not-done running unknown loss pass fail inconclusive retry next-rung skip stop approve accept look ask
take step gate failure approval cancelled fenced go resumed full emergency succeeded failed aborted waiting paused policy`

/** Kept as they are where they stand alone as a text of a JSON value. */
const names = new Set<string>([...OWN_WORDS.split(/\s+/), ...PHASES, ...TIERS, ...NEEDS])
/** Those of them that are kept in the middle of a text too, for nothing else reads like them. */
const ids = new Set<string>()

/**
 * Names that Backout made of the configuration's: components, steps, runs. A secret that is part of one is hidden everywhere
 * else, but not there: a step that is called otherwise cannot be answered. `inText`: only for what is no common word.
 */
export function spare(known: Iterable<string>, inText = false): void {
  for (const name of known) {
    names.add(name)
    if (inText) ids.add(name)
  }
}

function isInName(text: string, at: number, hit: string): boolean {
  const word = (i: number) => /\w/.test(text[i] ?? '')
  for (const id of ids) {
    for (let i = id.indexOf(hit); i >= 0; i = id.indexOf(hit, i + 1)) {
      const begin = at - i
      if (begin < 0 || !text.startsWith(id, begin)) continue
      if (!word(begin - 1) && !word(begin + id.length)) return true
    }
  }
  return false
}

/**
 * A value as JSON, with every known secret hidden in its texts. Numbers, words of JSON, keys and names (`spare`) stay as they
 * are: a secret such as "8080" or "true" must not break what they stand in.
 */
export function redactJson(value: unknown): Json {
  const text = JSON.stringify(value ?? null)
  // Nearly always nothing is to be hidden, and a look at the whole text is ten times as fast as one at each value.
  if (redact(text) === text) return JSON.parse(text) as Json
  const hide = (_: string, inner: unknown) => (typeof inner === 'string' && !names.has(inner) ? redact(inner) : inner)
  return JSON.parse(JSON.stringify(value ?? null, hide)) as Json
}
