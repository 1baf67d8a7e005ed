import { distance } from 'fastest-levenshtein'
import type { z } from 'zod'
import { BackoutError } from '../core/errors.ts'
import { keysAt } from './shape.ts'
import { nodeAt, type Source, stands } from './source.ts'

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

/** Zod's issues in the words of this file. `prefix`: where the checked part stands. */
export function mistakesOf(
  schema: z.ZodType,
  issues: readonly Issue[],
  prefix: readonly PropertyKey[] = [],
): Mistake[] {
  return issues.flatMap(issue => mistakeOf(schema, issue, prefix, issue.path))
}

/** `inner`: the path within the schema; `prefix`: where the schema's part stands in the file. */
function mistakeOf(
  schema: z.ZodType,
  issue: Issue,
  prefix: readonly PropertyKey[],
  inner: readonly PropertyKey[],
): Mistake[] {
  const path = [...prefix, ...inner]
  if (issue.code === 'unrecognized_keys') {
    const among = keysAt(schema, inner)
    return issue.keys.map(key => ({
      path: [...path, key],
      key: true,
      what: `there is no setting "${key}" here`,
      remedy: among.length > 0 ? `settings here: ${among.join(', ')}` : 'take it out, or see the reference',
      nearest: { wrong: key, among },
    }))
  }
  if (issue.code === 'invalid_union') {
    const best = bestOf(issue.errors)
    if (best !== null) return best.flatMap(i => mistakeOf(schema, i, prefix, [...inner, ...i.path]))
  }
  return [{ path, key: issue.code === 'invalid_key', what: said(issue), remedy: 'see docs/config.md' }]
}

/** Of a union's branches the one that came furthest: the deepest path says which was meant. */
function bestOf(branches: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const depth = (issues: readonly Issue[]) => Math.max(...issues.map(i => i.path.length))
  const deep = branches.filter(b => b.length > 0 && depth(b) > 0)
  return deep.length === 0 ? null : deep.reduce((a, b) => (depth(b) > depth(a) ? b : a))
}

/** What zod calls by the names of a programming language. */
const PLAIN: Readonly<Record<string, string>> = { record: 'a mapping', object: 'a mapping', array: 'a list' }

function said(issue: Issue): string {
  if (issue.code === 'invalid_type' && issue.message.endsWith('received Secret')) {
    return 'a placeholder cannot be used here, for this setting is shown: write the value itself'
  }
  if (issue.code === 'invalid_key' && issue.issues[0] !== undefined) return issue.issues[0].message
  return wordsOf(issue).replace(/\b(expected|received) (record|object|array)\b/g, (_, verb: string, type: string) => {
    return `${verb} ${PLAIN[type] ?? type}`
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

/** One error for all mistakes: file, line, column, the line itself, what was expected, the nearest right key. */
export function report(source: Source, mistakes: readonly Mistake[]): BackoutError {
  const placed = mistakes.map(mistake => ({ mistake, ...placeOf(source, mistake) }))
  const blocks = placed
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .map(({ mistake, line, column }) => block(source, mistake, line, column))
  const [first, ...more] =
    blocks.length > MOST ? [...blocks.slice(0, MOST), `and ${blocks.length - MOST} more`] : blocks
  return new BackoutError({
    code: 'config_invalid',
    what: `${first ?? source.file}${more.map(text => `\n\n${text}`).join('')}`,
    next: 'mend the file, then: backout doctor',
    exit: 'usage',
  })
}

function block(source: Source, mistake: Mistake, line: number, column: number): string {
  const whole = source.text.split(/\r?\n/)[line - 1] ?? ''
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

const WIDEST = 160

/** What is shown of a line that would fill the screen: the part around the column. `at`: the column in it, from 0. */
function around(line: string, column: number): { text: string; at: number } {
  if (line.length <= WIDEST) return { text: line.padEnd(column - 1), at: column - 1 }
  const from = Math.max(0, Math.min(column - 1 - WIDEST / 2, line.length - WIDEST))
  const [before, after] = [from > 0 ? '…' : '', from + WIDEST < line.length ? '…' : '']
  return { text: `${before}${line.slice(from, from + WIDEST)}${after}`, at: before.length + column - 1 - from }
}

function placeOf(source: Source, mistake: Mistake): { line: number; column: number } {
  const node = nodeAt(source.document, mistake.path, mistake.key)
  const offset = mistake.offset ?? node?.range?.[0] ?? 0
  const { line, col } = source.lines.linePos(Math.min(offset, Math.max(0, source.text.length - 1)))
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

function nearestOf({ wrong, among }: { wrong: string; among: readonly string[] }): string | null {
  const ranked = among.map(name => ({ name, far: distance(wrong.toLowerCase(), name.toLowerCase()) }))
  const best = ranked.toSorted((a, b) => a.far - b.far)[0]
  const near = best !== undefined && best.far < wrong.length && best.far <= Math.max(2, wrong.length / 3)
  return near ? best.name : null
}
