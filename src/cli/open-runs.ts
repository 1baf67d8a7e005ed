import type { Engine, RunInfo } from '../core/engine.ts'
import { BackoutError } from '../core/errors.ts'
import type { RunInput, RunOutput } from '../core/executor/world.ts'
import { ENDED } from '../core/words.ts'
import { lockOwner, takeLock } from '../engine/sqlite/lock.ts'
import { person } from '../ledger/releases.ts'
import type { Session } from './session.ts'

/** Half-way through a rollback the environment is neither release: nothing of it is kept under a name. Throws `run_open`. */
export async function refuseHalfway(engine: Engine, session: Session): Promise<void> {
  for (const run of await openRuns(engine, session)) if (!(await watching(engine, run))) throw runOpen(session, run)
}

/** How long whoever holds the environment without a run of its own is waited for. Milliseconds. */
const PATIENCE_MS = 15_000
const LOOK_EVERY_MS = 50

/**
 * Does what holds only as long as no run sets out, where none has since `before` was listed: under the lock that each of them
 * takes to begin. One that only watches may hold it. Throws `run_open`, `run_began`, `environment_busy`.
 */
export async function besideRuns<T>(
  engine: Engine,
  session: Session,
  { before, doing, again }: { before: readonly RunInfo[]; doing: string; again: string },
  work: () => Promise<T>,
): Promise<T> {
  const { clock } = session.environment
  const until = clock.mono() + PATIENCE_MS
  for (;;) {
    const lock = clock.mono() > until ? lockNow(session, doing) : tryLock(session, doing)
    try {
      await refuseHalfway(engine, session)
      await refuseBegun(engine, session, before, again)
      if (lock !== null || (await isWatched(engine, session))) return await work()
    } finally {
      lock?.release()
    }
    await clock.sleep(LOOK_EVERY_MS)
  }
}

/** The lock of the environment; null where somebody has it. */
export function tryLock(session: Session, run: string): ReturnType<typeof takeLock> | null {
  try {
    return lockNow(session, run)
  } catch (error) {
    if (error instanceof BackoutError && error.code === 'environment_busy') return null
    throw error
  }
}

function lockNow({ environment }: Session, run: string): ReturnType<typeof takeLock> {
  return takeLock(`${environment.home}/locks`, environment.config.environment, run)
}

async function isWatched(engine: Engine, session: Session): Promise<boolean> {
  const run = await engine.get(ownerOf(session)?.run ?? '')
  return run !== null && (await watching(engine, run))
}

/** One that has begun since may have changed everything, also where it has ended. */
async function refuseBegun(engine: Engine, session: Session, before: readonly RunInfo[], again: string): Promise<void> {
  const runs = await engine.list({ exclusive: session.environment.config.environment })
  const begun = runs.find(run => !before.some(b => b.id === run.id) && !touchedNothing(run))
  if (begun === undefined) return
  const { to } = (begun.input as unknown as RunInput).plan
  const how = ENDED.has(begun.state) ? `has ended: ${begun.state}` : 'watches by now'
  throw new BackoutError({
    code: 'run_began',
    what: `Run ${begun.id} to ${to.release} began meanwhile, and ${how}`,
    cause: 'what was captured need not be what runs now',
    next: `backout status; then once more: ${again}`,
    exit: 'moved',
  })
}

function touchedNothing({ output }: RunInfo): boolean {
  return output !== null && (output as unknown as RunOutput).departure === null
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
