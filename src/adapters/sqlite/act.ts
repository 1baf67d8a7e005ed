import { copyFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Backup, Step, StepAct, Verdict } from '../../core/contract.ts'
import { fingerprintHash } from '../../data/fingerprint.ts'
import { schemaHash } from '../../data/schema.ts'
import { COPY, factsIn, makeBackup, prove, type Release, releaseShape } from './backup.ts'
import { notAccepted } from './down.ts'
import { fingerprint } from './fingerprint.ts'
import { broken, filesOf, restore } from './restore.ts'
import { everything, measureSince } from './since.ts'
import { type Place, placeOf, readLive, readOrTell, type Site } from './site.ts'

const backupArgs = z.object({ prove: z.boolean(), release: releaseShape.nullable() })
const restoreArgs = z.object({ backup: z.string(), schema: z.string(), data: z.string() })

/** The backup right before a rollback. Found again by the step's idem; a file that is no database is copied as it is. */
export async function applyBackup(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = backupArgs.parse(step.args)
  const place = await placeOf(site, act.signal)
  act.guard()
  const found = await ownBackup(site, act)
  const backup = found !== null && found.proof?.ok !== false ? found : await makeOwn(site, place, act, args.release)
  if (args.prove && backup.proof === null && factsIn(backup) !== null) await prove(site, backup, act)
  const text = `Backed up ${place.file} as ${backup.id} (${backup.bytes} bytes)`
  await act.tell({ kind: 'kept', text, data: { backup: backup.id } })
}

async function makeOwn(site: Site, place: Place, act: StepAct, release: Release | null): Promise<Backup> {
  const about = { component: site.ctx.component, reason: 'pre-rollback', release: null, idem: act.idem } as const
  const state = await readOrTell(place, db => readLive(site, db))
  return typeof state === 'string' ? copyAsIs(place, act, about, state) : makeBackup(site, place, act, about, release)
}

async function copyAsIs(
  place: Place,
  act: StepAct,
  about: Parameters<StepAct['backups']['begin']>[0],
  state: string,
): Promise<Backup> {
  const draft = await act.backups.begin(about)
  for (const end of ['', '-wal', '-shm', '-journal']) {
    const there = await stat(`${place.file}${end}`).catch(() => null)
    if (there?.isFile()) await copyFile(`${place.file}${end}`, join(draft.dir, `${COPY}${end}`))
  }
  return draft.seal({ kind: 'sqlite-as-is', identity: place.identity, state })
}

async function ownBackup(site: Site, act: StepAct): Promise<Backup | null> {
  return (await act.backups.list(site.ctx.component)).find(b => b.idem === act.idem) ?? null
}

export async function backupVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = backupArgs.parse(step.args)
  const backup = await ownBackup(site, act)
  if (backup === null) return { is: 'not-done', why: 'there is no backup of this step' }
  if (!args.prove || factsIn(backup) === null) return { is: 'done', why: `the backup ${backup.id} is there` }
  if (backup.proof?.ok === true) return { is: 'done', why: `the backup ${backup.id} is there and proven` }
  const why = backup.proof === null ? 'was not proven yet' : backup.proof.differences.join('; ')
  return { is: 'not-done', why: `the backup ${backup.id}: ${why}` }
}

export async function applyRestore(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = restoreArgs.parse(step.args)
  const place = await placeOf(site, act.signal)
  const backup = await act.backups.get(args.backup)
  const altered = await act.backups.check(backup.id, act.signal)
  const facts = factsIn(backup)
  if (altered.length > 0 || facts === null) throw broken(backup.id, altered)
  const since = await measureSince(site, place, backup, facts.schema)
  const loss = typeof since === 'string' ? [everything(facts.at, since)] : since.loss
  if (!act.accepts(loss)) throw notAccepted(`Restoring ${backup.id}`, loss)
  await restore(place, backup, facts, act)
  for (const { what, count, unit } of loss) {
    const text = `${count} ${unit} of ${what} went with the restore of ${backup.id}`
    await act.tell({ kind: 'lost', text, data: { what, count, unit } })
  }
}

export async function restoreVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = restoreArgs.parse(step.args)
  const place = await placeOf(site, act.signal)
  const live = await readOrTell(place, async db => {
    const { schema } = readLive(site, db)
    return { schema: schemaHash(schema), data: fingerprintHash(await fingerprint(db, schema, act.signal)) }
  })
  if (typeof live === 'string') return { is: 'not-done', why: `the file is ${live}` }
  const schemaBack = live.schema === args.schema
  if (schemaBack && live.data === args.data) return { is: 'done', why: `schema and data are those of ${args.backup}` }
  if (schemaBack && (await swapped(place, act.idem))) {
    return { is: 'done', why: `${args.backup} was restored by this step, and was written to since` }
  }
  return { is: 'not-done', why: `${schemaBack ? 'the data differs' : 'the schema differs'} from ${args.backup}` }
}

/** The old file was kept, and another one stands in its place. */
async function swapped(place: Place, idem: string): Promise<boolean> {
  const [kept, now] = await Promise.all(
    [filesOf(place.file, idem).kept, place.file].map(f => stat(f).catch(() => null)),
  )
  return kept != null && now != null && kept.ino !== now.ino
}
