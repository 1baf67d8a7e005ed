import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, posix, resolve } from 'node:path'
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

/** Set where Backout is started by a hook of git: they would lead to another repository, or read paths in another way. */
const STRANGE =
  'GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX GIT_GRAFT_FILE GIT_SHALLOW_FILE GIT_REPLACE_REF_BASE GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS'

/** A repository may belong to somebody else: nothing that it names is run. */
const SETTINGS = [
  'safe.directory=*',
  'core.autocrlf=false',
  'core.quotePath=false',
  'core.fsmonitor=false',
  'core.hooksPath=/dev/null',
  // What a mirror once had, some pin may need: it is never collected.
  'gc.auto=0',
  'maintenance.auto=false',
]

/** Runs git in the component's repository. Throws `git_failed`. */
export async function git(site: Site, words: readonly string[], signal: AbortSignal, options: Options = {}) {
  return run(['-C', repositoryOf(site), ...words], signal, options)
}

async function run(words: readonly string[], signal: AbortSignal, { env = {}, stdin, fine = [0] }: Options) {
  const own = { GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0', ...env }
  const argv = [
    'env',
    ...STRANGE.split(' ').flatMap(name => ['-u', name]),
    ...Object.entries(own).map(([name, value]) => `${name}=${value}`),
    'git',
    ...SETTINGS.flatMap(setting => ['-c', setting]),
    ...words,
  ]
  const result = await runLocal({ argv, stdin: stdin ?? '', limitMs: LIMIT_MS, keepBytes: KEEP }, signal)
  if (result.stdout.startsWith('[') && /^\[\d+ bytes left out\]\n/.test(result.stdout)) {
    throw gitFailed(words, 'printed more than can be taken', '')
  }
  if (fine.includes(result.code)) return result
  throw gitFailed(words, `ended with code ${result.code}`, result.stderr)
}

function gitFailed(words: readonly string[], what: string, said: string): BackoutError {
  return new BackoutError({
    code: 'git_failed',
    what: redact(`"git ${words.join(' ').slice(0, 200)}" ${what}`),
    cause: redact(said.trim()) || undefined,
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
    await makeMirror(url, mirror, signal)
    return null
  }
  const fetched = await git(site, ['fetch', '--quiet', '--prune', '--tags'], signal, { fine: [0, 1, 128] })
  return fetched.code === 0 ? null : redact(fetched.stderr.trim())
}

/** Made aside, so that one that was cut off in the middle is never taken for a mirror. */
async function makeMirror(url: string, mirror: string, signal: AbortSignal): Promise<void> {
  const part = `${mirror}.part`
  await rm(part, { recursive: true, force: true })
  await mkdir(dirname(mirror), { recursive: true, mode: 0o700 })
  await run(['clone', '--quiet', '--mirror', '--', url, part], signal, {})
  await rename(part, mirror)
}

/** The commit of a name; null where the repository does not have it. */
export async function commitOf(site: Site, name: string, signal: AbortSignal): Promise<string | null> {
  const argv = ['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`]
  const found = await git(site, argv, signal, { fine: [0, 1] })
  return found.code === 0 ? found.stdout.trim() : null
}

/**
 * The first commit of the branch's own line: what no clone of the same repository differs in, whatever other branches come
 * and go. Throws `repository_shallow`, for there it is not to be seen.
 */
export async function rootOf(site: Site, signal: AbortSignal): Promise<string> {
  const shallow = await git(site, ['rev-parse', '--is-shallow-repository'], signal)
  if (shallow.stdout.trim() === 'true') {
    throw new BackoutError({
      code: 'repository_shallow',
      what: `The repository ${repositoryOf(site)} is a shallow clone: what it is a clone of cannot be told`,
      next: `fetch all of it: \`git -C ${repositoryOf(site)} fetch --unshallow\``,
      exit: 'blocked',
    })
  }
  const head = await commitOf(site, site.config.ref, signal)
  if (head === null) return 'empty'
  const { stdout } = await git(site, ['rev-list', '--first-parent', '--max-parents=0', head], signal)
  return stdout.trim() || 'empty'
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
