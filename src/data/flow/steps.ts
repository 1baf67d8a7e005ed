import type { Backup, Finding, Proposal, Question, Step } from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { Say } from './checks.ts'
import type { DatabasePin } from './settings.ts'
import type { Site } from './site.ts'

export type Ask = Question<DatabasePin>

/** What every rung starts from. */
export interface Look {
  readonly site: Site
  readonly question: Ask
  readonly say: Say
  /** Changes whenever the database may hold something else. */
  readonly stamp: string
}

export function withFindings(...findings: Finding[]): Proposal {
  return { ...NOTHING, findings }
}

/** The backup of what is there right before it is changed. `like`: a backup whose proof tells how long it takes here. */
export function backupStep({ site, question }: Look, bytes: number, release: Json): Step {
  const prove = question.mode === 'full'
  return {
    id: `${site.ctx.component}/backup`,
    component: site.ctx.component,
    title: `back up ${site.engine.name}${prove ? ' and prove the backup' : ''}`,
    args: { prove, release },
    limitMs: site.settings.limit,
    retries: 1,
    estimateMs: perMegabyte(bytes, prove ? 40 : 15),
    onUnknown: 'repeat',
  }
}

/** What the proof of this very backup took; where it was never proven, so many milliseconds a megabyte. */
export function loadingMs(backup: Backup): number {
  return backup.proof?.ok === true ? backup.proof.ms : perMegabyte(backup.bytes, 30)
}

/** So many milliseconds a megabyte, and half a second. */
export function perMegabyte(bytes: number, ms: number): number {
  return Math.round(500 + (bytes / 1_048_576) * ms)
}

export function estimate(...steps: readonly Step[]): number {
  return steps.reduce((sum, step) => sum + step.estimateMs, 0)
}

export function omitted(question: Ask): string[] {
  return question.mode === 'full' ? [] : ['proving the backup made right before']
}
