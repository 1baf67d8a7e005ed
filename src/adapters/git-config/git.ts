import { mkdir, stat } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import type { OpenContext } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact, reveal } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import type { Entry, GitConfigConfig, Tree } from './config.ts'

export interface Site {
  readonly config: GitConfigConfig
  readonly ctx: OpenContext
}

const KEEP = 64 * 1024 * 1024
const LIMIT_MS = 120_000
const MODES = new Set(['100644', '100755', '120000'])

interface Options {
  readonly env?: Record<string, string>
  readonly stdin?: string
  /** Exit codes that are an answer. */
  readonly fine?: readonly number[]
}

/** Runs git in the component's repository. Throws `git_failed`. */
export async function git(site: Site, argv: readonly string[], signal: AbortSignal, options: Options = {}) {
  const where = [
    'git',
    '-C',
    repositoryOf(site),
    '-c',
    'safe.directory=*',
    '-c',
    'core.autocrlf=false',
    '-c',
    'core.quotePath=false',
  ]
  return run([...where, ...argv], signal, options)
}

async function run(argv: readonly string[], signal: AbortSignal, { env, stdin, fine = [0] }: Options) {
  const quiet = { GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0', ...env }
  const result = await runLocal({ argv, env: quiet, stdin: stdin ?? '', limitMs: LIMIT_MS, keepBytes: KEEP }, signal)
  if (fine.includes(result.code)) return result
  throw new BackoutError({
    code: 'git_failed',
    what: redact(
      `"${argv
        .filter(word => !word.includes('='))
        .join(' ')
        .slice(0, 200)}" ended with code ${result.code}`,
    ),
    cause: redact(result.stderr.trim()),
    next: 'look at `repository:` and at the rights there',
    exit: 'failed',
  })
}

/** A URL is mirrored; a path is used as it is. */
export function repositoryOf({ config, ctx }: Site): string {
  const given = reveal(config.repository)
  return isUrl(given) ? join(ctx.stateDir, 'mirror.git') : resolve(ctx.baseDir, given)
}

function isUrl(text: string): boolean {
  return /^[a-z+]+:\/\//.test(text) || /^[\w.-]+@[\w.-]+:/.test(text)
}

/** Brings the mirror up to date. One that cannot be reached is used as it is: what it has does not change. */
export async function refresh(site: Site, signal: AbortSignal): Promise<string | null> {
  const url = reveal(site.config.repository)
  if (!isUrl(url)) return null
  const mirror = repositoryOf(site)
  const there = await stat(join(mirror, 'HEAD')).catch(() => null)
  if (there === null) {
    await mkdir(site.ctx.stateDir, { recursive: true, mode: 0o700 })
    await run(['git', 'clone', '--quiet', '--mirror', '--', url, mirror], signal, {})
    return null
  }
  const fetched = await git(site, ['fetch', '--quiet', '--prune', '--tags'], signal, { fine: [0, 1, 128] })
  return fetched.code === 0 ? null : redact(fetched.stderr.trim())
}

/** The commit of a name; null where the repository does not have it. */
export async function commitOf(site: Site, name: string, signal: AbortSignal): Promise<string | null> {
  const argv = ['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`]
  const found = await git(site, argv, signal, { fine: [0, 1] })
  return found.code === 0 ? found.stdout.trim() : null
}

/** The first commits: what no clone of the same repository differs in. */
export async function rootsOf(site: Site, signal: AbortSignal): Promise<string> {
  const { stdout } = await git(site, ['rev-list', '--max-parents=0', '--all'], signal)
  const roots = stdout.split('\n').filter(Boolean).sort()
  return roots[0] ?? 'empty'
}

/** What to look at in the repository. */
function scopeOf({ config }: Site): string[] {
  if (config.paths !== undefined) return Object.keys(config.paths).sort()
  const from = posix.normalize(config.from)
  return from === '.' || from === './' ? [] : [from]
}

/** The same for commands that would take paths from the folder they run in. */
function fromTop(site: Site): string[] {
  return scopeOf(site).map(path => `:(top,literal)${path}`)
}

/** The files of a commit, as far as they are this component's. */
export async function treeOf(site: Site, commit: string, signal: AbortSignal): Promise<Tree> {
  const { stdout } = await git(site, ['ls-tree', '-r', '-z', '--full-tree', commit, '--', ...scopeOf(site)], signal)
  const entries = stdout.split('\0').flatMap((line): [string, Entry][] => {
    const match = /^(\d+) \w+ (\w+)\t([\s\S]+)$/.exec(line)
    const [, mode = '', blob = '', path = ''] = match ?? []
    return MODES.has(mode) ? [[path, { blob, mode: mode as Entry['mode'] }]] : []
  })
  return Object.fromEntries(entries)
}

/** Every path that any commit ever had in this component's scope. */
export async function everTracked(site: Site, signal: AbortSignal): Promise<string[]> {
  const argv = ['log', '--all', '--format=', '--name-only', '-z', '--no-renames', '-m', '--', ...fromTop(site)]
  const { stdout } = await git(site, argv, signal)
  return [...new Set(stdout.split(/[\0\n]/).filter(Boolean))].sort()
}

export async function recentCommits(site: Site, first: string, most: number, signal: AbortSignal): Promise<string[]> {
  const { stdout } = await git(site, ['rev-list', '--all', `--max-count=${most}`, '--', ...fromTop(site)], signal)
  return [...new Set([first, ...stdout.split('\n').filter(Boolean)])]
}
