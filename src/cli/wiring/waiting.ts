import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { amount } from '../../core/impact-text.ts'
import { byText } from '../../core/order.ts'
import { readOutcome } from '../../data/carry/state.ts'
import { conflictsIn } from '../../data/carry/words.ts'
import type { Session } from '../session.ts'

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

export function waitingLine({ run, component, rows }: WaitingData): string {
  const wait = rows === 1 ? 'waits' : 'wait'
  return `${amount(rows, 'rows')} of ${component} ${wait} for a word since ${run}: backout data status ${component} --run ${run}`
}

/** What other runs than the one that is spoken of left of a component. */
export function earlierLines(all: readonly WaitingData[], run: string, component: string): string[] {
  return all
    .filter(w => w.component === component && w.run !== run)
    .flatMap(w => {
      const values = w.archived === 1 ? 'value is' : 'values are'
      const archive = `${w.archived} archived ${values} not all put back since ${w.run}: backout data replay ${component} --run ${w.run}`
      return [...(w.rows > 0 ? [waitingLine(w)] : []), ...(w.archived > 0 ? [archive] : [])]
    })
}
