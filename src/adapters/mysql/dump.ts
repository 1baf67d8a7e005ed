import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { addAbortSignal, Transform, type TransformCallback } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdCompress } from 'node:zlib'
import { z } from 'zod'
import { systemClock } from '../../core/clock.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import type { Dumped, Job, Reader } from '../../data/engine.ts'
import { runLocal } from '../../exec/local.ts'
import { withoutRows } from '../../exec/without-rows.ts'
import { bytesOf, type MysqlSettings, type ServerSettings } from './config.ts'
import { definitions, readDefinitions } from './definitions.ts'
import { writeFloats } from './floats.ts'
import { literal, text } from './names.ts'
import { extents } from './schema.ts'
import { type Access, connect, nameOf, type Session } from './session.ts'
import { BEGIN, LANES, LARGE, readerOn } from './snapshot.ts'
import { holdStill } from './still.ts'
import { findTool, reach, type Tool } from './tools.ts'

export const DUMP = 'database.sql.zst'

/** What loading it needs beyond the dump itself. */
export const dumpFacts = z.object({
  format: z.literal(1),
  mariadb: z.boolean(),
  version: z.string(),
  charset: z.string(),
  collation: z.string(),
  /** As they were: the dump has none, for they would run wherever it is loaded. */
  events: definitions,
})
export type DumpFacts = z.infer<typeof dumpFacts>

const BEFORE_THE_FIRST = /^-- (?:Table|Sequence|Temporary|Dumping|Final|View|Dump completed)/m
/** The job's own signal is what ends it. */
export const NO_LIMIT_MS = 2_000_000_000
const LAST_WORDS = '-- Dump completed'

/** Dumps with the server's own tool, in the instant that `work` reads. */
export async function dump<T>(
  settings: MysqlSettings,
  live: Access,
  dir: string,
  job: Job,
  work: (db: Reader) => Promise<T>,
): Promise<{ dumped: Dumped; read: T }> {
  const { database } = settings
  const server: ServerSettings = settings.dump.from ?? settings
  const access = { ...live, server }
  await using stack = new AsyncDisposableStack()
  const failing = new AbortController()
  const signal = AbortSignal.any([job.signal, failing.signal])
  const first = stack.use(await connect(access, database, signal))
  const tool = await findTool('dump', first.flavour, settings.tools, access.baseDir, signal)
  const known = await extents(first, database)
  const bytes = [...known.values()].reduce((sum, e) => sum + e.bytes, 0)
  const sessions: [Session, ...Session[]] = [first]
  const more = bytes >= LARGE ? LANES - 1 : 0
  for (let i = 0; i < more; i++) sessions.push(stack.use(await connect(access, database, signal)))
  const facts = await factsOf(first, database)
  const counting = await countedBySequences(first, database)
  const still = stack.use(await holdStill(access, database, settings.dump.lock, known, signal))
  await Promise.all(sessions.map(s => s.run(BEGIN)))
  const begun = Promise.withResolvers<void>()
  const tracks = [
    runTool(tool, { settings, server, access, dir, bytes, job, signal, begun: begun.resolve }),
    begun.promise.then(async () => {
      await still.release()
      const read = await work(readerOn({ sessions, database, extents: known }))
      await writeFloats(first, database, dir)
      return read
    }),
  ] as const
  begun.promise.catch(() => {})
  try {
    const [, read] = await Promise.all(tracks)
    return { dumped: dumpedOf(tool, first, settings, known, { facts, counting }), read }
  } catch (error) {
    failing.abort(error)
    begun.reject(error)
    await Promise.allSettled(tracks)
    job.signal.throwIfAborted()
    throw error
  }
}

async function factsOf(db: Session, database: string): Promise<DumpFacts> {
  const [row] = await db.query(
    `SELECT DEFAULT_CHARACTER_SET_NAME AS charset, DEFAULT_COLLATION_NAME AS collation
     FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ${literal(database)}`,
  )
  const { mariadb, version } = db.flavour
  return {
    format: 1,
    mariadb,
    version,
    charset: String(row?.['charset']),
    collation: String(row?.['collation']),
    events: await readDefinitions(db, database, 'event'),
  }
}

/** Columns whose default takes the number of a sequence, which it names with its database. */
async function countedBySequences(db: Session, database: string): Promise<string[]> {
  const rows = await db.query(
    `SELECT TABLE_NAME AS t, COLUMN_NAME AS c FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = ${literal(database)} AND COLUMN_DEFAULT LIKE 'nextval(%' ORDER BY 1, 2`,
  )
  return rows.map(row => `${text(row['t'])}.${text(row['c'])}`)
}

function dumpedOf(
  tool: Tool,
  { flavour }: Session,
  settings: MysqlSettings,
  known: Awaited<ReturnType<typeof extents>>,
  { facts, counting }: { readonly facts: DumpFacts; readonly counting: readonly string[] },
): Dumped {
  const loose = [...known].filter(([, e]) => e.loose).map(([table]) => table)
  return {
    made: `${tool.shown} of ${flavour.mariadb ? 'MariaDB' : 'MySQL'} ${flavour.version}`,
    covers: [
      'tables with their rows, keys and checks',
      'views, triggers, functions, procedures and events with their definers',
      ...(flavour.mariadb ? ['sequences with the numbers that they issued'] : []),
      ...(settings.dump.from === undefined ? [] : [`as the replica ${nameOf(settings.dump.from, null)} had it`]),
      ...(loose.length === 0
        ? []
        : [`${loose.join(', ')}: not transactional, so writers of them waited until the end`]),
    ],
    leaves: [
      'users and rights of the server',
      'other databases, which views, triggers and routines may name',
      'history of tables with system versioning',
      ...(counting.length === 0
        ? []
        : [
            `${counting.join(', ')}: a server without the sequence in ${settings.database} that the default names takes no such table`,
          ]),
    ],
    facts: toJson(facts),
  }
}

interface Run {
  readonly settings: MysqlSettings
  readonly server: ServerSettings
  readonly access: Access
  readonly dir: string
  readonly bytes: number
  readonly job: Job
  readonly signal: AbortSignal
  /** Called once the tool has its snapshot. */
  begun(): void
}

async function runTool(tool: Tool, run: Run): Promise<void> {
  const { args, env } = reach(tool, run.server, run.access.baseDir)
  const options = [
    '--single-transaction',
    '--quick',
    '--skip-lock-tables',
    '--hex-blob',
    '--routines',
    '--triggers',
    '--skip-events',
    '--skip-dump-date',
    '--comments',
    '--no-autocommit',
    // A table whose numbers come from a sequence could not be filled under them. Nobody else is where it is loaded.
    '--skip-add-locks',
    '--no-tablespaces',
    '--max-allowed-packet=1G',
    ...(tool.mariadb ? [] : ['--set-gtid-purged=OFF', '--column-statistics=0']),
  ]
  let tail = ''
  const { throttle } = run.settings.dump
  const watch = watching(run, throttle === undefined ? Infinity : bytesOf(throttle), text => (tail = text))
  const level = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 }
  const file = createWriteStream(join(run.dir, DUMP), { mode: 0o600 })
  addAbortSignal(run.signal, watch)
  const written = pipeline(watch, createZstdCompress({ params: level }), file).then(
    () => null,
    (error: unknown) => error,
  )
  const argv = [tool.path, ...args, ...options, run.settings.database]
  const ended = await runLocal({ argv, env, stdout: watch, limitMs: NO_LIMIT_MS }, run.signal).catch(
    async (error: unknown) => {
      watch.destroy()
      run.signal.throwIfAborted()
      const cause = (await written) ?? error
      throw failed(run, messageOf(cause), cause)
    },
  )
  const lost = await written
  if (lost !== null) throw failed(run, messageOf(lost), lost)
  const said = withoutRows(ended.stderr).trim()
  if (ended.code !== 0 || !tail.includes(LAST_WORDS))
    throw failed(run, said || `${tool.shown} ended with ${ended.code}`)
}

function failed(run: Run, cause: string, from?: unknown): BackoutError {
  const full = /ENOSPC|no space left/i.test(cause)
  const gone = /\b(2002|2003|2006|2013)\b/.test(cause)
  return new BackoutError({
    code: 'backup_failed',
    what: `${nameOf(run.server, run.settings.database)} could not be dumped to ${join(run.dir, DUMP)}`,
    cause,
    next: full
      ? 'free space on the disk of the backups, then try again'
      : gone
        ? 'see that the server runs, then try again'
        : 'see to the cause, then try again; docs/adapters/mysql.md lists the rights that a dump needs',
    exit: 'failed',
    from,
  })
}

/** Lets bytes through: not faster than so many a second, and tells how far it is and when the first table comes. */
function watching(run: Run, perSecond: number, tell: (tail: string) => void): Transform {
  let done = 0
  let head: string | null = ''
  let tail = ''
  const start = systemClock.mono()
  const pass = (chunk: Buffer, then: TransformCallback) => {
    done += chunk.length
    if (head !== null) {
      head += chunk.toString('latin1')
      if (BEFORE_THE_FIRST.test(head)) {
        head = null
        run.begun()
      }
    }
    // The last words may come in two pieces.
    tail = (tail + chunk.subarray(-200).toString('latin1')).slice(-200)
    tell(tail)
    run.job.progress({ text: `dumping ${run.settings.database}`, done, total: Math.max(done, run.bytes) })
    const early = (done / perSecond) * 1000 - (systemClock.mono() - start)
    if (early <= 1) then(null, chunk)
    else setTimeout(() => then(null, chunk), early)
  }
  return new Transform({ transform: (chunk: Buffer, _encoding, then) => pass(chunk, then) })
}
