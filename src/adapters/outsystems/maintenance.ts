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
  await site.lifetime.send({ method: 'PUT', path: `/environments/${target.Key}/maintenancemode`, body }, act.signal)
}

export async function applyMaintenance(site: Site, on: boolean, act: StepAct): Promise<void> {
  await setMaintenance(site, on, act)
  await act.note({ maintenance: on })
}

export function verifyMaintenance(on: boolean, act: StepAct): Verdict {
  const taken = handle.safeParse(act.handle).data?.maintenance === on
  const mode = on ? 'on' : 'off'
  if (taken)
    return { is: 'done', why: `LifeTime took it that maintenance mode is ${mode}; its API cannot be asked for it` }
  return { is: 'not-done', why: `LifeTime was not told that maintenance mode is ${mode}` }
}
