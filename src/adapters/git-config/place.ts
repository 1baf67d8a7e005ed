import {
  copyFile,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact, reveal } from '../../core/secret.ts'
import { replaceFile, syncFolder } from '../../exec/atomic-file.ts'
import { runLocal } from '../../exec/local.ts'
import type { Entry, Tree } from './config.ts'
import { git, type Site } from './git.ts'
import { differing, liveOf, treeAt } from './live.ts'

/** What a step puts in place. */
export interface Change {
  readonly commit: string
  readonly files: Tree
  /** Paths of the release that is left which the other one does not have. */
  readonly remove: readonly string[]
}

/**
 * Writes the files of the commit into a new folder, looks whether git wrote what it says, and runs the check on them.
 * Where a whole folder is live, everything else in it is laid beside them: the check sees what will be.
 * The folder is removed in the end. Throws `check_failed`, `files_filtered`.
 */
export async function staged<T>(
  site: Site,
  change: Change,
  signal: AbortSignal,
  use: (dir: string) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-staged-'))
  try {
    await exportFiles(site, change, join(dir, 'files'), signal)
    const look = site.config.to === undefined ? join(dir, 'files') : await asItWillBe(site, change, dir)
    await runCheck(site, look, signal)
    return await use(join(dir, 'files'))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function exportFiles(site: Site, change: Change, to: string, signal: AbortSignal): Promise<void> {
  await mkdir(to)
  const env = { GIT_INDEX_FILE: `${to}.index` }
  await git(site, ['read-tree', change.commit], signal, { env })
  const stdin = Object.keys(change.files)
    .map(path => `${path}\0`)
    .join('')
  await git(site, ['--work-tree', to, 'checkout-index', '-q', '-f', '-z', '--stdin', `--prefix=${to}/`], signal, {
    env,
    stdin,
  })
  const wrong = differing(await treeAt(site, Object.keys(change.files), path => join(to, path), signal), change.files)
  if (wrong.length === 0) return
  throw new BackoutError({
    code: 'files_filtered',
    what: `git writes these files with other content than the commit has: ${wrong.slice(0, 5).join(', ')}`,
    cause: 'a filter of .gitattributes (large files, line ends, encryption) is at work',
    next: 'take these files out of the component',
    exit: 'blocked',
  })
}

async function asItWillBe(site: Site, change: Change, dir: string): Promise<string> {
  const look = join(dir, 'look')
  const live = liveOf(site, site.config.from)
  await mkdir(look)
  if ((await stat(live).catch(() => null)) !== null) await copyTree(await realpath(live), look)
  for (const path of Object.keys(change.files)) {
    const to = liveOf(site, path, look)
    await rm(to, { recursive: true, force: true })
    await cp(join(dir, 'files', path), to, { recursive: true, verbatimSymlinks: true })
  }
  for (const path of change.remove) await rm(liveOf(site, path, look), { force: true })
  return look
}

/** A copy with owners, modes and links. */
async function copyTree(from: string, to: string, signal?: AbortSignal): Promise<void> {
  const { code, stderr } = await runLocal({ argv: ['cp', '-a', `${from}/.`, to], limitMs: 120_000 }, signal)
  if (code === 0) return
  throw new BackoutError({
    code: 'copy_failed',
    what: `The folder ${from} could not be copied to ${to}`,
    cause: stderr.trim(),
    next: 'look at the disk and at the rights',
    exit: 'failed',
  })
}

async function runCheck(site: Site, dir: string, signal: AbortSignal): Promise<void> {
  const { check, checkLimit } = site.config
  if (check === undefined) return
  const argv = check.map(word => reveal(word).replaceAll('{dir}', dir))
  const result = await runLocal({ argv, cwd: site.ctx.baseDir, limitMs: checkLimit }, signal)
  if (result.code === 0) return
  const said = (result.stderr.trim() || result.stdout.trim()).replaceAll(dir, '{dir}')
  throw new BackoutError({
    code: 'check_failed',
    what: `The check of the files ended with code ${result.code}; nothing was put in place`,
    cause: redact(said.slice(-2000)),
    next: 'see whether the files fit what runs there today, or mend `check:`',
    exit: 'blocked',
  })
}

/** Puts the files in place, each at once, or all at once where the live folder is a symlink. Answers where the old ones are. */
export async function place(site: Site, change: Change, act: StepAct): Promise<string> {
  return staged(site, change, act.signal, async files => {
    const to = site.config.to === undefined ? null : resolve(site.ctx.baseDir, site.config.to)
    const link = to === null ? null : await lstat(to).catch(() => null)
    return to !== null && link?.isSymbolicLink()
      ? swapFolder(site, change, files, to, act)
      : oneByOne(site, change, files, act)
  })
}

async function swapFolder(site: Site, change: Change, files: string, to: string, act: StepAct): Promise<string> {
  const old = await realpath(to)
  const [target, fresh] = [await readlink(to), `${old.replace(/\.backout-[^/]*$/, '')}.backout-${act.idem}`]
  act.guard()
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh)
  await copyTree(old, fresh, act.signal)
  await putAll(site, change, files, act, fresh)
  const aside = `${to}.backout-${act.idem}`
  await rm(aside, { force: true })
  await symlink(fresh, aside)
  act.signal.throwIfAborted()
  act.guard()
  if ((await readlink(to)) !== target) throw moved(to)
  await rename(aside, to)
  await syncFolder(dirname(to))
  return old
}

function moved(to: string): BackoutError {
  return new BackoutError({
    code: 'file_moved',
    what: `${to} was pointed elsewhere meanwhile; it was left alone`,
    next: 'plan again: `backout plan`',
    exit: 'moved',
  })
}

async function oneByOne(site: Site, change: Change, files: string, act: StepAct): Promise<string> {
  const kept = join(site.ctx.stateDir, 'kept', act.idem)
  act.guard()
  for (const path of [...Object.keys(change.files), ...change.remove]) {
    await keepOld(liveOf(site, path), join(kept, path))
  }
  await putAll(site, change, files, act)
  return kept
}

/** What stood there before the first attempt is what is kept. */
async function keepOld(from: string, to: string): Promise<void> {
  const [old, there] = await Promise.all([from, to].map(path => lstat(path).catch(() => null)))
  if (!old || there) return
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  if (old.isSymbolicLink()) return symlink(await readlink(from), to)
  await copyFile(from, `${to}.part`)
  await rename(`${to}.part`, to)
}

async function putAll(site: Site, change: Change, files: string, act: StepAct, root?: string): Promise<void> {
  for (const [path, entry] of Object.entries(change.files)) {
    act.signal.throwIfAborted()
    await putOne(join(files, path), liveOf(site, path, root), entry, act)
  }
  for (const path of change.remove) {
    act.guard()
    await rm(liveOf(site, path, root), { force: true })
  }
}

/** Owner and mode stay those of the old file; a new one belongs to whom its folder belongs. */
async function putOne(from: string, to: string, entry: Entry, act: StepAct): Promise<void> {
  act.guard()
  await mkdir(dirname(to), { recursive: true })
  if (entry.mode === '120000') return putLink(from, to, act)
  const old = await lstat(to).catch(() => null)
  const model = old?.isFile() ? old : await stat(dirname(to))
  const plain = old?.isFile() ? old.mode & 0o7666 : 0o644
  const mode = entry.mode === '100755' ? plain | ((plain & 0o444) >> 2) : plain
  if (old?.isSymbolicLink()) await rm(to)
  const file = { content: await readFile(from), mode, uid: model.uid, gid: model.gid }
  await replaceFile(to, { file, idem: act.idem, before: () => act.guard() })
}

async function putLink(from: string, to: string, act: StepAct): Promise<void> {
  const aside = `${to}.backout-${act.idem}`
  await rm(aside, { force: true })
  await symlink(await readlink(from), aside)
  act.guard()
  await rename(aside, to)
}
