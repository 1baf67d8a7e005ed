import type { Finding, Readiness } from '../../core/contract.ts'
import type { Lack } from '../engine.ts'
import { amissFindings, openFindings } from './book-findings.ts'
import { type Say, saying } from './checks.ts'
import { readLive } from './level.ts'
import { gapsBetween, keptIn, nameOfBook } from './levels.ts'
import type { Level } from './settings.ts'
import { isState, readOrTell, type Site } from './site.ts'
import { tasksFor } from './undoing.ts'

const LEVEL_OF: Readonly<Record<Lack['for'], Finding['level']>> = {
  capture: 'blocker',
  restore: 'warning',
  carry: 'warning',
  quiet: 'warning',
  comfort: 'note',
}

const FOR: Readonly<Record<Lack['for'], string>> = {
  capture: 'no backup can be made and proven without it',
  restore: 'no backup can be restored without it',
  carry: 'nothing can be carried forward after a restore without it',
  quiet: 'they fire for what is carried forward, and it ends unproven where they change that',
  comfort: '',
}

/** What the database lacks to be captured and taken back by the rungs that the settings allow. */
export async function ready(site: Site, signal: AbortSignal): Promise<Readiness> {
  const say = saying(site.ctx.component)
  const { well, lacks } = (await site.engine.ready?.(signal)) ?? { well: [], lacks: [] }
  const findings = lacks.filter(lack => isWanted(site, lack)).map(lack => told(lack, say))
  // Who may not read tables may not read those of a migration tool either.
  if (findings.some(f => f.level === 'blocker')) return { well, findings }
  const live = await readOrTell(site, signal, db => readLive(site, db))
  if (isState(live)) return { well, findings }
  const { gaps } = gapsBetween({ tool: null, applied: [] }, live.level)
  findings.push(...amissFindings(live, 'warning', say))
  findings.push(...openFindings(tasksFor(site.settings.migrations, live, gaps), say))
  const kept = keptBy(live.level)
  return kept === null ? { well, findings: [...findings, unknownTool(say)] } : { well: [...well, kept], findings }
}

function isWanted({ settings }: Site, lack: Lack): boolean {
  const restores = settings.rungs.includes('restore')
  if (lack.for === 'restore') return restores
  return (lack.for !== 'carry' && lack.for !== 'quiet') || (restores && settings.carryForward !== 'off')
}

function told(lack: Lack, say: Say): Finding {
  const why = FOR[lack.for]
  return say(LEVEL_OF[lack.for], lack.code, why === '' ? lack.what : `${lack.what}: ${why}`, lack.remedy)
}

function keptBy(level: Level): string | null {
  const all = keptIn(level)
  if (all.length === 0) return null
  const whose = (kept: (typeof all)[number]) =>
    kept.tool === 'custom' ? 'the query of the settings' : nameOfBook(kept, all.length > 1)
  return `migrations are known by ${all.map(kept => `${whose(kept)}, ${kept.applied.length} applied`).join('; ')}`
}

function unknownTool(say: Say): Finding {
  const what = 'No table of a migration tool was found, so migrations are not known one by one'
  return say('note', 'no_migration_tool', what, 'if there are any, list them by `migrations.applied`')
}
