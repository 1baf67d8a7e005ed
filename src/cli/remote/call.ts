import { basename, resolve } from 'node:path'
import { type Command, CommanderError, type Option } from 'commander'
import { BackoutError } from '../../core/errors.ts'
import type { build } from '../program.ts'

/** A file that the arguments name: it is on this machine, and the command runs on another. */
export interface Carried {
  /** Absolute, on this machine. */
  readonly local: string
  /** What it is called in the folder that it is carried to or from. */
  readonly name: string
  readonly way: 'there' | 'back'
}

/** A command line taken apart by the program's own rules and put together again for another machine. */
export interface Call {
  /** "run", "release export". */
  readonly command: string
  readonly argv: readonly string[]
  readonly carried: readonly Carried[]
  readonly options: Readonly<Record<string, unknown>>
}

/** What is about this machine alone. */
const HERE = new Set(['init', 'schema', 'adapters', 'worker'])

/** Which arguments (by place) and options name files, and which way these go. */
export const FILES: Readonly<Record<string, Readonly<Record<string, Carried['way']>>>> = {
  run: { '0': 'there' },
  plan: { '--out': 'back' },
  report: { '--out': 'back' },
  'release export': { '1': 'back' },
  'release import': { '0': 'there', '--identity': 'there' },
}

/** Null where the command line asks for help, is wrong, or is about this machine: then it is executed here. */
export async function calledIn(argv: readonly string[], program: typeof build): Promise<Call | null> {
  let call: Call | null = null
  const root = program(async () => {})
  const prepare = (command: Command, path: readonly string[]): void => {
    command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} })
    for (const inner of command.commands) prepare(inner, [...path, inner.name()])
    if (command.commands.length > 0) return
    command.action(() => {
      if (!HERE.has(path[0] ?? '')) call = again(root, command, path)
    })
  }
  prepare(root, [])
  try {
    await root.parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return null
    throw error
  }
  return call
}

function again(root: Command, command: Command, path: readonly string[]): Call {
  const name = path.join(' ')
  const carried: Carried[] = []
  const ways = FILES[name] ?? {}
  const carry = (word: string, way: Carried['way'] | undefined): string => {
    if (way === undefined) return word
    const file = { local: resolve(word), name: nameFor(word, carried), way }
    carried.push(file)
    return file.name
  }
  const globals = wordsOf(root, (_, value) => value).filter(word => !word.startsWith('--config'))
  const options = wordsOf(command, (option, value) => {
    const way = ways[option.long ?? '']
    if (way === undefined && option.flags.includes('<file>')) throw notCarried(option.flags)
    return carry(value, way)
  })
  const args = command.args.map((word, i) => carry(word, ways[String(i)]))
  return {
    command: name,
    argv: [...globals, ...path, ...options, ...(args.length > 0 ? ['--', ...args] : [])],
    carried,
    options: command.opts(),
  }
}

/** The options that were given, written so that no value is taken for another option. */
function wordsOf(command: Command, change: (option: Option, value: string) => string): string[] {
  return command.options.flatMap(option => {
    if (command.getOptionValueSource(option.attributeName()) !== 'cli') return []
    const value: unknown = command.getOptionValue(option.attributeName())
    const flag = option.long ?? option.short ?? ''
    if (typeof value === 'boolean') return [flag]
    return [value].flat().map(one => `${flag}=${change(option, String(one))}`)
  })
}

/** Two files of one name in different folders are kept apart. */
function nameFor(word: string, before: readonly Carried[]): string {
  const name = basename(resolve(word)) || 'file'
  const safe = name.startsWith('-') || name === '..' ? `_${name}` : name
  return before.some(f => f.name === safe) ? `${before.length}-${safe}` : safe
}

function notCarried(flags: string): BackoutError {
  return new BackoutError({
    code: 'file_not_carried',
    what: `${flags} names a file of this machine, and the home is on another`,
    next: 'run the command on that machine: BACKOUT_HOME=PATH backout --config PATH/backout.yaml …',
    exit: 'usage',
  })
}
