import { setTimeout as sleep } from 'node:timers/promises'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Job } from '../../data/engine.ts'
import { type Definition, definitions, drop, makeDefinitions, namesOf, readDefinitions } from './definitions.ts'
import { blockers, holdersOf } from './holders.ts'
import { MARK, makeMarked, stateOf } from './image.ts'
import { literal, quoted, text } from './names.ts'
import { highestNumbers, keepNumbers } from './numbers.ts'
import { type Access, connect, nameOf, type Session, WRITE_MODE } from './session.ts'

export interface Swap {
  readonly access: Access
  /** The live database, the one that was loaded to take its place, and the one that keeps what was there. */
  readonly database: string
  readonly staged: string
  readonly kept: string
}

/**
 * A table in the kept database says how far a swap has come. It is renamed in the very statement that renames the tables,
 * so that after a crash there is no doubt whether that took effect.
 */
const PREPARED = '_backout_prepared'
const SWAPPED = '_backout_swapped'
const DONE = '_backout_done'
const NOTES = '_backout_notes'

/** True where the swap was finished: what it kept is whole. */
export async function isSwapped(db: Session, kept: string): Promise<boolean> {
  return (await stageOf(db, kept)) === DONE
}

async function stageOf(db: Session, kept: string): Promise<string | null> {
  const names = [PREPARED, SWAPPED, DONE].map(literal).join(', ')
  const rows = await db.query(
    `SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${literal(kept)} AND TABLE_NAME IN (${names})`,
  )
  return rows[0] === undefined ? null : text(rows[0]['t'])
}

/**
 * Tables change places in one statement, which happens whole or not at all; what is written in SQL (views, triggers,
 * routines, events) is taken away before and made again on both sides after. Whatever ends it, the next call goes on.
 */
export async function swap(at: Swap, job: Job): Promise<void> {
  await using db = await connect(at.access, null, job.signal, WRITE_MODE)
  const stage = await stageOf(db, at.kept)
  if (stage === DONE) return
  if (stage === PREPARED) await takeBack(db, at, job)
  if (stage !== SWAPPED) {
    if ((await stateOf(db, at.staged)) !== 'ready') throw nothingToSwap(at)
    job.guard()
    await prepare(db, at)
    try {
      await changePlaces(db, at, job)
    } catch (error) {
      if ((await stageOf(db, at.kept)) !== SWAPPED) await takeBack(db, at, job).catch(() => {})
      throw error
    }
  }
  job.guard()
  await finish(db, at)
}

/** Writes down, before anything is touched, all that will have to be made again. */
async function prepare(db: Session, at: Swap): Promise<void> {
  await refuseReferences(db, at)
  const exists = (await stateOf(db, at.database)) !== 'missing'
  const [ours, theirs] = [exists ? at.database : at.staged, at.staged]
  const charsets = await Promise.all([ours, theirs].map(d => charsetOf(db, d)))
  const [old, fresh] = charsets as [Charset, Charset]
  await makeMarked(db, at.kept, old.charset, old.collation)
  const notes = {
    exists,
    fresh,
    old: exists ? await readDefinitions(db, at.database) : [],
    programs: await readDefinitions(db, at.staged),
    asleep: await eventsToWake(db, at.staged),
  }
  await db.run(
    `CREATE TABLE ${quoted(at.kept)}.${NOTES} (id int NOT NULL PRIMARY KEY, notes longtext NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4`,
  )
  await db.run(`INSERT INTO ${quoted(at.kept)}.${NOTES} VALUES (1, ${literal(JSON.stringify(notes))})`)
  await db.run(`CREATE TABLE ${quoted(at.kept)}.${PREPARED} (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB`)
}

/** A foreign key of another database would go with the table that it points to, out of the way. */
async function refuseReferences(db: Session, at: Swap): Promise<void> {
  const rows = await db.query(
    `SELECT CONSTRAINT_SCHEMA AS d, TABLE_NAME AS t, REFERENCED_TABLE_NAME AS r FROM information_schema.REFERENTIAL_CONSTRAINTS
     WHERE UNIQUE_CONSTRAINT_SCHEMA = ${literal(at.database)} AND CONSTRAINT_SCHEMA <> ${literal(at.database)}`,
  )
  if (rows.length === 0) return
  throw new BackoutError({
    code: 'referenced_from_outside',
    what: `Tables of ${nameOf(at.access.server, at.database)} are referenced by foreign keys of other databases`,
    cause: rows.map(row => `${text(row['d'])}.${text(row['t'])} references ${text(row['r'])}`).join('; '),
    next: 'drop these foreign keys, resume the run, and make them again after it',
    exit: 'blocked',
  })
}

interface Charset {
  readonly charset: string
  readonly collation: string
}

async function charsetOf(db: Session, database: string): Promise<Charset> {
  const [row] = await db.query(
    `SELECT DEFAULT_CHARACTER_SET_NAME AS charset, DEFAULT_COLLATION_NAME AS collation
     FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ${literal(database)}`,
  )
  return { charset: text(row?.['charset']), collation: text(row?.['collation']) }
}

interface Notes {
  readonly exists: boolean
  readonly fresh: Charset
  readonly old: readonly Definition[]
  readonly programs: readonly Definition[]
}

async function notesOf(db: Session, kept: string): Promise<Notes> {
  const [row] = await db.query(`SELECT notes FROM ${quoted(kept)}.${NOTES}`)
  const { exists, fresh, old, programs: loaded, asleep } = JSON.parse(text(row?.['notes'])) as Record<string, unknown>
  const events = definitions.parse(asleep)
  const programs = definitions.parse(loaded).filter(d => d.kind !== 'event')
  return {
    exists: exists === true,
    fresh: fresh as Charset,
    old: definitions.parse(old),
    programs: [...programs, ...events],
  }
}

/** Events as the backup has them: those that were loaded sleep. */
async function eventsToWake(db: Session, staged: string): Promise<readonly Definition[]> {
  const [row] = await db.query(`SELECT events FROM ${quoted(staged)}.${quoted(MARK)}`)
  return definitions.parse(JSON.parse(text(row?.['events']) || '[]'))
}

/** What acts by itself, on tables that are about to be others. A table with triggers cannot change its database. */
function acts({ kind }: Definition): boolean {
  return kind === 'trigger' || kind === 'event'
}

/** A view under the name of one of these tables, which cannot take its place beside it. */
function inTheWayOf(tables: readonly string[]): (definition: Definition) => boolean {
  // Some servers take names for the same that differ in their letter case.
  const names = new Set(tables.map(t => t.toLowerCase()))
  return ({ kind, name }) => kind === 'view' && names.has(name.toLowerCase())
}

/** An earlier try ended before the tables changed places: both sides get back what was taken from them. */
async function takeBack(db: Session, at: Swap, job: Job): Promise<void> {
  const { exists, old, programs } = await notesOf(db, at.kept)
  job.guard()
  if (exists) {
    const left = new Set(await namesOf(db, at.database, 'view'))
    const taken = old.filter(d => acts(d) || (d.kind === 'view' && !left.has(d.name)))
    await makeDefinitions(db, at.database, taken, 'as they were', 'left out')
  }
  if ((await stateOf(db, at.staged)) === 'ready') await makeDefinitions(db, at.staged, programs.filter(acts), 'asleep')
  await db.run(`DROP DATABASE ${quoted(at.kept)}`)
}

async function changePlaces(db: Session, at: Swap, job: Job): Promise<void> {
  const { exists, old, programs, fresh } = await notesOf(db, at.kept)
  if (!exists) {
    await db.run(`CREATE DATABASE ${quoted(at.database)} CHARACTER SET ${fresh.charset} COLLATE ${fresh.collation}`)
  }
  job.guard()
  await endOthers(db, at)
  await keepNumbers(db, at.staged, await highestNumbers(db, at.database))
  const [leave, come] = [await tablesOf(db, at.database), await tablesOf(db, at.staged)]
  const isInTheWay = inTheWayOf(come)
  for (const [database, all] of [
    [at.database, old.filter(d => acts(d) || isInTheWay(d))],
    [at.staged, programs.filter(acts)],
  ] as const) {
    await db.run(`USE ${quoted(database)}`)
    for (const definition of all) await drop(db, definition)
  }
  const moves = [
    ...leave.map(t => [at.database, at.kept, t, t] as const),
    ...come.map(t => [at.staged, at.database, t, t] as const),
    [at.kept, at.kept, PREPARED, SWAPPED] as const,
  ]
  const to = moves.map(([a, b, was, is]) => `${quoted(a)}.${quoted(was)} TO ${quoted(b)}.${quoted(is)}`)
  await db.run('SET SESSION foreign_key_checks = 0')
  job.guard()
  try {
    await db.run(`RENAME TABLE ${to.join(', ')}`)
  } catch (error) {
    throw error instanceof BackoutError && error.code === 'database_busy' ? await stillOpen(db, at, error) : error
  }
}

/** Tables and sequences, those of Backout's own left where they are. */
async function tablesOf(db: Session, database: string): Promise<string[]> {
  const rows = await db.query(
    `SELECT TABLE_NAME AS t FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = ${literal(database)} AND TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED') ORDER BY 1`,
  )
  return rows.map(row => text(row['t'])).filter(t => !t.startsWith('_backout_'))
}

const PATIENCE = 20

/** What others have open would keep them writing into what was put aside. */
async function endOthers(db: Session, at: Swap): Promise<void> {
  for (let tries = 0; tries < PATIENCE; tries++) {
    const others = await holdersOf(db, at.access, at.database)
    if (others.length === 0) return
    for (const { id } of others) {
      await db.run(`KILL ${id}`).catch((error: unknown) => {
        // 1094: it has ended by itself.
        if (!/unknown thread id/i.test(messageOf(error))) throw open(at, others.map(o => o.text).join('; '), error)
      })
    }
    await sleep(50)
  }
  const left = await holdersOf(db, at.access, at.database)
  if (left.length > 0) throw open(at, left.map(o => o.text).join('; '))
}

function open(at: Swap, who: string, from?: unknown): BackoutError {
  return new BackoutError({
    code: 'database_open',
    what: `The database ${nameOf(at.access.server, at.database)} is open in other sessions, which could not be ended`,
    cause: `${who}${from === undefined ? '' : `: ${messageOf(from)}`}`,
    next: 'stop what uses it, or grant CONNECTION ADMIN, then resume the run',
    exit: 'failed',
    from,
  })
}

async function stillOpen(db: Session, at: Swap, error: BackoutError): Promise<BackoutError> {
  return open(at, (await blockers(db, at.access, at.database)) || 'a session whose owner cannot be seen', error)
}

function nothingToSwap(at: Swap): BackoutError {
  return new BackoutError({
    code: 'nothing_to_swap',
    what: `There is no ${at.staged} on ${nameOf(at.access.server, null)} that could take the place of ${at.database}`,
    next: 'load the backup again, then resume the run',
    exit: 'failed',
  })
}

/** The tables are in place. Everything from here on may be done again. */
async function finish(db: Session, at: Swap): Promise<void> {
  const { old, programs, fresh } = await notesOf(db, at.kept)
  await keepNumbers(db, at.database, await highestNumbers(db, at.kept))
  await db.run(`ALTER DATABASE ${quoted(at.database)} CHARACTER SET ${fresh.charset} COLLATE ${fresh.collation}`)
  await db.run(`USE ${quoted(at.database)}`)
  const isGone = inTheWayOf(await tablesOf(db, at.database))
  for (const gone of old) if (!isGone(gone)) await drop(db, gone)
  await makeDefinitions(db, at.database, programs, 'as they were')
  await makeDefinitions(db, at.kept, old, 'asleep', 'left out')
  await db.run(`DROP DATABASE IF EXISTS ${quoted(at.staged)}`)
  await db.run(`RENAME TABLE ${quoted(at.kept)}.${SWAPPED} TO ${quoted(at.kept)}.${DONE}`)
}
