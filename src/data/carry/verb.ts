import { z } from 'zod'
import type { Backup, Step, StepAct, Verdict } from '../../core/contract.ts'
import { idemOf } from '../../core/executor/attempt.ts'
import type { Site } from '../flow/site.ts'
import { perMegabyte } from '../flow/steps.ts'
import { carryTarget } from './open.ts'
import { carryForwardStep } from './step.ts'

const carryArgs = z.object({ backup: z.string(), report: z.boolean() })

/** Brings back what was written since the release, right after the restore; null: the settings or the system say no. */
export function carryStep({ engine, settings, ctx }: Site, backup: Backup): Step | null {
  if (settings.carryForward === 'off' || engine.merging === undefined) return null
  const report = settings.carryForward === 'report'
  return {
    id: `${ctx.component}/restore/carry`,
    component: ctx.component,
    title: report
      ? `list what was written into ${engine.name} since the release`
      : `bring back what was written into ${engine.name} since the release, as far as it fits`,
    args: { backup: backup.id, report },
    limitMs: settings.limit,
    retries: 1,
    estimateMs: perMegabyte(backup.bytes, 30),
    onUnknown: 'repeat',
  }
}

export const carryVerb = {
  apply: (site: Site, step: Step, act: StepAct): Promise<void> => stepOf(site, step, act).apply(act),
  verify: (site: Site, step: Step, act: StepAct): Promise<Verdict> => stepOf(site, step, act).verify(act),
}

function stepOf(site: Site, step: Step, act: StepAct) {
  const { backup, report } = carryArgs.parse(step.args)
  const run = act.idem.slice(0, act.idem.length - idemOf('', step.id).length)
  return carryForwardStep(job => carryTarget(site).carrying(run, backup, job), report)
}
