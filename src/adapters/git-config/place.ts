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
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import type { StepAct } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { redact, reveal } from '../../core/secret.ts'
import { replaceFile, syncFolder } from '../../exec/atomic-file.ts'
import { runLocal } from '../../exec/local.ts'
import type { Entry, Tree } from './config.ts'
import { git, type Site } from './git.ts'
import { differing, liveOf, liveTree, treeAt } from './live.ts'

/** What a step puts in place. */
export interface Change {
  readonly commit: string
  readonly files: Tree
  /** Paths of the release that is left which the other one does not have. */
  readonly remove: readonly string[]
  /** What was live at all of these paths when the plan looked. */
  readonly seen: Tree
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
  const written = await treeAt(Object.keys(change.files), path => join(to, path), change.commit)
  const wrong = differing(written, change.files)
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
  for (const path of change.remove) await removeFile(liveOf(site, path, look))
  for (const path of Object.keys(change.files)) {
    const to = liveOf(site, path, look)
    await rm(to, { recursive: true, force: true })
    await cp(join(dir, 'files', path), to, { recursive: true, verbatimSymlinks: true })
  }
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
    await isAsSeen(site, change)
    const to = site.config.to === undefined ? null : resolve(site.ctx.baseDir, site.config.to)
    const link = to === null ? null : await lstat(to).catch(() => null)
    return to !== null && link?.isSymbolicLink()
      ? swapFolder(site, change, files, to, act)
      : oneByOne(site, change, files, act)
  })
}

/** What a half-done attempt has put there already is no surprise. */
async function isAsSeen(site: Site, change: Change): Promise<void> {
  const live = await liveTree(site, [...Object.keys(change.files), ...change.remove], change.commit)
  const done = new Set(differing(live, change.files))
  const strange = differing(live, change.seen).filter(path => done.has(path))
  if (strange.length > 0) throw moved(strange.slice(0, 5).join(', '), 'was changed')
}

async function swapFolder(site: Site, change: Change, files: string, to: string, act: StepAct): Promise<string> {
  const old = await realpath(to)
  const target = await readlink(to)
  const fresh = freshFolder(old, act.idem)
  act.guard()
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh)
  await copyTree(old, fresh, act.signal)
  await putAll(site, change, files, act, fresh)
  const aside = `${to}.backout-${act.idem}`
  await rm(aside, { force: true })
  await symlink(isAbsolute(target) ? fresh : relative(await realpath(dirname(to)), fresh), aside)
  act.signal.throwIfAborted()
  act.guard()
  if ((await readlink(to)) !== target) throw moved(to, 'was pointed elsewhere')
  await rename(aside, to)
  await syncFolder(dirname(to))
  return old
}

/** Never the one that is live, which is what an earlier attempt of the same step has made. */
function freshFolder(live: string, idem: string): string {
  const name = `${live.replace(/\.backout-[^/]*$/, '')}.backout-${idem}`
  return name === live ? `${name}.again` : name
}

function moved(what: string, how: string): BackoutError {
  return new BackoutError({
    code: 'file_moved',
    what: `${what} ${how} meanwhile; it was left alone`,
    next: PLAN_ANEW,
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
  if (!old || there || old.isDirectory()) return
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  if (old.isSymbolicLink()) return symlink(await readlink(from), to)
  await copyFile(from, `${to}.part`)
  await rename(`${to}.part`, to)
}

async function putAll(site: Site, change: Change, files: string, act: StepAct, root?: string): Promise<void> {
  await makeRoom(site, change, act, root)
  for (const [path, entry] of Object.entries(change.files)) {
    act.signal.throwIfAborted()
    await putOne(join(files, path), liveOf(site, path, root), entry, act)
  }
  for (const path of change.remove) {
    act.guard()
    await removeFile(liveOf(site, path, root))
  }
}

const GONE = new Set(['ENOTDIR', 'EISDIR', 'ERR_FS_EISDIR'])

/** Where a file stands in the place of its folder, or a folder in its own, it is gone with that. */
async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: NodeJS.ErrnoException) => {
    if (!GONE.has(error.code ?? '')) throw error
  })
}

/** A file stands where a folder is to be, or the other way round: what goes, goes first there. */
async function makeRoom(site: Site, { files, remove }: Change, act: StepAct, root?: string): Promise<void> {
  for (const path of remove) {
    const under = Object.keys(files).find(file => path.startsWith(`${file}/`))
    if (under === undefined && !Object.keys(files).some(file => file.startsWith(`${path}/`))) continue
    act.guard()
    const live = liveOf(site, path, root)
    if ((await lstat(live).catch(() => null))?.isDirectory() === false) await rm(live)
    if (under !== undefined) await removeEmpty(dirname(live), liveOf(site, under, root))
  }
}

/** From the inside to the outside, as far as nothing else lies there. */
async function removeEmpty(folder: string, last: string): Promise<void> {
  const gone = await rmdir(folder).then(
    () => true,
    () => false,
  )
  if (gone && folder !== last) await removeEmpty(dirname(folder), last)
}

/** Owner and mode stay those of the old file; a new one belongs to whom its folder belongs, where root does this. */
async function putOne(from: string, to: string, entry: Entry, act: StepAct): Promise<void> {
  act.guard()
  await mkdir(dirname(to), { recursive: true })
  if (entry.mode === '120000') return putLink(from, to, act)
  const old = await lstat(to).catch(() => null)
  const model = old?.isFile() ? old : await stat(dirname(to))
  const plain = old?.isFile() ? old.mode & 0o7666 : 0o644
  const mode = entry.mode === '100755' ? plain | ((plain & 0o444) >> 2) : plain
  const owner = old?.isFile() || process.getuid?.() === 0 ? { uid: model.uid, gid: model.gid } : {}
  const file = { content: await readFile(from), mode, ...owner }
  const link = old?.isSymbolicLink() ? 'replace' : 'follow'
  await replaceFile(to, { file, link, idem: act.idem, before: () => act.guard() })
}

async function putLink(from: string, to: string, act: StepAct): Promise<void> {
  const aside = `${to}.backout-${act.idem}`
  await rm(aside, { force: true })
  await symlink(await readlink(from), aside)
  act.guard()
  await rename(aside, to)
}
