import { rm } from 'node:fs/promises'
import type { Beside, Image, Reader } from '../../data/engine.ts'
import { explained, frozenUri, openFrozen, reading } from './database.ts'
import { readerOf } from './reader.ts'

/** A database file that is not the live one. */
export interface FileImage extends Image {
  /** By which SQL attaches it. */
  readonly uri: string
}

/** A file that nobody writes. */
export function frozenImage(file: string): FileImage {
  return {
    name: file,
    uri: frozenUri(file),
    reading: (signal, work) => readFrozen(file, signal, work),
    [Symbol.asyncDispose]: async () => {},
  }
}

/** The file that was in the database's place, with whatever log lies beside it. */
export function keptImage(file: string, busyMs: number): FileImage {
  return {
    name: file,
    uri: `file:${encodeURI(file)}?mode=ro`,
    reading: (signal, work) => reading({ file, busyMs, signal }, (db, again) => work(readerOf(db, signal, again))),
    [Symbol.asyncDispose]: async () => {},
  }
}

export function besideImage(file: string, remove: string): Beside & FileImage {
  return { ...frozenImage(file), drop: () => rm(remove, { recursive: true, force: true }) }
}

export function uriOf(image: Image): string {
  if ('uri' in image && typeof image.uri === 'string') return image.uri
  throw new Error(`${image.name} is no SQLite file`)
}

async function readFrozen<T>(file: string, signal: AbortSignal, work: (db: Reader) => Promise<T>): Promise<T> {
  try {
    const db = openFrozen(file)
    try {
      return await work(readerOf(db, signal, { how: { file, frozen: true }, still: () => true }))
    } finally {
      db.close()
    }
  } catch (error) {
    throw await explained(file, error)
  }
}
