import { createHash } from 'node:crypto'
import { lstat, readFile, readlink } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import { hashOf } from '../../core/json.ts'
import { dueIn } from '../../exec/reload-due.ts'
import type { Tree } from './config.ts'
import { commitOf, everTracked, recentCommits, type Site, treeOf } from './git.ts'

const COMMITS_TRIED = 100

/** Where a path of the repository is live. `root`: another folder in place of `to`. Absolute. */
export function liveOf({ config, ctx }: Site, path: string, root?: string): string {
  if (config.paths !== undefined) return resolve(ctx.baseDir, config.paths[path] ?? path)
  return join(root ?? resolve(ctx.baseDir, config.to ?? '.'), posix.relative(config.from, path))
}

/** These paths as they are live, in git's own terms, as `commit` has them. What is not there is left out. */
export async function liveTree(site: Site, paths: readonly string[], commit: string): Promise<Tree> {
  return treeAt(paths, path => liveOf(site, path), commit)
}

export async function treeAt(paths: readonly string[], where: (path: string) => string, commit: string): Promise<Tree> {
  const found: Tree = {}
  for (const path of paths) {
    const file = where(path)
    const info = await lstat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null
      throw error
    })
    if (info?.isSymbolicLink()) {
      found[path] = { blob: blobOf(await readlink(file, 'buffer'), commit), mode: '120000' }
    } else if (info?.isFile()) {
      const mode = (info.mode & 0o100) === 0 ? '100644' : '100755'
      found[path] = { blob: blobOf(await readFile(file), commit), mode }
    }
  }
  return found
}

/** What git calls this content, without a process for it: the hash is the one that the repository's commits have. */
function blobOf(content: Buffer, commit: string): string {
  const hash = createHash(commit.length === 64 ? 'sha256' : 'sha1')
  return hash.update(`blob ${content.length}\0`).update(content).digest('hex')
}

export function treeHash(tree: Tree): string {
  return hashOf(tree)
}

/** Paths in which two trees differ, sorted. */
export function differing(a: Tree, b: Tree): string[] {
  const paths = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
  return paths.filter(path => a[path]?.blob !== b[path]?.blob || a[path]?.mode !== b[path]?.mode)
}

export interface Found {
  /** The live files, of all that were ever tracked. */
  readonly live: Tree
  /** The commit that they are of: the newest with exactly these; that of `ref` where there is none. */
  readonly commit: string
  readonly tree: Tree
  /** Where they are not as in that commit. */
  readonly drift: readonly string[]
}

/** Looks which commit is live. null: `ref` is no commit of the repository. */
export async function findLive(site: Site, signal: AbortSignal): Promise<Found | null> {
  const head = await commitOf(site, site.config.ref, signal)
  if (head === null) return null
  const live = await liveTree(site, await everTracked(site, signal), head)
  for (const commit of await recentCommits(site, head, COMMITS_TRIED, signal)) {
    const tree = await treeOf(site, commit, signal)
    if (differing(live, tree).length === 0) return { live, commit, tree, drift: [] }
  }
  const tree = await treeOf(site, head, signal)
  return { live, commit: head, tree, drift: differing(live, tree) }
}

/** A run has put the files in place that are live, and its reload never ended well: nobody knows what is read. */
export async function reloadDue(site: Site, signal: AbortSignal): Promise<boolean> {
  if (site.config.reload === undefined) return false
  for (const commit of await dueIn(site.ctx)) {
    if ((await commitOf(site, commit, signal)) === null) continue
    const files = await treeOf(site, commit, signal)
    const live = await liveTree(site, Object.keys(files), commit)
    if (differing(live, files).length === 0) return true
  }
  return false
}
