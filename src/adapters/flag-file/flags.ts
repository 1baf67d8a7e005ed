import { isMap, parseDocument } from 'yaml'
import { BackoutError } from '../../core/errors.ts'
import type { FlagFileConfig } from './config.ts'

export type Format = FlagFileConfig['format']
type Tree = Record<string, unknown>

/** What each flag of the file is, in words that show no values. Throws `flags_unreadable`. */
export function statesOf(content: Uint8Array, format: Format, path: string): Record<string, string> {
  const tree = treeOf(content, path)
  if (format === 'flagd') {
    return Object.fromEntries(Object.entries(flagsIn(tree)).map(([name, flag]) => [name, flagdState(flag)]))
  }
  return Object.fromEntries(plainFlags(tree, '').map(([name, value]) => [name, plainState(value)]))
}

/** JSON is YAML, so that one reader serves both. */
function treeOf(content: Uint8Array, path: string): Tree {
  const document = documentOf(content, path)
  const [error] = document.errors
  const tree: unknown = error === undefined ? document.toJS() : null
  if (tree !== null && typeof tree === 'object' && !Array.isArray(tree)) return tree as Tree
  throw unreadable(
    path,
    error === undefined ? 'it holds no map' : `line ${error.linePos?.[0].line ?? '?'}: ${error.code}`,
  )
}

/** Whole numbers stay exact, however long they are. */
function documentOf(content: Uint8Array, path: string, options: { merge?: boolean } = {}): Doc {
  try {
    return parseDocument(new TextDecoder('utf-8', { fatal: true }).decode(content), { intAsBigInt: true, ...options })
  } catch {
    throw unreadable(path, 'it is no UTF-8 text')
  }
}

function unreadable(path: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'flags_unreadable',
    what: `The flag file ${path} cannot be read as a map of flags`,
    cause,
    next: 'repair the file, or put the right `format:`',
    exit: 'blocked',
  })
}

function flagsIn(tree: Tree): Record<string, Tree> {
  const flags = tree['flags']
  return flags !== null && typeof flags === 'object' ? (flags as Record<string, Tree>) : {}
}

function flagdState(flag: Tree): string {
  if (flag['state'] === 'DISABLED') return 'disabled'
  const variant = typeof flag['defaultVariant'] === 'string' ? flag['defaultVariant'] : 'the default of the code'
  const targeting = flag['targeting']
  const aimed = targeting !== null && typeof targeting === 'object' && Object.keys(targeting).length > 0
  return aimed ? `${variant}, with targeting` : variant
}

function plainFlags(tree: Tree, prefix: string): [string, unknown][] {
  return Object.entries(tree).flatMap(([key, value]): [string, unknown][] => {
    const nested = value !== null && typeof value === 'object' && !Array.isArray(value)
    return nested ? plainFlags(value as Tree, `${prefix}${key}.`) : [[`${prefix}${key}`, value]]
  })
}

function plainState(value: unknown): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : 'set'
}

export interface Composed {
  readonly content: Buffer
  /** Flags that cannot be turned off, and why. */
  readonly stuck: readonly string[]
  /** Flags to be turned off that neither file has. */
  readonly unknown: readonly string[]
}

/**
 * The file of the release, with the flags of `off` turned off. A flag that only today's file knows comes along, turned
 * off: whoever still asks for it must not get the default of the code. Without such flags not a byte is changed.
 */
export function composed(then: Uint8Array, today: Uint8Array | null, config: FlagFileConfig): Composed {
  if (config.off.length === 0) return { content: Buffer.from(then), stuck: [], unknown: [] }
  const document = documentOf(then, config.path)
  const now = today === null ? {} : treeOf(today, config.path)
  const resolved = documentOf(then, config.path, { merge: true }).toJS() as Tree
  const stuck: string[] = []
  const unknown: string[] = []
  for (const name of config.off) {
    const problem = config.format === 'flagd' ? flagdOff(document, now, name) : plainOff(document, resolved, now, name)
    if (problem === 'unknown') unknown.push(name)
    else if (problem !== null) stuck.push(`${name}: ${problem}`)
  }
  const json = config.format === 'json' || (config.format === 'flagd' && !/\.ya?ml$/.test(config.path))
  return { content: Buffer.from(json ? asJson(document) : document.toString({ lineWidth: 0 })), stuck, unknown }
}

function asJson(document: Doc): string {
  const raw = JSON as unknown as { rawJSON(text: string): unknown }
  const exact = (_: string, value: unknown) => (typeof value === 'bigint' ? raw.rawJSON(String(value)) : value)
  return `${JSON.stringify(document.toJS(), exact, 2)}\n`
}

type Doc = ReturnType<typeof parseDocument>

/** DISABLED would give the default of the code, which may be anything: so the flag stays, with its off variant. */
function flagdOff(document: Doc, now: Tree, name: string): string | null {
  if (!document.hasIn(['flags', name])) {
    const flag = flagsIn(now)[name]
    if (flag === undefined) return 'unknown'
    document.setIn(['flags', name], document.createNode(flag))
  }
  const flag = (document.toJS() as { flags: Record<string, Tree> }).flags[name] ?? {}
  const variants = Object.entries((flag['variants'] as Tree | undefined) ?? {})
  const off = variants.find(([key]) => key === 'off') ?? variants.find(([, value]) => value === false)
  if (off === undefined) return 'no variant is named "off" or is false'
  document.setIn(['flags', name, 'state'], 'ENABLED')
  document.setIn(['flags', name, 'defaultVariant'], off[0])
  document.deleteIn(['flags', name, 'targeting'])
  return null
}

function plainOff(document: Doc, resolved: Tree, now: Tree, name: string): string | null {
  const whole = [name]
  const path = document.hasIn(whole) || Object.hasOwn(now, name) ? whole : name.split('.')
  const there = document.hasIn(path)
  if (!there && at(resolved, path) !== undefined) return 'it comes there by an alias or a merge key (<<)'
  const value = there ? document.getIn(path) : at(now, path)
  if (value === undefined) return 'unknown'
  if (typeof value === 'boolean') {
    document.setIn(path, false)
    return null
  }
  const inner = isMap(value) ? value.get('enabled') : (value as Tree | null)?.['enabled']
  if (typeof inner !== 'boolean') return 'it is neither true nor false, and has no `enabled`'
  if (!there) document.setIn(path, document.createNode(value))
  document.setIn([...path, 'enabled'], false)
  return null
}

function at(tree: Tree, path: readonly string[]): unknown {
  return path.reduce<unknown>((node, key) => (node as Tree | undefined)?.[key], tree)
}

/** "new-checkout: on -> off", for what differs, by name. */
export function changesBetween(now: Record<string, string>, then: Record<string, string>): string[] {
  const names = [...new Set([...Object.keys(now), ...Object.keys(then)])].sort()
  return names.filter(n => now[n] !== then[n]).map(n => `${n}: ${now[n] ?? 'not there'} -> ${then[n] ?? 'not there'}`)
}
