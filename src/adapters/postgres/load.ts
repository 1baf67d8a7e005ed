import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Beside, Job } from '../../data/engine.ts'
import type { PostgresSettings } from './config.ts'
import { endOf, saidByTool } from './errors.ts'
import { DUMP_FILE, DUMP_FOLDER, damaged, type Facts, factsOf, ROLES_FILE } from './facts.ts'
import { besideName, besideOf, dropDatabase, type Note, noteOn } from './image.ts'
import { type Place, type Places, shownPlace } from './place.ts'
import { commentSql, createSql, dressSql, makingSql, propertiesOf } from './properties.ts'
import type { Source } from './reader.ts'
import { APPLICATION, type Limits, one, openSession, type Session } from './session.ts'
import { unpacked } from './streams.ts'
import { findTool, runTool, type Tool } from './tools.ts'

export interface Loading {
  readonly settings: PostgresSettings
  readonly places: Places
  readonly limits: Limits
}

/** Where a copy of one use and mark lies, and how it is reached. */
export interface Spot {
  readonly place: Place
  readonly name: string
  /** The database from which it is made, renamed and dropped. */
  readonly maintenance: string
}

export function spotOf({ settings, places }: Loading, use: 'scratch' | 'swap' | 'kept', mark: string): Spot {
  const place = use === 'scratch' ? places.scratch : places.live
  const apart = use === 'scratch' ? settings.scratch?.maintenance : undefined
  const name = besideName(places.live, places.database, use, mark)
  return { place, name, maintenance: apart ?? settings.maintenance }
}

function sourceAt({ settings, limits }: Loading, spot: Spot, home: string): Source {
  return { place: spot.place, database: spot.name, limits, parallel: settings.parallel, home }
}

/** Loads a backup into a database of its own. One of an earlier try is replaced. */
export async function load(
  loading: Loading,
  backup: Backup,
  use: 'scratch' | 'swap',
  mark: string,
  job: Job,
): Promise<Beside> {
  const facts = factsOf(backup)
  const spot = spotOf(loading, use, mark)
  const source = sourceAt(loading, spot, facts.home)
  const image = besideOf(source, spot.maintenance)
  await using admin = await openSession(spot.place, spot.maintenance, loading.limits, job.signal)
  await endMaking(admin, spot.name)
  await removeOwn(admin, spot, loading.limits, job)
  await needRoles(admin, backup, facts, use)
  const properties = (use === 'swap' ? await propertiesOf(admin, loading.places.database) : null) ?? facts.properties
  const { home, origin, sequences } = facts
  const note: Note = { backout: 1, whole: false, home, origin, sequences, comment: properties.comment }
  job.guard()
  await admin.query(createSql(spot.name, properties, use === 'scratch'))
  try {
    await admin.query(commentSql(spot.name, JSON.stringify(note)))
    await restoreInto(loading, backup, facts, spot, use, job)
    if (use === 'swap') {
      job.progress({ text: `gathering statistics of ${spot.name}` })
      await using inside = await openSession(spot.place, spot.name, loading.limits, job.signal)
      await inside.query('ANALYZE')
      job.guard()
      for (const sql of dressSql(spot.name, properties)) await admin.query(sql)
    }
    job.guard()
    await admin.query(commentSql(spot.name, JSON.stringify({ ...note, whole: true })))
    return image
  } catch (error) {
    await image.drop().catch(() => {})
    job.signal.throwIfAborted()
    throw error
  }
}

/** The copy under this mark, where it was loaded whole. */
export async function foundCopy(
  loading: Loading,
  use: 'scratch' | 'swap',
  mark: string,
  signal: AbortSignal,
): Promise<Beside | null> {
  const spot = spotOf(loading, use, mark)
  await using admin = await openSession(spot.place, spot.maintenance, loading.limits, signal)
  const note = await noteOn(admin, spot.name)
  return note?.whole === true ? besideOf(sourceAt(loading, spot, note.home), spot.maintenance) : null
}

/** A process that died while the server was making it for it: that goes on, and would collide with what comes now. */
async function endMaking(admin: Session, name: string): Promise<void> {
  const making = `FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND pid <> pg_backend_pid()
    AND starts_with(query, $2)`
  const values = [APPLICATION, makingSql(name)]
  for (let tries = 0; tries < 100; tries++) {
    await admin.query(`SELECT pg_terminate_backend(pid) ${making}`, values)
    if ((await one(admin, `SELECT count(*) ${making}`, values)) === '0') return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** A process that died right after making it left it empty and without a note; anything else without one is not ours. */
async function removeOwn(admin: Session, spot: Spot, limits: Limits, job: Job): Promise<void> {
  const note = await noteOn(admin, spot.name)
  if (note === undefined) return
  if (note === null) {
    await using inside = await openSession(spot.place, spot.name, limits, job.signal)
    const objects = await one(inside, `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`)
    if (objects !== '0') {
      throw new BackoutError({
        code: 'scratch_exists',
        what: `There is a database ${spot.name} on ${spot.place.host} that Backout did not make`,
        cause: `it holds ${objects} objects, and no note of Backout's`,
        next: 'rename or drop it, then try again',
        exit: 'blocked',
      })
    }
  }
  job.guard()
  await dropDatabase(admin, spot.name)
}

async function needRoles(admin: Session, backup: Backup, facts: Facts, use: 'scratch' | 'swap'): Promise<void> {
  const needed = use === 'swap' ? [...facts.roles, ...facts.policyRoles] : facts.policyRoles
  const rows = await admin.query(
    'SELECT r AS name FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)',
    [needed],
  )
  if (rows.length === 0) return
  throw new BackoutError({
    code: 'roles_missing',
    what: `The server of ${admin.name} has no role ${rows.map(row => String(row['name'])).join(', ')}, which the backup ${backup.id} names`,
    next: `make them as ${join(backup.dir, ROLES_FILE)} says (CREATE ROLE … NOLOGIN is enough for a proof), then try again`,
    exit: 'blocked',
  })
}

async function restoreInto(
  { settings, limits }: Loading,
  backup: Backup,
  facts: Facts,
  spot: Spot,
  use: 'scratch' | 'swap',
  job: Job,
): Promise<void> {
  const { place, name } = spot
  const major = await serverMajor(spot, limits, job.signal)
  const tool = await findTool('pg_restore', settings.tools, Math.max(facts.major, major))
  const from = join(backup.dir, facts.format === 'file' ? DUMP_FILE : DUMP_FOLDER)
  const there = await stat(from).catch(() => null)
  if (there === null) throw damaged(backup.id, `${from} is not there`)
  const args = ['--no-password', `--dbname=${name}`]
  const mayComplain = complainsOfTimeout(tool, major)
  if (!mayComplain) args.push('--exit-on-error')
  if (use === 'scratch')
    args.push('--no-owner', '--no-privileges', '--no-tablespaces', '--no-publications', '--no-subscriptions')
  if (facts.format === 'folder') args.push(`--jobs=${settings.dump.jobs}`, from)
  const seen = (done: number) => job.progress({ text: `loading ${backup.id}`, done, total: there.size })
  const stdin = facts.format === 'file' ? unpacked(from, seen) : undefined
  // The note that tells that all is loaded is written safely, and everything before it with it.
  const run = { args, place, database: name, settings: ['synchronous_commit=off'] }
  job.guard()
  job.progress({ text: `loading ${backup.id}` })
  try {
    const result = await runTool(tool, stdin === undefined ? run : { ...run, stdin }, job.signal)
    if (result.code !== 0 && !(mayComplain && onlyOfTimeout(result.stderr)))
      throw refused(backup.id, shownPlace(place, name), result.stderr)
  } catch (error) {
    job.signal.throwIfAborted()
    throw error instanceof BackoutError ? error : damaged(backup.id, messageOf(error), error)
  }
}

/** From 17 on pg_restore sets what older servers do not know, and takes their answer for an error. */
function complainsOfTimeout(tool: Tool, server: number): boolean {
  return tool.major >= 17 && server < 17
}

/** Whether all that pg_restore counted as errors is that one. */
function onlyOfTimeout(stderr: string): boolean {
  const counted = Number(/errors ignored on restore: (\d+)\s*$/.exec(stderr)?.[1])
  const known = [...stderr.matchAll(/unrecognized configuration parameter "transaction_timeout"/g)].length
  return counted > 0 && counted === known
}

function refused(id: string, name: string, stderr: string): BackoutError {
  return saidByTool(name, stderr) ?? damaged(id, endOf(stderr))
}

async function serverMajor(spot: Spot, limits: Limits, signal: AbortSignal): Promise<number> {
  await using session = await openSession(spot.place, spot.name, limits, signal)
  return Math.floor(Number(await one(session, `SELECT current_setting('server_version_num')`)) / 10_000)
}
