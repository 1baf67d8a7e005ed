import { constants } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { backup as copyPages, DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { iso, systemClock } from '../../core/clock.ts'
import type { Backup, BackupAbout, CaptureAct, Proof, StepAct } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { fingerprintShape } from '../../data/fingerprint.ts'
import { NO_RENAMES, renameShape } from '../../data/renames.ts'
import { compareSchemas, schemaShape } from '../../data/schema.ts'
import type { SqlitePin } from './config.ts'
import { all, explained, isBusy, openFrozen, reading } from './database.ts'
import { fingerprint } from './fingerprint.ts'
import { writeAside } from './measure.ts'
import { type Baseline, candidates, findRenames } from './renames.ts'
import { type Live, type Place, readLive, type Site } from './site.ts'

export const COPY = 'database.sqlite'
const PAGES_AT_ONCE = 5_000

/** What a backup knows of itself. */
const backupFacts = z.object({
  kind: z.literal('sqlite'),
  identity: z.string(),
  at: z.string(),
  level: z.object({ tool: z.string().nullable(), applied: z.array(z.string()) }),
  schema: schemaShape,
  fingerprint: fingerprintShape,
  journal: z.string(),
  mode: z.number(),
  /** What going down would destroy, written out: name of the data -> file. */
  lost: z.record(z.string(), z.string()),
  /** What going down must bring back under its old name, as the fingerprint has it under the new one. */
  renames: z.array(renameShape).default([]),
})
export type BackupFacts = z.infer<typeof backupFacts>

type Act = CaptureAct | StepAct

/** What going down goes back to. */
export const releaseShape = z.object({
  schema: schemaShape,
  /** Id of the release's backup. */
  backup: z.string().nullable(),
  /** Of the tables in which something may have been renamed. */
  data: fingerprintShape,
})
export type Release = z.infer<typeof releaseShape>

/**
 * Copies the database while others may go on using it: copy, schema and fingerprint are of one instant.
 * `release`: what is in the database beyond its schema is written out as well; what was renamed since is told.
 */
export async function makeBackup(
  site: Site,
  place: Place,
  act: Act,
  about: BackupAbout,
  release: Release | null = null,
): Promise<Backup> {
  const base = release === null ? null : await baselineOf(site, place, act, release)
  const draft = await act.backups.begin(about)
  try {
    const facts = await reading({ ...place, beside: base?.copy ?? null }, async db => {
      const live = readLive(site, db)
      act.progress({ text: `copying ${place.file}` })
      await copy(db, join(draft.dir, COPY), act)
      act.progress({ text: 'taking the fingerprint' })
      return factsOf(site, place, db, live, draft.dir, base)
    })
    return await draft.seal(toJson(facts))
  } catch (error) {
    await draft.discard()
    throw await explained(place.file, error)
  }
}

async function baselineOf(site: Site, place: Place, act: Act, release: Release): Promise<Baseline> {
  const { schema } = await reading(place, db => readLive(site, db))
  const asked = candidates(release.schema, schema).length > 0
  return { ...release, copy: asked ? await wholeCopy(act, release.backup) : null }
}

/** The file of a backup that is there and as it was made. */
export async function wholeCopy(act: Pick<Act, 'backups' | 'signal'>, id: string | null): Promise<string | null> {
  if (id === null) return null
  const backup = await act.backups.get(id).catch(() => null)
  if (backup === null || factsIn(backup) === null) return null
  return (await act.backups.check(id, act.signal)).length > 0 ? null : join(backup.dir, COPY)
}

async function factsOf(
  site: Site,
  place: Place,
  db: DatabaseSync,
  live: Live,
  dir: string,
  base: Baseline | null,
): Promise<BackupFacts> {
  const extra = new Set(live.level.applied)
  const declared = site.config.loses.filter(l => extra.has(l.migration))
  const { renames } = base === null ? NO_RENAMES : await findRenames(db, base, live.schema, place.signal)
  return {
    kind: 'sqlite',
    identity: place.identity,
    at: iso(systemClock.now()),
    level: { tool: live.level.tool, applied: [...live.level.applied] },
    schema: live.schema,
    fingerprint: await fingerprint(db, live.schema, place.signal),
    journal: String(all(db, 'PRAGMA main.journal_mode')[0]?.['journal_mode']),
    mode: (await stat(place.file)).mode & 0o777,
    lost: base === null ? {} : await writeAside(db, base.schema, live.schema, declared, renames, dir),
    renames: renames.map(({ was, now }) => ({ was, now })),
  }
}

async function copy(db: DatabaseSync, to: string, act: Act): Promise<void> {
  await rm(to, { force: true })
  try {
    await copyPages(db, to, {
      rate: PAGES_AT_ONCE,
      progress: ({ totalPages, remainingPages }) => {
        act.signal.throwIfAborted()
        act.progress({ text: 'copying pages', done: totalPages - remainingPages, total: totalPages })
      },
    })
    // One file that stands for itself: a database in WAL mode would want to write files beside it when read.
    const copied = new DatabaseSync(to)
    copied.exec('PRAGMA journal_mode = DELETE')
    copied.close()
  } catch (error) {
    act.signal.throwIfAborted()
    throw isBusy(error) ? error : failed(to, error)
  }
}

function failed(to: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'backup_failed',
    what: `The database could not be copied to ${to}; nothing of the copy was kept`,
    cause: messageOf(error),
    next: 'see that the disk of the backups has room for another copy of the database, then try again',
    exit: 'failed',
    from: error,
  })
}

export function factsIn(backup: Backup): BackupFacts | null {
  return backupFacts.safeParse(backup.facts).data ?? null
}

export function pinOf(backup: Backup, facts: BackupFacts): SqlitePin {
  const { identity, at, level, schema, fingerprint } = facts
  return { identity, at, backup: backup.id, level, schema, fingerprint }
}

/** Puts the content of a backup at `to`, checked by SQLite itself. The same way for a proof and for the real restore. */
export async function unpack(backup: Backup, to: string): Promise<void> {
  await rm(to, { force: true })
  await copyFile(join(backup.dir, COPY), to, constants.COPYFILE_FICLONE)
  const problems = integrityOf(to)
  if (problems.length === 0) return
  throw new BackoutError({
    code: 'backup_damaged',
    what: `The backup ${backup.id} is no sound database`,
    cause: problems.slice(0, 5).join('\n'),
    next: 'take an earlier backup: `backout releases` lists them',
    exit: 'blocked',
  })
}

function integrityOf(file: string): string[] {
  try {
    const db = openFrozen(file)
    try {
      const said = all(db, 'PRAGMA integrity_check(20)').map(row => String(Object.values(row)[0]))
      return said.filter(line => line !== 'ok')
    } finally {
      db.close()
    }
  } catch (error) {
    return [messageOf(error)]
  }
}

/** Restores the backup into a scratch place, compares it with what was backed up, and records what that showed. */
export async function prove(site: Site, backup: Backup, act: Act): Promise<Backup> {
  act.progress({ text: 'restoring the backup into a scratch place' })
  const start = systemClock.mono()
  await mkdir(site.ctx.stateDir, { recursive: true, mode: 0o700 })
  const scratch = await mkdtemp(join(site.ctx.stateDir, 'proof-'))
  const differences = await tryRestore(site, backup, join(scratch, COPY), act)
  await rm(scratch, { recursive: true, force: true })
  const ms = Math.round(systemClock.mono() - start)
  const proof: Proof = { at: iso(systemClock.now()), ms, ok: differences.length === 0, differences }
  const proven = await act.backups.recordProof(backup.id, proof)
  if (proof.ok) return proven
  throw new BackoutError({
    code: 'backup_unproven',
    what: `The backup ${backup.id} was made, and restoring it did not give back what was backed up`,
    cause: differences.slice(0, 5).join('\n'),
    next: 'look at the disk, then make the backup again',
    exit: 'failed',
  })
}

async function tryRestore(site: Site, backup: Backup, to: string, act: Act): Promise<string[]> {
  const facts = factsIn(backup)
  if (facts === null) return ['the backup does not say what it holds']
  try {
    await unpack(backup, to)
    const db = openFrozen(to)
    try {
      const { schema } = readLive(site, db)
      const data = await fingerprint(db, schema, act.signal)
      const differing = compareFingerprints(facts.fingerprint, data).map(d => d.text)
      return [...compareSchemas(facts.schema, schema).map(d => d.text), ...differing]
    } finally {
      db.close()
    }
  } catch (error) {
    if (act.signal.aborted) await rm(dirname(to), { recursive: true, force: true })
    act.signal.throwIfAborted()
    return [messageOf(error)]
  }
}
