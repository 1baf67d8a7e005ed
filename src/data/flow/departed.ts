import { ownBackup } from '../carry/open.ts'
import { factsIn, pinOf } from './facts.ts'
import type { Site } from './site.ts'
import type { Ask } from './steps.ts'

/** Of a release that is where a run started: the run; else null. */
export function departedRun({ release }: Pick<Ask, 'release'>): string | null {
  return /^departure-(.+)$/.exec(release)?.[1] ?? null
}

/**
 * Where a run started is captured without a backup, for the run makes one right before it changes anything: that is its own,
 * and how the database was then is what is gone back to.
 */
export async function byOwnBackup(site: Site, question: Ask): Promise<Ask> {
  const run = departedRun(question)
  if (question.to.backup !== null || run === null) return question
  const backup = ownBackup(await site.ctx.backups.list(site.ctx.component), site, run)
  const facts = backup === undefined ? null : factsIn(backup, site.engine.dialect.kind)
  return backup === undefined || facts === null ? question : { ...question, to: pinOf(backup, facts) }
}
