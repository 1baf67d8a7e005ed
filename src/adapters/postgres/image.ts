import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Beside, Image } from '../../data/engine.ts'
import { cut, LONGEST_NAME, quote } from './names.ts'
import { type Place, shownPlace } from './place.ts'
import { inSnapshot, type Source } from './reader.ts'
import { openSession, type Session, textOf } from './session.ts'

/** A database beside the live one, which the merge reads from too. */
export interface DatabaseImage extends Image {
  readonly source: Source
}

/** What is written on a database that Backout made, as its comment. */
const noteShape = z.object({
  backout: z.literal(1),
  /** False until everything was loaded. */
  whole: z.boolean(),
  home: z.string(),
  origin: z.string(),
  sequences: z.record(z.string(), z.number()),
  /** The comment that it is to have in the database's place. */
  comment: z.string().nullable(),
})
export type Note = z.infer<typeof noteShape>

/** How many characters at the end of a name stand for the mark. */
export const MARK = 16

/** The name of a database that belongs to one mark of one database: the same in every process, at most 63 bytes. */
export function besideName(place: Place, database: string, use: 'scratch' | 'swap' | 'kept', mark: string): string {
  const of = createHash('sha256')
    .update(`${place.host}:${place.port}/${database}\0${mark}`)
    .digest('hex')
    .slice(0, MARK)
  const told = cut(database.replaceAll(/[^\w-]/g, '_'), LONGEST_NAME - MARK - 'backout_scratch__'.length)
  return `backout_${use}_${told}_${of}`
}

/** The note on a database; `null` where it has none of Backout's; `undefined` where there is no such database. */
export async function noteOn(session: Session, name: string): Promise<Note | null | undefined> {
  const sql = `SELECT shobj_description(oid, 'pg_database') AS note FROM pg_database WHERE datname = $1`
  const [row] = await session.query(sql, [name])
  if (row === undefined) return undefined
  const text = textOf(row, 'note')
  if (text === null || !text.startsWith('{')) return null
  try {
    return noteShape.parse(JSON.parse(text))
  } catch {
    return null
  }
}

export function imageOf(source: Source): DatabaseImage {
  return {
    name: shownPlace(source.place, source.database),
    source,
    reading: (signal, work) => inSnapshot(source, signal, work),
    async [Symbol.asyncDispose]() {},
  }
}

export function sourceOf(image: Image): Source {
  if ('source' in image) return (image as DatabaseImage).source
  throw new Error(`${image.name} is no PostgreSQL database`)
}

/** `maintenance`: the database from which this one is dropped. */
export function besideOf(source: Source, maintenance: string): Beside & DatabaseImage {
  const drop = async () => {
    // What is aborted must be able to clean up behind itself.
    const signal = AbortSignal.timeout(60_000)
    await using admin = await openSession(source.place, maintenance, source.limits, signal)
    await dropDatabase(admin, source.database)
  }
  return { ...imageOf(source), drop }
}

/** Ends what a process that died may have left at work in it. */
export async function dropDatabase(admin: Session, name: string): Promise<void> {
  const ended = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()`
  for (let tries = 0; ; tries++) {
    await admin.query(ended, [name])
    try {
      await admin.query(`DROP DATABASE IF EXISTS ${quote(name)}`)
      return
    } catch (error) {
      if (tries >= 20 || (error as { code?: string }).code !== 'database_open') throw error
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}
