import type { RunInfo } from '../../core/engine.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Plan } from '../../core/plan.ts'
import { type CarryTarget, carriesForward } from '../../data/carry/open.ts'
import type { Job } from '../../data/engine.ts'
import { takeLock } from '../../engine/sqlite/lock.ts'
import { plansOf } from '../../report/plans.ts'
import { momentsOf } from '../../report/read.ts'
import { shown } from '../out.ts'
import { findRun, type Session } from '../session.ts'
import { eventsOf } from './events.ts'

/** A restore of one database by one run. */
export interface Restored {
  readonly run: RunInfo
  readonly component: string
  readonly target: CarryTarget
  /** The backup that was restored; null: the run's plans restored nothing of this component. */
  readonly base: string | null
}

/** The database whose data is carried forward: the one named, or the only one that the run restored. */
export async function restoredBy(
  session: Session,
  component: string | undefined,
  id: string | undefined,
): Promise<Restored> {
  const engine = await session.environment.engine({ worker: false })
  const run = id === undefined ? await lastRestore(session) : await findRun(engine, session.environment, id)
  const plans = await plansIn(session, run)
  const restores = restoresIn(plans)
  const all = [...restores.keys()]
  const name = component ?? (all.length === 1 ? all[0] : undefined)
  if (name === undefined) throw whichOne(run.id, all)
  const target = await session.targets.get(name)
  if (!carriesForward(target)) throw noDatabase(name)
  return { run, component: name, target, base: restores.get(name) ?? null }
}

async function lastRestore(session: Session): Promise<RunInfo> {
  const engine = await session.environment.engine({ worker: false })
  const runs = await engine.list({ exclusive: session.environment.config.environment })
  for (const run of runs.toReversed()) {
    if (restoresIn(await plansIn(session, run)).size > 0) return run
  }
  throw new BackoutError({
    code: 'nothing_restored',
    what: `No run of ${session.environment.config.environment} restored a database`,
    next: 'backout status',
    exit: 'usage',
  })
}

/** Of each component the newest run that restored it, and the backup that it took. */
export async function lastRestores(session: Session): Promise<{ run: RunInfo; component: string; base: string }[]> {
  const engine = await session.environment.engine({ worker: false })
  const runs = await engine.list({ exclusive: session.environment.config.environment })
  const out = new Map<string, { run: RunInfo; component: string; base: string }>()
  for (const run of runs) {
    for (const [component, base] of restoresIn(await plansIn(session, run)))
      out.set(component, { run, component, base })
  }
  return [...out.values()]
}

async function plansIn(session: Session, run: RunInfo): Promise<Plan[]> {
  const engine = await session.environment.engine({ worker: false })
  return plansOf(run, momentsOf(await eventsOf(engine, run.id)))
}

/** Component -> the backup that its restore step takes; of several plans the last one counts. */
function restoresIn(plans: readonly Plan[]): Map<string, string> {
  const out = new Map<string, string>()
  for (const step of plans.flatMap(plan => Object.values(plan.steps))) {
    const args = step.args as { backup?: unknown } | null
    if (step.id === `${step.component}/restore/swap` && typeof args?.backup === 'string')
      out.set(step.component, args.backup)
  }
  return out
}

function whichOne(run: string, all: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'component_unnamed',
    what: all.length === 0 ? `The run ${run} restored no database` : `The run ${run} restored several databases`,
    cause: all.length === 0 ? undefined : all.join(', '),
    next: all.length === 0 ? 'name the run that did with --run' : `name one: backout data plan ${all[0]}`,
    exit: 'usage',
  })
}

function noDatabase(component: string): BackoutError {
  return new BackoutError({
    code: 'no_database',
    what: `${component} is no database whose data Backout could carry forward`,
    next: 'backout adapters',
    exit: 'usage',
  })
}

/** Runs `work` as the only one at work on the environment. The first Ctrl-C ends it after the batch that is being written. */
export async function alone<T>({ environment, out }: Session, run: string, work: (job: Job) => Promise<T>): Promise<T> {
  const lock = takeLock(`${environment.home}/locks`, environment.config.environment, run)
  const over = new AbortController()
  const stop = () => over.abort()
  for (const signal of SIGNALS) process.once(signal, stop)
  try {
    return await work({ ...showing(out), signal: over.signal, guard: () => lock.check() })
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop)
    lock.release()
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** A job that only reads. */
export function looking({ out }: Session): Job {
  return { ...showing(out), signal: new AbortController().signal, guard: () => {} }
}

function showing(out: Session['out']): Pick<Job, 'progress'> {
  let last = ''
  return {
    progress: ({ text, done, total }) => {
      const share = done === undefined || !total ? '' : ` ${Math.floor((100 * done) / total)} %`
      const line = `${text}${share}`
      if (line !== last && out.terminal) process.stderr.write(`\r\u001b[K${shown(line)}`)
      last = line
    },
  }
}
