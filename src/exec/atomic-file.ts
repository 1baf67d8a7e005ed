import { open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
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
    const [content, { mode, uid, gid }] = await Promise.all([readFile(path), stat(path)])
    return { content, mode: mode & 0o7777, uid, gid }
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
  /** Content, mode and, where this process may set it, owner of the file to be. */
  readonly file: Pick<WholeFile, 'content' | 'mode'> & Partial<Pick<WholeFile, 'uid' | 'gid'>>
  /** Ends the name of the file that is written aside, so that a later attempt finds it. */
  readonly idem: string
  /** Called right before the file is put in place; where it throws nothing changes. */
  readonly before: () => void | Promise<void>
}

/**
 * Puts a whole file in place at once: written aside, synced, renamed. A symlink stays, what it points to is replaced.
 * Throws `file_not_replaced`; the old file is then untouched.
 */
export async function replaceFile(path: string, { file, idem, before }: Replace): Promise<void> {
  const real = await realpath(path).catch(() => path)
  const aside = `${real}.backout-${idem}`
  try {
    await writeAside(aside, file)
    await before()
    await rename(aside, real)
    await syncFolder(dirname(real))
  } catch (error) {
    await rm(aside, { force: true })
    throw asReplaceError(real, error)
  }
}

async function writeAside(aside: string, file: Replace['file']): Promise<void> {
  await rm(aside, { force: true })
  // Nobody may read it before its owner and mode are set.
  await using handle = await open(aside, 'wx', 0o600)
  await handle.writeFile(file.content)
  if (file.uid !== undefined && file.gid !== undefined) await handle.chown(file.uid, file.gid)
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
