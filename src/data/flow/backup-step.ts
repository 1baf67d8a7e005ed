import { z } from 'zod'
import type { Backup, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { bytes } from '../../core/impact-text.ts'
import { makeBackup, prove, type Release, releaseShape } from './backup.ts'
import { factsIn } from './facts.ts'
import { readLive } from './level.ts'
import { isState, jobOf, readOrTell, type Site, type State } from './site.ts'

const backupArgs = z.object({ prove: z.boolean(), release: releaseShape.nullable() })

/** The backup right before a rollback. Found again by the step's idem; what cannot be read is copied as it lies. */
export async function applyBackup(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = backupArgs.parse(step.args)
  act.guard()
  const found = await ownBackup(site, act)
  const backup = found !== null && found.proof?.ok !== false ? found : await makeOwn(site, act, args.release)
  if (args.prove && backup.proof === null && isReadable(site, backup)) await prove(site, backup, act)
  const text = `Backed up ${site.engine.name} as ${backup.id} (${bytes(backup.bytes)})`
  await act.tell({ kind: 'kept', text, data: { backup: backup.id } })
}

async function makeOwn(site: Site, act: StepAct, release: Release | null): Promise<Backup> {
  const about = { component: site.ctx.component, reason: 'pre-rollback', release: null, idem: act.idem } as const
  const state = await readOrTell(site, act.signal, db => readLive(site, db))
  return isState(state) ? copyAsIs(site, act, about, state) : makeBackup(site, act, about, { release })
}

async function copyAsIs(
  { engine }: Site,
  act: StepAct,
  about: Parameters<StepAct['backups']['begin']>[0],
  state: State,
): Promise<Backup> {
  const draft = await act.backups.begin(about)
  try {
    await engine.copyAsIs?.(draft.dir, jobOf(act))
    return await draft.seal({
      kind: `${engine.dialect.kind}-as-is`,
      identity: await engine.identity(act.signal),
      state,
    })
  } catch (error) {
    await draft.discard()
    throw error
  }
}

async function ownBackup(site: Site, act: StepAct): Promise<Backup | null> {
  return (await act.backups.list(site.ctx.component)).find(b => b.idem === act.idem) ?? null
}

function isReadable(site: Site, backup: Backup): boolean {
  return factsIn(backup, site.engine.dialect.kind) !== null
}

/** One that starts anew could not be backed up in the next try either. Throws `database_unreachable`. */
async function answers({ engine }: Site, signal: AbortSignal): Promise<void> {
  await engine.identity(signal).catch((error: unknown) => {
    if (error instanceof BackoutError && error.code === 'database_unreachable') throw error
  })
}

export async function backupVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = backupArgs.parse(step.args)
  const backup = await ownBackup(site, act)
  if (backup === null) {
    await answers(site, act.signal)
    return { is: 'not-done', why: 'there is no backup of this step' }
  }
  if (!args.prove || !isReadable(site, backup)) return { is: 'done', why: `the backup ${backup.id} is there` }
  if (backup.proof?.ok === true) return { is: 'done', why: `the backup ${backup.id} is there and proven` }
  if (backup.proof === null) await answers(site, act.signal)
  const why = backup.proof === null ? 'was not proven yet' : backup.proof.differences.join('; ')
  return { is: 'not-done', why: `the backup ${backup.id}: ${why}` }
}
