import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RunInfo } from '../core/engine.ts'
import type { RunInput } from '../core/executor/world.ts'
import { writeNew } from '../ledger/files.ts'
import type { Session } from './session.ts'

function fileOf({ environment: { ledger } }: Session, hash: string): string {
  return join(ledger.folder, 'configs', `${hash.slice(0, 16)}.yaml`)
}

/** Keeps the configuration that a run begins with: only with it the run can be gone on with, and it need not be in Git. */
export async function keepConfig(session: Session): Promise<void> {
  const { hash, text } = session.environment.config
  const file = fileOf(session, hash)
  if (existsSync(file)) return
  // No reason to hold up a rollback: then the error about a changed file can name no copy.
  await writeNew(file, text).catch(() => {})
}

/** The copy of what the run began with; null where there is none. */
export function keptConfig(session: Session, run: RunInfo): string | null {
  const file = fileOf(session, (run.input as unknown as RunInput).plan.configHash)
  return existsSync(file) ? file : null
}
