import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdDecompress } from 'node:zlib'
import type { Backup } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { dumpedIn } from '../../data/dumped.ts'
import type { Beside, Image, Job, Reader } from '../../data/engine.ts'
import { runLocal } from '../../exec/local.ts'
import { withoutRows } from '../../exec/without-rows.ts'
import type { MysqlSettings } from './config.ts'
import { makeDefinitions } from './definitions.ts'
import { DUMP, type DumpFacts, dumpFacts, NO_LIMIT_MS } from './dump.ts'
import { explained } from './errors.ts'
import { loadFloats } from './floats.ts'
import { LONGEST, literal, quoted } from './names.ts'
import { type Access, connect, nameOf, type Session, WRITE_MODE } from './session.ts'
import { inSnapshot } from './snapshot.ts'
import { findTool, reach } from './tools.ts'

/** A table in each database that Backout made, which says what it is. */
export const MARK = '_backout_mark'

/** A database of Backout's own beside the live one. */
export interface MysqlImage extends Image {
  readonly database: string
  readonly access: Access
  /** Runs `work` in a session on its server. */
  on<T>(signal: AbortSignal, work: (db: Session) => Promise<T>): Promise<T>
}

export function besideName(database: string, use: 'try' | 'new' | 'old' | 'rows', mark: string): string {
  const end = `_backout_${use}_${createHash('sha256').update(`${database}\0${mark}`).digest('hex').slice(0, 12)}`
  return `${Array.from(database)
    .slice(0, LONGEST - end.length)
    .join('')}${end}`
}

export function imageOf(access: Access, database: string): MysqlImage {
  return {
    name: nameOf(access.server, database),
    database,
    access,
    // Nobody writes into it: sessions need no lock to see one instant.
    reading: <T>(signal: AbortSignal, work: (db: Reader) => Promise<T>) =>
      inSnapshot(access, database, 'frozen', signal, work),
    async on(signal, work) {
      await using db = await connect(access, database, signal)
      return await work(db)
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

export function besideOf(access: Access, database: string): Beside & MysqlImage {
  return {
    ...imageOf(access, database),
    async drop() {
      await using db = await connect(access, null, new AbortController().signal, WRITE_MODE)
      await db.run(`DROP DATABASE IF EXISTS ${quoted(database)}`)
    },
  }
}

/** What the database says it is; null: there is none, or it is not Backout's own. */
export async function stateOf(
  db: Session,
  database: string,
): Promise<'missing' | 'empty' | 'foreign' | 'loading' | 'ready'> {
  const rows = await db.query(
    `SELECT s.SCHEMA_NAME AS s, t.TABLE_NAME AS t FROM information_schema.SCHEMATA s
     LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME WHERE s.SCHEMA_NAME = ${literal(database)}`,
  )
  if (rows.length === 0) return 'missing'
  if (rows.every(row => row['t'] === null)) return 'empty'
  if (!rows.some(row => row['t'] === MARK)) return 'foreign'
  const [row] = await db.query(`SELECT state FROM ${quoted(database)}.${quoted(MARK)}`)
  return row?.['state'] === 'ready' ? 'ready' : 'loading'
}

/** Makes an empty database that is marked as Backout's own; one that is there already is replaced, where it is one. */
export async function makeMarked(db: Session, database: string, charset: string, collation: string): Promise<void> {
  if ((await stateOf(db, database)) === 'foreign') {
    throw new BackoutError({
      code: 'database_exists',
      what: `There is a database ${nameOfDatabase(db, database)} already, and Backout did not make it`,
      next: 'look what it is, and rename or drop it',
      exit: 'failed',
    })
  }
  await db.run(`DROP DATABASE IF EXISTS ${quoted(database)}`)
  await db.run(`CREATE DATABASE ${quoted(database)} CHARACTER SET ${charset} COLLATE ${collation}`)
  await db.run(
    `CREATE TABLE ${quoted(database)}.${quoted(MARK)} (state varchar(20) NOT NULL PRIMARY KEY, events longtext) ENGINE=InnoDB CHARACTER SET utf8mb4`,
  )
  await db.run(`INSERT INTO ${quoted(database)}.${quoted(MARK)} VALUES ('loading', NULL)`)
}

function nameOfDatabase(db: Session, database: string): string {
  return `${database} on ${db.name}`
}

/** Loads the dump into a database of its own, events asleep. */
export async function load(
  settings: MysqlSettings,
  access: Access,
  database: string,
  backup: Backup,
  job: Job,
): Promise<Beside & MysqlImage> {
  const facts = factsOf(backup)
  await using db = await connect(access, null, job.signal, WRITE_MODE)
  if (facts.mariadb !== db.flavour.mariadb) throw otherKind(backup, facts, db)
  job.guard()
  await makeMarked(db, database, facts.charset, facts.collation)
  try {
    await feed(settings, access, database, backup, db, job)
    await loadFloats(db, database, backup.dir)
    await makeDefinitions(db, database, facts.events, 'asleep')
    await db.run(
      `UPDATE ${quoted(database)}.${quoted(MARK)} SET state = 'ready', events = ${literal(JSON.stringify(facts.events))}`,
    )
  } catch (error) {
    await db.run(`DROP DATABASE IF EXISTS ${quoted(database)}`).catch(() => {})
    throw error
  }
  return besideOf(access, database)
}

export function factsOf(backup: Backup): DumpFacts {
  const { data } = dumpFacts.safeParse(dumpedIn(backup)?.facts)
  if (data !== undefined) return data
  throw damaged(backup, 'it does not say what loading it needs')
}

function otherKind(backup: Backup, facts: DumpFacts, db: Session): BackoutError {
  return new BackoutError({
    code: 'backup_damaged',
    what: `The backup ${backup.id} is of ${facts.mariadb ? 'MariaDB' : 'MySQL'} ${facts.version}, and ${db.name} is ${db.flavour.version}`,
    next: 'load it on a server of its own kind: look at `scratch:`',
    exit: 'blocked',
  })
}

function damaged(backup: Backup, cause: string, from?: unknown): BackoutError {
  return new BackoutError({
    code: 'backup_damaged',
    what: `The backup ${backup.id} cannot be loaded`,
    cause,
    next: 'take an earlier backup: `backout releases` lists them',
    exit: 'blocked',
    from,
  })
}

async function feed(
  settings: MysqlSettings,
  access: Access,
  database: string,
  backup: Backup,
  db: Session,
  job: Job,
): Promise<void> {
  const tool = await findTool('client', db.flavour, settings.tools, access.baseDir, job.signal)
  const { args, env } = reach(tool, access.server, access.baseDir)
  let whole = false
  const sql = loadable(backup, job, () => (whole = true))
  const unpacked = pipeline(createReadStream(join(backup.dir, DUMP)), createZstdDecompress(), sql).then(
    () => null,
    (error: unknown) => error,
  )
  const argv = [tool.path, ...args, '--binary-mode', '--max-allowed-packet=1G', `--database=${database}`]
  const ended = await runLocal({ argv, env, stdin: sql, limitMs: NO_LIMIT_MS }, job.signal).catch(
    async (error: unknown) => {
      sql.destroy()
      job.signal.throwIfAborted()
      throw damaged(backup, messageOf((await unpacked) ?? error), error)
    },
  )
  if (ended.code !== 0) throw refused(backup, access, database, saidOf(ended.stderr))
  const broken = await unpacked
  if (broken !== null) throw damaged(backup, messageOf(broken), broken)
  if (!whole) throw damaged(backup, 'its end is missing')
}

/** It repeats the rows that it could not load, and only then says why. */
function saidOf(stderr: string): string {
  const said = withoutRows(stderr).trim()
  return /^ERROR \d[\s\S]*/m.exec(said)?.[0] ?? said
}

/** The client's words, told apart: the server that went away is no fault of the backup. */
function refused(backup: Backup, access: Access, database: string, said: string): unknown {
  const errno = Number(/ERROR (\d+)/.exec(said)?.[1] ?? 0)
  const network = [2002, 2003, 2005, 2006, 2013, 2026].includes(errno)
  const error = Object.assign(new Error(said), network ? { code: 'ECONNRESET' } : { errno })
  const meaning = explained(nameOf(access.server, database), error)
  const known = ['database_unreachable', 'disk_full', 'database_denied']
  return meaning instanceof BackoutError && known.includes(meaning.code) ? meaning : damaged(backup, said, error)
}

/**
 * The dump as any client takes it: without the first line of newer dumps, which older clients do not know, and with dates
 * that the calendar does not have, because they were there.
 */
function loadable(backup: Backup, job: Job, complete: () => void): Transform {
  let head: Buffer | null = Buffer.alloc(0)
  let tail = ''
  let done = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, then) {
      done += chunk.length
      job.progress({ text: `loading ${backup.id}`, done })
      tail = (tail + chunk.subarray(-100).toString('latin1')).slice(-100)
      if (head === null) return then(null, chunk)
      head = Buffer.concat([head, chunk])
      if (head.length < 4096) return then()
      const fit = head
      head = null
      return then(null, fitted(fit))
    },
    flush(then) {
      if (tail.includes('-- Dump completed')) complete()
      then(null, head === null ? undefined : fitted(head))
    },
  })
}

export function fitted(head: Buffer): Buffer {
  const sandbox = /^\/\*M?!999999\\- [^\n]*\n/
  return Buffer.from(
    head
      .toString('latin1')
      .replace(sandbox, '')
      .replace(`SQL_MODE='NO_AUTO_VALUE_ON_ZERO'`, `SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'`),
    'latin1',
  )
}
