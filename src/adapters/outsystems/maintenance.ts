import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import type { StepAct, Verdict } from '../../core/contract.ts'
import type { Site } from './site.ts'

/** LifeTime's API sets the mode and has no way to read it: that it took the word is all that there is to know. */
const handle = z.object({ maintenance: z.boolean() })

export async function setMaintenance(site: Site, on: boolean, act: StepAct): Promise<void> {
  const { target } = await site.places(act.signal)
  const body = { IsMaintenanceModeEnabled: on, Reason: site.config.maintenance?.reason ?? 'Backout' }
  act.signal.throwIfAborted()
  act.guard()
  // Kept before it is so, and until it no longer is: what is lost in between is a word too many.
  if (on) await keep(site, 'asked')
  await site.lifetime.send({ method: 'PUT', path: `/environments/${target.Key}/maintenancemode`, body }, act.signal)
  if (on) await keep(site, act.idem)
  else await rm(site.heldMark, { force: true })
}

async function keep({ heldMark }: Site, by: string): Promise<void> {
  await mkdir(dirname(heldMark), { recursive: true })
  await writeFile(heldMark, by)
}

/** The step that LifeTime took it from last to hold the mode, of whatever run; null: none, or it was told otherwise since. */
async function heldBy({ heldMark }: Site): Promise<string | null> {
  return readFile(heldMark, 'utf8').catch(() => null)
}

/** Whether Backout told LifeTime to hold maintenance mode last, in this run or one before. */
export async function isHeld(site: Site): Promise<boolean> {
  return (await heldBy(site)) !== null
}

export async function applyMaintenance(site: Site, on: boolean, act: StepAct): Promise<void> {
  await setMaintenance(site, on, act)
  await act.note({ maintenance: on })
}

/** Asked during the run, it is what the step kept; asked after it, what was told since counts too. */
export async function verifyMaintenance(site: Site, on: boolean, act: StepAct): Promise<Verdict> {
  const noted = handle.safeParse(act.handle).data
  const taken = noted === undefined ? on && (await heldBy(site)) === act.idem : noted.maintenance === on
  const mode = on ? 'on' : 'off'
  if (!taken) return { is: 'not-done', why: `LifeTime was not told that maintenance mode is ${mode}` }
  const ends = on ? `; ${HELD_NEXT}` : ''
  return { is: 'done', why: `LifeTime took it that maintenance mode is ${mode}, and cannot be asked for it${ends}` }
}

/** What ends a maintenance mode that Backout left. */
export const HELD_NEXT = 'the next `backout run` or `backout revert` ends it, or end it in LifeTime'
