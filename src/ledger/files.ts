import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BackoutError } from '../core/errors.ts'

/** Writes aside, syncs, renames, syncs the folder: after a crash the file is the old one or the new one, never a part. */
export async function writeWhole(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const aside = await writeAside(path, content, mode)
  await rename(aside, path)
  await syncFolder(dirname(path))
}

/** The same where nothing is yet; false where something was: of two processes that make it at once, one does. */
export async function writeNew(path: string, content: string, mode = 0o600): Promise<boolean> {
  const aside = await writeAside(path, content, mode)
  try {
    await link(aside, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(aside, { force: true })
  }
  await syncFolder(dirname(path))
  return true
}

async function writeAside(path: string, content: string | Uint8Array, mode: number): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const aside = `${path}.${randomBytes(4).toString('hex')}.new`
  const file = await open(aside, 'wx', mode)
  try {
    await file.writeFile(content)
    await file.sync()
  } catch (error) {
    await rm(aside, { force: true })
    throw error
  } finally {
    await file.close()
  }
  return aside
}

/** The names in a folder; none where there is no folder. */
export async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** The parsed file, or null where there is none. Throws `ledger_unreadable` where it is no JSON. */
export async function readJson<T>(path: string): Promise<T | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  try {
    return JSON.parse(text) as T
  } catch (error) {
    throw new BackoutError({
      code: 'ledger_unreadable',
      what: `${path} is not what Backout wrote`,
      cause: error instanceof Error ? error.message : String(error),
      next: 'put it back from a copy of the home, or move it away and capture again',
      exit: 'blocked',
    })
  }
}

/** A time-stamp for names: 20260102T030405Z. */
export function stamp(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}

export function hex(bytes: number): string {
  return randomBytes(bytes).toString('hex')
}
