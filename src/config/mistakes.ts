import type { z } from 'zod'
import { BackoutError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { nearestOf } from './nearest.ts'
import { keysAt } from './shape.ts'
import { placeOf, type Source, stands } from './source.ts'

/** One thing that is wrong in the file. */
export interface Mistake {
  readonly path: readonly PropertyKey[]
  /** Where it is, when known better than by the path. */
  readonly offset?: number
  /** It is the key that is wrong, not its value. */
  readonly key?: boolean
  readonly what: string
  readonly remedy: string
  readonly nearest?: { readonly wrong: string; readonly among: readonly string[] }
}

type Issue = z.core.$ZodIssue

/** The part of the file that was checked: its schema, what stands there, and where. */
interface Part {
  readonly schema: z.ZodType
  readonly value: unknown
  readonly prefix: readonly PropertyKey[]
}

/** Zod's issues in the words of this file. `value`: what was checked; `prefix`: where it stands. */
export function mistakesOf(
  schema: z.ZodType,
  issues: readonly Issue[],
  value: unknown,
  prefix: readonly PropertyKey[] = [],
): Mistake[] {
  return issues.flatMap(issue => mistakeOf({ schema, value, prefix }, issue, issue.path))
}

/** `inner`: the path within the part. */
function mistakeOf(part: Part, issue: Issue, inner: readonly PropertyKey[]): Mistake[] {
  const path = [...part.prefix, ...inner]
  const value = valueAt(part.value, inner)
  if (value instanceof Secret) return [{ path, what: SHOWN, remedy: 'write the value itself' }]
  if (issue.code === 'unrecognized_keys') return unknownKeys(issue.keys, path, keysAt(part.schema, inner))
  if (issue.code === 'invalid_union') {
    const best = bestOf(issue.errors)
    if (best !== null) return best.flatMap(i => mistakeOf(part, i, [...inner, ...i.path]))
    const kinds = kindsOf(issue.errors)
    if (value !== undefined && kinds.length > 0)
      return [{ path, what: `expected ${kinds.join(' or ')}`, remedy: REFERENCE }]
  }
  if (issue.code === 'invalid_value' && typeof value === 'string' && issue.values.length > 1) {
    const among = issue.values.map(String)
    const remedy = `use one of ${among.join(', ')}`
    return [{ path, what: `"${value}" cannot stand here`, remedy, nearest: { wrong: value, among } }]
  }
  return [{ path, key: issue.code === 'invalid_key', what: said(issue), remedy: REFERENCE }]
}

const SHOWN = 'a placeholder cannot be used here, for this setting is shown'
const REFERENCE = 'docs/config.md and examples/backout.reference.yaml show it'

function unknownKeys(keys: readonly string[], path: readonly PropertyKey[], among: readonly string[]): Mistake[] {
  return keys.map(key => ({
    path: [...path, key],
    key: true,
    what: `there is no setting "${key}" here`,
    remedy: among.length > 0 ? `settings here: ${among.join(', ')}` : 'take it out, or see the reference',
    nearest: { wrong: key, among },
  }))
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const part of path) {
    if (at === null || typeof at !== 'object' || at instanceof Secret) return undefined
    at = (at as Record<PropertyKey, unknown>)[part]
  }
  return at
}

/** Of a union's branches the one that came furthest: the deepest path says which was meant. */
function bestOf(branches: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const depth = (issues: readonly Issue[]) => Math.max(...issues.map(i => i.path.length))
  const deep = branches.filter(b => b.length > 0 && depth(b) > 0)
  return deep.length === 0 ? null : deep.reduce((a, b) => (depth(b) > depth(a) ? b : a))
}

/** What may stand there, of a union none of whose branches takes what does. */
function kindsOf(branches: readonly (readonly Issue[])[]): string[] {
  const kinds = branches.flat().map(i => (i.code === 'invalid_type' ? (PLAIN[i.expected] ?? null) : null))
  return kinds.includes(null) ? [] : [...new Set(kinds.filter(k => k !== null))]
}

/** What zod calls by the names of a programming language. */
const PLAIN: Readonly<Record<string, string>> = {
  record: 'a mapping',
  object: 'a mapping',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  null: 'nothing',
}

function said(issue: Issue): string {
  if (issue.code === 'invalid_key' && issue.issues[0] !== undefined) return issue.issues[0].message
  if (issue.code === 'too_small')
    return `expected ${issue.minimum} at least${issue.origin === 'array' ? ' in this list' : ''}`
  if (issue.code === 'too_big') return `expected ${issue.maximum} at most`
  return wordsOf(issue).replace(/\b(expected|received) (\w+)\b/g, (whole, verb: string, type: string) => {
    return PLAIN[type] === undefined ? whole : `${verb} ${PLAIN[type]}`
  })
}

function wordsOf(issue: Issue): string {
  if (issue.code === 'invalid_type' && 'input' in issue && issue.input === undefined) {
    return `missing: expected ${issue.expected}`
  }
  if (issue.code === 'invalid_type' && issue.message.includes('received undefined')) {
    return `missing: expected ${issue.expected}`
  }
  return issue.message.replace(/^Invalid (input|option): /, '')
}

/** More mistakes than this have one cause, which the first of them show. */
const MOST = 30

/** So many are put in their order; of a file with more, the first ones are. */
const MOST_PLACED = 1000

/** One error for all mistakes: file, line, column, the line itself, what was expected, the nearest right key. */
export function report(source: Source, mistakes: readonly Mistake[]): BackoutError {
  const placed = mistakes.slice(0, MOST_PLACED).map(mistake => ({ mistake, ...placeOf(source, mistake) }))
  const blocks = placed
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .slice(0, MOST)
    .map(({ mistake, line, column }) => block(source, mistake, line, column))
  const rest = mistakes.length - blocks.length
  const [first, ...more] = rest > 0 ? [...blocks, `and ${rest} more`] : blocks
  return new BackoutError({
    code: 'config_invalid',
    what: `${first ?? source.file}${more.map(text => `\n\n${text}`).join('')}`,
    next: 'mend the file, then: backout doctor',
    exit: 'usage',
  })
}

function block(source: Source, mistake: Mistake, line: number, column: number): string {
  const whole = printable(source.text.split(/\r?\n/)[line - 1] ?? '')
  const { text, at } = around(whole, column)
  const near = mistake.nearest === undefined ? null : nearestOf(mistake.nearest)
  const where = mistake.path.length > 0 ? `${mistake.path.map(String).join('.')}: ` : ''
  const odd = stands(source.document, mistake.path) ? 'it is none of what can stand here' : 'missing'
  const what = mistake.what === 'Invalid input' ? odd : mistake.what
  const remedy = near === null ? mistake.remedy : `did you mean "${near}"? (${mistake.remedy})`
  const gutter = `${line} | `
  // A tab stays one in front of the caret, so that both are as wide.
  const caret = `${' '.repeat(gutter.length)}${text.slice(0, at).replaceAll(/[^\t]/g, ' ')}^`
  return `${source.file}:${line}:${column}\n${gutter}${text}\n${caret} ${where}${what}\n  ${remedy}`
}

/** Characters that would do something to a terminal, but for the tab, stand as a mark of the same width. */
function printable(line: string): string {
  // oxlint-disable-next-line no-control-regex
  return line.replaceAll(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, '\uFFFD')
}

const WIDEST = 160

/** What is shown of a line that would fill the screen: the part around the column. `at`: the column in it, from 0. */
function around(line: string, column: number): { text: string; at: number } {
  if (line.length <= WIDEST) return { text: line.padEnd(column - 1), at: column - 1 }
  const from = Math.max(0, Math.min(column - 1 - WIDEST / 2, line.length - WIDEST))
  const [before, after] = [from > 0 ? '…' : '', from + WIDEST < line.length ? '…' : '']
  return { text: `${before}${line.slice(from, from + WIDEST)}${after}`, at: before.length + column - 1 - from }
}
