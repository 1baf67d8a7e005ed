import { setTimeout as sleep } from 'node:timers/promises'
import { BackoutError } from '../../core/errors.ts'
import type { Image, Job } from '../../data/engine.ts'
import { holdersOf } from './holders.ts'
import { besideName, imageOf, MARK, type Note, noteOn } from './image.ts'
import { type Loading, spotOf } from './load.ts'
import { quote } from './names.ts'
import { shownPlace } from './place.ts'
import { commentSql } from './properties.ts'
import { issued, keepIssued } from './sequences.ts'
import { openSession, type Session, textOf } from './session.ts'

/** The three databases of one swap. */
interface Three {
  readonly live: string
  readonly staged: string
  readonly kept: string
}

function threeOf(loading: Loading, mark: string): Three {
  const name = (use: 'swap' | 'kept') => spotOf(loading, use, mark).name
  return { live: loading.places.database, staged: name('swap'), kept: name('kept') }
}

const TRIES = 3
const AGAIN_MS = 100

/**
 * Puts the staged database in the live one's place by two renames; a process that died between them is taken up where it
 * was. A rename holds a lock that lets nobody in, and waits a while for others to be gone: they are ended meanwhile.
 */
export async function swap(loading: Loading, mark: string, job: Job): Promise<void> {
  const three = threeOf(loading, mark)
  await using admin = await openSession(loading.places.live, loading.settings.maintenance, loading.limits, job.signal)
  const there = await whichAre(admin, three)
  const note = there.staged ? await noteOn(admin, three.staged) : null
  if (!there.staged) {
    if (there.live && there.kept) {
      await finish(admin, three, job)
      return
    }
    throw nothingLoaded(three)
  }
  if (note?.whole !== true) throw nothingLoaded(three)
  if (there.live && there.kept) throw again(loading, three)
  if (there.live) await setAside(loading, admin, three, job)
  try {
    if (there.live || there.kept) await carryNumbers(loading, three, note, job)
    job.progress({ text: `putting ${three.staged} in the place of ${three.live}` })
    await rename(loading, admin, three.staged, three.live, job)
  } catch (error) {
    // Nothing is in the database's place: the old one goes back to it.
    if (there.live) await putBack(loading, three)
    throw error
  }
  await admin.query(commentSql(three.live, note.comment))
}

/** The old database under this mark; null where nothing was swapped, or only half. */
export async function keptUnder(loading: Loading, mark: string, signal: AbortSignal): Promise<Image | null> {
  const three = threeOf(loading, mark)
  const { settings, limits, places } = loading
  await using admin = await openSession(places.live, settings.maintenance, limits, signal)
  const there = await whichAre(admin, three)
  if (!there.kept || !there.live) return null
  return imageOf({ place: places.live, database: three.kept, limits, parallel: settings.parallel, home: null })
}

/**
 * The database that a swap set aside and put nothing in the place of, because its process died: until that is finished it is
 * what there is. null: no swap is half done, or the database is there.
 */
export async function setAsideBy(loading: Loading, signal: AbortSignal): Promise<string | null> {
  const { places, settings, limits } = loading
  await using admin = await openSession(places.live, settings.maintenance, limits, signal)
  const [swap, kept] = (['swap', 'kept'] as const).map(use => besideName(places.live, places.database, use, ''))
  const rows = await admin.query(
    `SELECT k.datname AS name FROM pg_database k JOIN pg_database s ON right(k.datname, ${MARK}) = right(s.datname, ${MARK})
     WHERE left(k.datname, -${MARK}) = left($1, -${MARK}) AND left(s.datname, -${MARK}) = left($2, -${MARK})
       AND NOT EXISTS (SELECT FROM pg_database WHERE datname = $3)`,
    [kept, swap, places.database],
  )
  return rows.length === 1 ? textOf(rows[0], 'name') : null
}

async function whichAre(admin: Session, three: Three): Promise<Record<keyof Three, boolean>> {
  const rows = await admin.query('SELECT datname FROM pg_database WHERE datname = ANY ($1::text[])', [
    Object.values(three),
  ])
  const names = rows.map(row => String(row['datname']))
  return { live: names.includes(three.live), staged: names.includes(three.staged), kept: names.includes(three.kept) }
}

async function setAside(loading: Loading, admin: Session, { live, kept }: Three, job: Job): Promise<void> {
  await mayBeSwapped(admin, shownPlace(loading.places.live, live), live)
  const stay = await admin.query(`SELECT pid FROM (${SESSIONS}) AS s WHERE NOT may`, [live])
  if (stay.length > 0) throw await stillOpen(admin, live)
  job.progress({ text: `ending the sessions of ${live}` })
  await rename(loading, admin, live, kept, job)
}

async function carryNumbers(loading: Loading, { staged, kept }: Three, note: Note, job: Job): Promise<void> {
  const { places, limits } = loading
  await using old = await openSession(places.live, kept, limits, job.signal)
  await using fresh = await openSession(places.live, staged, limits, job.signal)
  job.guard()
  await keepIssued(fresh, await issued(old), note)
}

async function rename(loading: Loading, admin: Session, from: string, to: string, job: Job): Promise<void> {
  const { places, settings, limits } = loading
  await using helper = await openSession(places.live, settings.maintenance, limits, job.signal)
  for (let tries = 1; ; tries++) {
    job.guard()
    try {
      await whileEnding(helper, from, admin.query(`ALTER DATABASE ${quote(from)} RENAME TO ${quote(to)}`))
      return
    } catch (error) {
      const open = error instanceof BackoutError && ['database_open', 'database_busy'].includes(error.code)
      if (!open) throw error
      if (tries >= TRIES) throw await stillOpen(helper, from, error)
    }
  }
}

/** Ends others' sessions again and again until the work is over, which waits for that. */
async function whileEnding(helper: Session, database: string, work: Promise<unknown>): Promise<void> {
  const over = work.then(
    () => true,
    () => true,
  )
  do await end(helper, database)
  while (!(await Promise.race([over, sleep(AGAIN_MS, false)])))
  await work
}

/** Other sessions of the database `$1`, and whether this role may end them. */
const SESSIONS = `SELECT a.pid, me.rolsuper OR (NOT coalesce(r.rolsuper, false)
    AND (coalesce(pg_has_role(r.oid, 'USAGE'), false) OR pg_has_role('pg_signal_backend', 'USAGE'))) AS may
  FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid, pg_roles me
  WHERE me.rolname = current_user AND a.datname = $1 AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL`

async function end(helper: Session, database: string): Promise<void> {
  await helper.query(`SELECT pg_terminate_backend(pid) FROM (${SESSIONS}) AS s WHERE may`, [database])
}

async function stillOpen(helper: Session, database: string, error?: BackoutError): Promise<BackoutError> {
  const holders = await holdersOf(helper, database)
  const who = holders.map(h => h.text).join('\n')
  return new BackoutError({
    code: 'database_open',
    what: `The database ${database} is still in use, and this role may not end those who use it`,
    cause: who === '' ? error?.why : who,
    next: 'stop them, or give the role pg_signal_backend, then resume the run',
    exit: 'failed',
    ...(error === undefined ? {} : { from: error }),
  })
}

/** What a rename would break, or be stopped by, that ending sessions does not help against. */
async function mayBeSwapped(admin: Session, name: string, database: string): Promise<void> {
  const prepared = await admin.query('SELECT gid FROM pg_prepared_xacts WHERE database = $1', [database])
  const subscribed = await admin.query(
    `SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE subenabled AND datname = $1`,
    [database],
  )
  const found = [
    ...prepared.map(row => `prepared transaction ${String(row['gid'])}: COMMIT PREPARED or ROLLBACK PREPARED it`),
    ...subscribed.map(row => `subscription ${String(row['subname'])} writes into it: ALTER SUBSCRIPTION … DISABLE`),
  ]
  if (found.length === 0) return
  throw new BackoutError({
    code: 'database_open',
    what: `The database ${name} cannot be set aside`,
    cause: found.join('\n'),
    next: 'do what is said there, then resume the run',
    exit: 'failed',
  })
}

async function putBack(loading: Loading, { live, kept }: Three): Promise<void> {
  const signal = AbortSignal.timeout(60_000)
  await using admin = await openSession(loading.places.live, loading.settings.maintenance, loading.limits, signal)
  const there = await whichAre(admin, { live, kept, staged: live })
  if (!there.live) await admin.query(`ALTER DATABASE ${quote(kept)} RENAME TO ${quote(live)}`)
}

/** Both renames were done; the note may still be there. */
async function finish(admin: Session, { live }: Three, job: Job): Promise<void> {
  const note = await noteOn(admin, live)
  if (note == null) return
  job.guard()
  await admin.query(commentSql(live, note.comment))
}

function nothingLoaded({ live, staged }: Three): BackoutError {
  return new BackoutError({
    code: 'nothing_loaded',
    what: `There is no whole copy ${staged} to be put in the place of ${live}`,
    next: 'load the backup again: resume the run',
    exit: 'failed',
  })
}

function again({ places }: Loading, { live, kept }: Three): BackoutError {
  return new BackoutError({
    code: 'restored_and_changed',
    what: `${shownPlace(places.live, live)} was restored by this step already, and is not what the backup held any more`,
    next: `compare it with the database ${kept} by hand, then resolve the step`,
    exit: 'failed',
  })
}
