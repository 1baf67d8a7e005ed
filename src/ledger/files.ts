import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BackoutError } from '../core/errors.ts'

/** Writes aside, syncs, renames, syncs the folder: after a crash the file is the old one or the new one, never a part. */
export async function writeWhole(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const aside = `${path}.${randomBytes(4).toString('hex')}.new`
  const file = await open(aside, 'wx', mode)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(aside, path)
  await syncFolder(dirname(path))
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
