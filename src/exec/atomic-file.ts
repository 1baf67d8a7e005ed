import { lstat, open, readFile, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { BackoutError, messageOf } from '../core/errors.ts'

export interface WholeFile {
  readonly content: Buffer
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** A file as it is now; null where there is none. Throws where it cannot be read. */
export async function readWhole(path: string): Promise<WholeFile | null> {
  try {
    const found = await stat(path)
    if (!found.isFile()) throw new Error('it is no regular file')
    return { content: await readFile(path), mode: found.mode & 0o7777, uid: found.uid, gid: found.gid }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new BackoutError({
      code: 'file_unreadable',
      what: `The file ${path} cannot be read`,
      cause: messageOf(error),
      next: 'look at its rights and at the disk',
      exit: 'failed',
      from: error,
    })
  }
}

interface Replace {
  /** Content, mode and owner of the file to be; without an owner, this process's own. */
  readonly file: Pick<WholeFile, 'content' | 'mode'> & Partial<Pick<WholeFile, 'uid' | 'gid'>>
  readonly link?: 'follow' | 'replace'
  /** Ends the name of the file that is written aside, so that a later attempt finds it. */
  readonly idem: string
  /** Called right before the file is put in place; where it throws nothing changes. */
  readonly before: () => void | Promise<void>
}

/**
 * Puts a whole file in place at once: written aside, synced, renamed. A symlink stays, what it points to is replaced,
 * unless `link` says that the file takes the link's own place. Throws `file_not_replaced`, also where the owner cannot be
 * set; the old file is then untouched.
 */
export async function replaceFile(path: string, { file, link = 'follow', idem, before }: Replace): Promise<void> {
  let aside: string | null = null
  try {
    const real = link === 'follow' ? await realOf(path) : path
    aside = `${real}.backout-${idem}`
    await writeAside(aside, file)
    await before()
    await rename(aside, real)
    await syncFolder(dirname(real))
  } catch (error) {
    if (aside !== null) await rm(aside, { force: true })
    throw asReplaceError(path, error)
  }
}

/** Where a path leads, also where nothing is there yet. */
async function realOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const info = await lstat(path).catch(() => null)
    return info?.isSymbolicLink() ? realOf(resolve(await realpath(dirname(path)), await readlink(path))) : path
  }
}

async function writeAside(aside: string, file: Replace['file']): Promise<void> {
  await rm(aside, { force: true })
  // Nobody may read it before its owner and mode are set.
  await using handle = await open(aside, 'wx', 0o600)
  await handle.writeFile(file.content)
  const { uid = -1, gid = -1 } = file
  const own = await handle.stat()
  if ((uid !== -1 && uid !== own.uid) || (gid !== -1 && gid !== own.gid)) await handle.chown(uid, gid)
  await handle.chmod(file.mode)
  await handle.sync()
}

export async function syncFolder(path: string): Promise<void> {
  await using handle = await open(path, 'r')
  await handle.sync()
}

function asReplaceError(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (!(error instanceof Error) || error instanceof BackoutError || code === undefined || !/^E[A-Z]+$/.test(code)) {
    return error
  }
  const next: Record<string, string> = {
    EPERM: 'its owner must be kept: run this as that user, or as root; or change the owner of the file',
    EBUSY: 'the file itself is mounted: mount its folder instead, so that it can be replaced as a whole',
    ENOSPC: 'free space on that disk',
    EROFS: 'the disk is mounted read-only',
  }
  return new BackoutError({
    code: 'file_not_replaced',
    what: `The file ${path} could not be replaced; it is as it was`,
    cause: error.message,
    next: next[code] ?? 'look at the rights of its folder',
    exit: 'failed',
    from: error,
  })
}
