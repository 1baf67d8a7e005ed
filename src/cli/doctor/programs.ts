import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import type { Config } from '../../config/load.ts'
import type { Text } from '../../core/secret.ts'
import { isDatabase } from '../../data/engine.ts'

/** A program that a component, hook or probe starts on this machine. */
export interface Wanted {
  readonly program: string
  /** Who starts it: "app", "probe smoke". */
  readonly by: string
  /** A relative path is looked for here. Absolute. */
  readonly cwd: string
  /** It was read off a shell line, where the same name may be a function. */
  readonly guessed: boolean
}

type Settings = Readonly<Record<string, unknown>>

/** The path of a program, or null where it cannot be started. */
export async function programAt(name: string, cwd: string): Promise<string | null> {
  const folders = name.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter)
  for (const folder of folders) {
    const path = isAbsolute(name) ? name : folder === '' ? resolve(cwd, name) : join(folder, name)
    const runs = await access(path, constants.X_OK).then(
      async () => (await stat(path)).isFile(),
      () => false,
    )
    if (runs) return path
  }
  return null
}

/** Every program that this file needs here. What runs on other machines is seen when they are asked. */
export function wantedBy(config: Config): Wanted[] {
  const at = config.baseDir
  const own = Object.entries(config.components).flatMap(([id, { adapter, settings }]) => [
    ...toolsOf(adapter.kind, settings as Settings).map(program => ({ program, by: id, cwd: at, guessed: false })),
    ...linesOf(adapter.kind, settings as Settings).flatMap(({ argv, cwd }) => first(argv, id, resolve(at, cwd))),
  ])
  const hooks = Object.entries(config.hooks).flatMap(([phase, hook]) =>
    (['before', 'after'] as const).flatMap(when => {
      const run = hook[when]?.run
      return run === undefined ? [] : first(run, `hook ${when} ${phase}`, at)
    }),
  )
  const probes = Object.entries(config.probes as Readonly<Record<string, Settings>>).flatMap(([name, probe]) =>
    probe['kind'] === 'command' ? first(probe['run'], `probe ${name}`, resolve(at, textOf(probe['cwd']))) : [],
  )
  return [...own, ...hooks, ...probes]
}

/** What an adapter itself calls. */
function toolsOf(kind: string, settings: Settings): string[] {
  if (kind === 'git-config') return ['git']
  if (kind !== 'hosts') return []
  const hosts = (settings['hosts'] ?? []) as readonly unknown[]
  return hosts.some(h => h !== 'local' && h !== 'localhost') ? ['ssh'] : []
}

/** The settings of each adapter that are commands for this machine. */
const LINES: Readonly<Record<string, readonly string[]>> = {
  command: ['observe', 'capture', 'apply', 'verify'],
  'git-config': ['check', 'reload'],
  'env-file': ['check', 'reload'],
  'flag-file': ['check', 'reload'],
  hosts: ['fence'],
}

function linesOf(kind: string, settings: Settings): { argv: unknown; cwd: string }[] {
  const lines = (LINES[kind] ?? []).map(key => ({ argv: settings[key], cwd: textOf(settings['cwd']) }))
  if (!isDatabase(kind)) return lines
  const migrations = (settings['migrations'] ?? {}) as Settings
  const also = Object.values((migrations['also'] ?? {}) as Record<string, Settings>)
  const here = [migrations, ...also].filter(way => way['runIn'] === undefined)
  return [...lines, ...here.map(way => ({ argv: way['down'], cwd: textOf(way['cwd'] ?? migrations['cwd']) }))]
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '.'
}

const BUILTIN = new Set(
  '. : [ alias bg break case cd command continue do echo eval exec exit export false fg for getopts if jobs kill printf pwd read readonly return set shift test then time times trap true type ulimit umask unset until wait while'.split(
    ' ',
  ),
)

/** The program of a command: its first word, also of a plain shell line. Nothing where that cannot be told. */
function first(argv: unknown, by: string, cwd: string): Wanted[] {
  const words = Array.isArray(argv) ? (argv as readonly Text[]) : []
  const [program, flag, line] = words
  if (typeof program !== 'string') return []
  if (program !== 'sh' || flag !== '-c') return [{ program, by, cwd, guessed: false }]
  const word = typeof line === 'string' ? (line.trim().split(/[\s;|&]/)[0] ?? '') : ''
  const plain = /^[A-Za-z0-9._/+-]+$/.test(word) && !BUILTIN.has(word)
  return plain ? [{ program: word, by, cwd, guessed: !word.includes('/') }] : []
}
