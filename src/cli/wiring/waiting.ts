import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Engine } from '../../core/engine.ts'
import { amount } from '../../core/impact-text.ts'
import { byText } from '../../core/order.ts'
import { readOutcome } from '../../data/carry/state.ts'
import { conflictsIn } from '../../data/carry/words.ts'
import type { Session } from '../session.ts'
import { upgradesSince } from './changed-since.ts'

/** What a restore by one run left for somebody to decide on. */
export interface WaitingData {
  readonly run: string
  readonly component: string
  /** Not carried, or not whole. */
  readonly rows: number
  /** Rows and values that had no place, of which nobody put back all. */
  readonly archived: number
}

/** Of all runs, oldest first: the word that one of them waits for does not come by a later rollback. */
export async function waitingData({ environment }: Session): Promise<WaitingData[]> {
  const found: WaitingData[] = []
  for (const component of Object.keys(environment.config.components)) {
    const folder = join(environment.ledger.folder, 'state', component, 'carry')
    for (const run of (await readdir(folder).catch((): string[] => [])).toSorted(byText)) {
      // What cannot be read is told by whoever asks for that run.
      const kept = await readOutcome(join(folder, run)).catch(() => null)
      if (kept === null) continue
      const rows = kept.left.reduce((sum, t) => sum + t.held, conflictsIn(kept.left))
      const all = kept.notBack ?? kept.archived.reduce((sum, a) => sum + a.count, 0)
      const archived = kept.replayed === undefined ? all : 0
      if (rows + archived > 0) found.push({ run, component, rows, archived })
    }
  }
  return found
}

/** What somebody is to decide on or do now: archived values only where an upgrade since may have made a place for them. */
export async function waitingNow(session: Session, engine: Engine): Promise<WaitingData[]> {
  const upgrades = (await session.environment.ledger.releases.upgrades()).filter(
    u => u.undoneAt === null && (u.migratedAt !== null || u.endedAt !== null),
  )
  const since = await upgradesSince(session, engine, upgrades)
  const now: WaitingData[] = []
  for (const found of await waitingData(session)) {
    const archived = found.archived > 0 && (await since(found.run)).length > 0 ? found.archived : 0
    if (found.rows + archived > 0) now.push({ ...found, archived })
  }
  return now
}

/** What one run left, each with the command that goes on with it. */
export function waitingLines(found: WaitingData): string[] {
  const { run, component, rows, archived } = found
  const values = archived === 1 ? 'value is' : 'values are'
  const archive = `${archived} archived ${values} not all put back since ${run}: backout data replay ${component} --run ${run}`
  return [...(rows > 0 ? [waitingLine(found)] : []), ...(archived > 0 ? [archive] : [])]
}

function waitingLine({ run, component, rows }: WaitingData): string {
  const wait = rows === 1 ? 'waits' : 'wait'
  return `${amount(rows, 'rows')} of ${component} ${wait} for a word since ${run}: backout data status ${component} --run ${run}`
}

/** What other runs than the one that is spoken of left of a component. */
export function earlierLines(all: readonly WaitingData[], run: string, component: string): string[] {
  return all.filter(w => w.component === component && w.run !== run).flatMap(waitingLines)
}
