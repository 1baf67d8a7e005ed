import { z } from 'zod'
import { iso, systemClock } from '../../core/clock.ts'
import type { Backup, BackupAbout, CaptureAct, MigratedAct, Proof, StepAct } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { compareFingerprints } from '../diff.ts'
import type { Image, Reader } from '../engine.ts'
import { fingerprintShape } from '../fingerprint.ts'
import type { Rename } from '../renames.ts'
import { compareSchemas, schemaShape } from '../schema.ts'
import { writeAside } from './aside.ts'
import { type BackupFacts, factsIn } from './facts.ts'
import { readLive } from './level.ts'
import { holdsLevel, keptIn, shownLevel } from './levels.ts'
import { candidates, findRenames } from './renames.ts'
import { jobOf, type Site } from './site.ts'
import { wholeImage } from './whole.ts'

export type Act = CaptureAct | StepAct | MigratedAct

/** What going down goes back to. */
export const releaseShape = z.object({
  schema: schemaShape,
  /** Id of the release's backup. */
  backup: z.string().nullable(),
  /** Of the tables in which something may have been renamed. */
  data: fingerprintShape,
})
export type Release = z.infer<typeof releaseShape>

/** What is known of a database as its migrations left it. */
export type MigratedFacts = Partial<Pick<BackupFacts, 'upgrade' | 'ownWorkSince' | 'touched'>>

/**
 * Dumps the database while others may go on using it: dump, schema and fingerprint are of one instant.
 * `release`: what is in the database beyond its schema is written out as well; what was renamed since is told.
 */
export async function makeBackup(
  site: Site,
  act: Act,
  about: BackupAbout,
  { release = null, ...more }: { readonly release?: Release | null } & MigratedFacts = {},
): Promise<Backup> {
  const renames = release === null ? [] : await renamesSince(site, act, release)
  const identity = await site.engine.identity(act.signal)
  const draft = await act.backups.begin(about)
  try {
    const { dumped, read } = await site.engine.dump(draft.dir, jobOf(act), db => {
      act.progress({ text: 'taking the fingerprint' })
      return factsOf(site, db, draft.dir, release, { identity, renames })
    })
    return await draft.seal(toJson({ ...read, dump: dumped, ...more }))
  } catch (error) {
    await draft.discard()
    throw error
  }
}

async function renamesSince(site: Site, act: Act, release: Release): Promise<Rename[]> {
  const { schema } = await site.engine.reading(act.signal, db => readLive(site, db))
  if (candidates(site, release.schema, schema).length === 0) return []
  const image = await wholeImage(site, act, release.backup)
  const { renames } = await findRenames(site, { ...release, image }, act.signal)
  return renames.map(({ was, now }) => ({ was, now }))
}

async function factsOf(
  site: Site,
  db: Reader,
  dir: string,
  release: Release | null,
  { identity, renames }: { identity: string; renames: readonly Rename[] },
): Promise<Omit<BackupFacts, 'dump'>> {
  const live = await readLive(site, db)
  const declared = site.settings.loses.filter(l => keptIn(live.level).some(k => k.applied.includes(l.migration)))
  return {
    kind: site.engine.dialect.kind,
    identity,
    at: iso(systemClock.now()),
    level: live.level,
    schema: live.schema,
    fingerprint: await db.fingerprint(live.schema),
    lost:
      release === null
        ? {}
        : await writeAside(site, db, { base: release.schema, live: live.schema, declared, renames }, dir),
    renames: [...renames],
  }
}

/** Loads the backup into a scratch place, compares it with what was backed up, and records what that showed. */
export async function prove(site: Site, backup: Backup, act: Act): Promise<Backup> {
  act.progress({ text: 'restoring the backup into a scratch place' })
  const start = systemClock.mono()
  const { differences, next } = await tryLoading(site, backup, act)
  return recordProof(backup, act, differences, systemClock.mono() - start, next)
}

/**
 * `ms`: how long loading and comparing took; what a plan reckons with. Throws `backup_unproven` where there are differences.
 * `next`: what to do about it.
 */
export async function recordProof(
  backup: Backup,
  act: Act,
  differences: string[],
  ms: number,
  next = 'look at the disk, then make the backup again',
): Promise<Backup> {
  const proof: Proof = { at: iso(systemClock.now()), ms: Math.round(ms), ok: differences.length === 0, differences }
  const proven = await act.backups.recordProof(backup.id, proof)
  if (proof.ok) return proven
  throw new BackoutError({
    code: 'backup_unproven',
    what: `Restoring the backup ${backup.id} did not give back what was backed up`,
    cause: differences.slice(0, 5).join('\n'),
    next,
    exit: 'failed',
  })
}

async function tryLoading(
  site: Site,
  backup: Backup,
  act: Act,
): Promise<{ differences: string[]; next?: string | undefined }> {
  try {
    const image = await site.engine.beside(backup, 'scratch', backup.id, jobOf(act))
    try {
      return { differences: await differencesOf(site, backup, image, act.signal) }
    } finally {
      await image.drop()
    }
  } catch (error) {
    act.signal.throwIfAborted()
    // That tells nothing of the backup, which can be tried again once the server answers.
    if (error instanceof BackoutError && error.code === 'database_unreachable') throw error
    // Of the backup itself the way on is another one; of anything else it is what that says.
    const apart = error instanceof BackoutError && !error.code.startsWith('backup_')
    return { differences: [messageOf(error)], next: apart ? error.next : undefined }
  }
}

/** In what a loaded backup is not what was backed up. */
export async function differencesOf(site: Site, backup: Backup, image: Image, signal: AbortSignal): Promise<string[]> {
  const facts = factsIn(backup, site.engine.dialect.kind)
  if (facts === null) return ['the backup does not say what it holds']
  return image.reading(signal, async db => {
    const { schema, level } = await readLive(site, db, facts.level)
    const data = await db.fingerprint(schema, undefined, facts.fingerprint.method)
    if (data.method !== facts.fingerprint.method)
      return [`the two servers have no fingerprint in common (${facts.fingerprint.method}, ${data.method})`]
    const differing = compareFingerprints(facts.fingerprint, data).map(d => d.text)
    const moved = holdsLevel(level, facts.level) ? [] : [`it stands at ${shownLevel(level)}`]
    return [...compareSchemas(facts.schema, schema).map(d => d.text), ...moved, ...differing]
  })
}
