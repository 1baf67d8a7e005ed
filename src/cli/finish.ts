import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Engine, RunInfo } from '../core/engine.ts'
import { writeWhole } from '../ledger/files.ts'
import { announceHead } from '../ledger/heads.ts'
import { reportOf } from './reporting.ts'
import type { Session } from './session.ts'
import { noteUndone } from './wiring/standing.ts'

/** False where the process died between the end of the run and the end of `finish`, whose last file then is missing. */
export function isFinished({ environment }: Session, run: RunInfo): boolean {
  return existsSync(join(environment.home, 'reports', `${run.id}.json`))
}

/** Where the report of a run that has ended lies; null: it is not written. */
export function reportFile(session: Session, run: RunInfo): string | null {
  return isFinished(session, run) ? join(session.environment.home, 'reports', `${run.id}.md`) : null
}

/** What is left to do when a run has ended; doing it twice is harmless. Answers where the report lies. */
export async function finish({ environment }: Session, engine: Engine, run: RunInfo): Promise<string> {
  const { ledger, home } = environment
  await noteUndone(environment)
  const head = await engine.head()
  await announceHead(ledger.keys.folder, head)
  const { report, markdown } = await reportOf(environment, engine, run, head)
  const file = join(home, 'reports', `${run.id}.md`)
  await writeWhole(file, markdown, 0o600)
  await writeWhole(join(home, 'reports', `${run.id}.json`), `${JSON.stringify(report, null, 2)}\n`, 0o600)
  return file
}
