import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import type { Dumped, Job, Reader } from '../../data/engine.ts'
import type { PostgresSettings } from './config.ts'
import { endOf, heldBy, saidByTool } from './errors.ts'
import { DUMP_FILE, DUMP_FOLDER, type Facts, ROLES_FILE } from './facts.ts'
import { shownPlace } from './place.ts'
import { propertiesOf } from './properties.ts'
import { inSnapshot, type Snapshot, type Source, systemOf } from './reader.ts'
import { lockHolders, one, openSession } from './session.ts'
import { packedFile } from './streams.ts'
import { coversOf, leavesOf, type Survey, survey } from './survey.ts'
import { findTool, runTool, type Tool } from './tools.ts'

/** Folders of the merge's staging are none of the application's. */
const LEFT_OUT = '--exclude-schema=backout_*'

/**
 * Dumps by pg_dump in the snapshot that `work` reads in, while it reads. `live`: the server in use, which a replica is
 * waited for to catch up with.
 */
export async function dump<T>(
  settings: PostgresSettings,
  source: Source,
  live: Source,
  dir: string,
  job: Job,
  work: (db: Reader) => Promise<T>,
): Promise<{ dumped: Dumped; read: T }> {
  if (source !== live) await caughtUp(source, live, settings.dump.catchUpLimit, job)
  return inSnapshot(source, job.signal, async (db, snapshot) => {
    const found = await survey(snapshot.session)
    const tool = await findTool('pg_dump', settings.tools, found.major)
    const properties = await propertiesOf(snapshot.session, source.database)
    if (properties === null) throw new BackoutError({ code: 'database_missing', what: `${source.database} is gone` })
    const rolesKept = await keepRoles(tool, settings, source, dir, job)
    const read = await together(job.signal, signal => [
      work(db),
      writeDump(settings, tool, source, snapshot, found, dir, { ...job, signal }),
    ])
    const facts: Facts = {
      kind: 'postgres',
      format: settings.dump.jobs > 1 ? 'folder' : 'file',
      home: snapshot.where.home,
      origin: snapshot.where.origin,
      major: tool.major,
      properties,
      sequences: found.sequences,
      roles: found.roles,
      policyRoles: found.policyRoles,
      tableBytes: found.tableBytes,
    }
    const made = `${tool.said} of PostgreSQL ${found.version}`
    return { dumped: { made, covers: coversOf(found), leaves: leavesOf(found, rolesKept), facts: toJson(facts) }, read }
  })
}

/** Both, or neither: when one fails the other is stopped, and the first failure is told. */
async function together<T>(
  outer: AbortSignal,
  start: (signal: AbortSignal) => [Promise<T>, Promise<void>],
): Promise<T> {
  const stop = new AbortController()
  const [read, written] = start(AbortSignal.any([outer, stop.signal]))
  for (const work of [read, written]) work.catch((error: unknown) => stop.abort(error))
  await Promise.allSettled([read, written])
  outer.throwIfAborted()
  stop.signal.throwIfAborted()
  return read
}

async function writeDump(
  settings: PostgresSettings,
  tool: Tool,
  source: Source,
  snapshot: Snapshot,
  found: Survey,
  dir: string,
  job: Job,
): Promise<void> {
  const { jobs, level, throttle } = settings.dump
  const { place, database } = source
  const name = shownPlace(place, database)
  const common = ['--no-password', `--snapshot=${snapshot.id}`, `--lock-wait-timeout=${settings.lockLimit}`, LEFT_OUT]
  const progress = (done: number) =>
    job.progress({ text: `dumping ${name}`, done: Math.min(done, found.tableBytes), total: found.tableBytes })
  progress(0)
  const failed = await (jobs > 1 ? inParallel() : asOneFile())
  if (failed !== null) throw await dumpFailed(name, failed, source)

  async function asOneFile(): Promise<string | null> {
    const { into, written } = packedFile(join(dir, DUMP_FILE), level, throttle, progress)
    written.catch(() => {})
    const args = [...common, '--format=custom', '--compress=0']
    try {
      const result = await runTool(tool, { args, place, database, stdout: into }, job.signal)
      if (result.code !== 0) return result.stderr
      await written
      return null
    } catch (error) {
      throw notWritten(dir, job.signal, error)
    }
  }

  async function inParallel(): Promise<string | null> {
    const pack = tool.major >= 16 ? `--compress=zstd:${level}` : '--compress=1'
    const args = [...common, '--format=directory', pack, `--jobs=${jobs}`, `--file=${join(dir, DUMP_FOLDER)}`]
    const result = await runTool(tool, { args, place, database }, job.signal)
    return result.code === 0 ? null : result.stderr
  }
}

function notWritten(dir: string, signal: AbortSignal, error: unknown): unknown {
  signal.throwIfAborted()
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (!/^E[A-Z]+$/.test(code)) return error
  return new BackoutError({
    code: code === 'ENOSPC' || code === 'EDQUOT' ? 'disk_full' : 'backup_failed',
    what: `The dump could not be written to ${dir}; nothing of it was kept`,
    cause: messageOf(error),
    next: 'see that the disk of the backups has room for the packed database, then try again',
    exit: 'failed',
    from: error,
  })
}

async function dumpFailed(name: string, stderr: string, { place, database }: Source): Promise<BackoutError> {
  const known = saidByTool(name, stderr)
  if (known?.code === 'database_busy') return heldBy(name, new Error(endOf(stderr)), await lockHolders(place, database))
  if (known !== null) return known
  return new BackoutError({
    code: 'backup_failed',
    what: `The database ${name} could not be dumped; nothing of the dump was kept`,
    cause: endOf(stderr),
    next: 'repair what it names, then try again',
    exit: 'failed',
  })
}

/** Roles belong to the server. False where this role may not read them: the dump is whole without. */
async function keepRoles(
  tool: Tool,
  settings: PostgresSettings,
  { place }: Source,
  dir: string,
  job: Job,
): Promise<boolean> {
  const path = tool.path.includes('/') ? join(dirname(tool.path), 'pg_dumpall') : 'pg_dumpall'
  const file = join(dir, ROLES_FILE)
  const args = ['--no-password', '--roles-only', '--no-role-passwords', `--database=${settings.maintenance}`]
  const stdout = createWriteStream(file, { mode: 0o600 })
  const run = { args, place, database: settings.maintenance, stdout }
  try {
    const { code } = await runTool({ ...tool, path }, run, job.signal)
    if (code === 0) return true
  } catch (error) {
    throw notWritten(dir, job.signal, error)
  }
  await rm(file, { force: true })
  return false
}

/** Waits until the replica has everything that the server in use has now. Throws `replica_behind`, `replica_of_another`. */
async function caughtUp(source: Source, live: Source, limitMs: number, job: Job): Promise<void> {
  await using primary = await openSession(live.place, live.database, live.limits, job.signal)
  await using replica = await openSession(source.place, source.database, source.limits, job.signal)
  const systems = [await systemOf(primary), await systemOf(replica)]
  // Where the number may not be asked for, the address stands in for it: those differ.
  if (systems[0] !== systems[1] && systems.every(s => /^\d+$/.test(s))) {
    throw new BackoutError({
      code: 'replica_of_another',
      what: `${replica.name} is no replica of ${primary.name}`,
      next: 'correct `dump.from`, or leave it out',
      exit: 'blocked',
    })
  }
  const wanted = await one(primary, 'SELECT pg_current_wal_lsn()')
  const there = `SELECT NOT pg_is_in_recovery() OR coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)`
  const until = performance.now() + limitMs
  while ((await one(replica, there, [wanted])) !== 'true') {
    if (performance.now() > until) {
      throw new BackoutError({
        code: 'replica_behind',
        what: `The replica ${replica.name} did not catch up within ${limitMs} ms`,
        next: 'look at its replication, raise `dump.catchUpLimit`, or leave `dump.from` out',
        exit: 'failed',
      })
    }
    job.progress({ text: `waiting for ${replica.name} to catch up` })
    await new Promise(resolve => setTimeout(resolve, 200))
  }
}
