import type { Engine, RunInfo } from '../core/engine.ts'
import { BackoutError } from '../core/errors.ts'
import { ENDED } from '../core/words.ts'
import { lockOwner } from '../engine/sqlite/lock.ts'
import { person } from '../ledger/releases.ts'
import type { Session } from './session.ts'

/** Half-way through a rollback the environment is neither release: nothing of it is kept under a name. Throws `run_open`. */
export async function refuseHalfway(engine: Engine, session: Session): Promise<void> {
  for (const run of await openRuns(engine, session)) if (!(await watching(engine, run))) throw runOpen(session, run)
}

/** Runs of the environment that have not ended. */
export async function openRuns(engine: Engine, { environment }: Session): Promise<RunInfo[]> {
  return (await engine.list({ exclusive: environment.config.environment })).filter(r => !ENDED.has(r.state))
}

export function ownerOf({ environment }: Session): ReturnType<typeof lockOwner> {
  return lockOwner(`${environment.home}/locks`, environment.config.environment)
}

export function runOpen(session: Session, run: RunInfo): BackoutError {
  const pid = ownerOf(session)?.pid
  const alive = pid === undefined ? 'no process is at work on it' : `process ${pid} is at work on it`
  return new BackoutError({
    code: 'run_open',
    what: `Run ${run.id} of ${run.exclusive} has not ended: ${run.state}; ${alive}`,
    next: pid === undefined ? 'backout resume; or backout abort' : 'backout status; or backout abort',
    exit: 'busy',
  })
}

/** Whether a run is through, and only watches. */
export async function watching(engine: Engine, run: RunInfo): Promise<boolean> {
  let phase = ''
  for await (const event of engine.events(run.id)) {
    if (event.type === 'phase-begun') phase = (event.data as { phase: string }).phase
  }
  return phase === 'watch' && run.state === 'running'
}

/** Ends the watch of a run: something else is put there. False where it has not ended within half a minute. */
export async function supersede(engine: Engine, run: RunInfo, more: { upgrade?: string } = {}): Promise<boolean> {
  await engine.signal(run.id, '$supersede', { by: person(), ...more }, `supersede-${process.pid}`)
  for (let i = 0; i < 300; i++) {
    const now = await engine.get(run.id)
    if (now === null || ENDED.has(now.state)) return true
    await new Promise(done => setTimeout(done, 100))
  }
  return false
}
