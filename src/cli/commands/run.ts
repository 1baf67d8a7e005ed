import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import type { Engine, RunInfo } from '../../core/engine.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { holds } from '../../core/executor/replan.ts'
import { defineRollback, ROLLBACK } from '../../core/executor/rollback.ts'
import { type RunInput, type RunOutput, toldOf } from '../../core/executor/world.ts'
import { toJson } from '../../core/json.ts'
import { blockersOf, differencesOf, isEmpty, type Plan } from '../../core/plan.ts'
import { redact } from '../../core/secret.ts'
import { ENDED } from '../../core/words.ts'
import { stamp } from '../../ledger/files.ts'
import { person } from '../../ledger/releases.ts'
import { attend } from '../attend.ts'
import { confirm } from '../confirm.ts'
import { detach, follow, isWatchedFromAfar } from '../detach.ts'
import { keepConfig } from '../kept-config.ts'
import { openRuns, ownerOf, refuseHalfway, runOpen, supersede, watching } from '../open-runs.ts'
import type { Globals } from '../program.ts'
import { findRun, type Session, withSession } from '../session.ts'
import { worldOf } from '../wiring/world.ts'
import { dryRun } from './dry-run.ts'
import { newPlan, readPlan, showPlan } from './plan.ts'

interface Options {
  readonly to?: string
  readonly yes: boolean
  readonly emergency: boolean
  readonly reason?: string
  readonly detach: boolean
  readonly dryRun: boolean
  readonly lossWindow?: string
}

export function run(globals: Globals, options: Options, file?: string): Promise<number> {
  if (file !== undefined && (options.to !== undefined || options.emergency)) throw alreadyPlanned(options)
  if (file === '') throw planUnnamed()
  return withSession(globals, async session => {
    const made =
      file === undefined
        ? await newPlan(session, options.to, options.emergency)
        : await readPlan(session, resolve(file))
    return go(session, made, options)
  })
}

function planUnnamed(): BackoutError {
  const what = 'The kept plan was named with nothing, as an empty variable does'
  const next = 'name its file, or leave the word out to plan anew'
  return new BackoutError({ code: 'plan_unreadable', what, next, exit: 'usage' })
}

function alreadyPlanned({ to }: Options): BackoutError {
  const option = to === undefined ? '--emergency' : '--to'
  return new BackoutError({
    code: 'option_invalid',
    what: `${option} cannot be given with a kept plan, which says already where it goes and how`,
    next: `leave the file out to plan anew; or keep such a plan: backout plan ${option}${to === undefined ? '' : ` ${to}`} --out FILE`,
    exit: 'usage',
  })
}

export function revert(
  globals: Globals,
  options: Pick<Options, 'yes' | 'reason' | 'lossWindow'>,
  id?: string,
): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: true })
    const before = await findRun(engine, session.environment, id)
    const made = await newPlan(session, await departureOf(session, before), false)
    return go(session, made, { ...options, emergency: false, detach: isWatchedFromAfar(), dryRun: false })
  })
}

async function departureOf({ environment }: Session, run: RunInfo): Promise<string> {
  if (!ENDED.has(run.state)) {
    throw new BackoutError({
      code: 'run_open',
      what: `Run ${run.id} has not ended (${run.state}), and an environment has one run at a time`,
      next: `backout abort ${run.id}, then revert it`,
      exit: 'busy',
    })
  }
  const output = run.output as unknown as RunOutput | null
  const departure = output?.departure ?? `departure-${run.id}`
  const captured = output?.departure != null || (await environment.ledger.releases.exists(departure))
  if (captured) return departure
  throw new BackoutError({
    code: 'nothing_to_revert',
    what: `Run ${run.id} touched nothing, so there is nothing to take back: where it started was never captured`,
    next: `backout report ${run.id}; to go back from what runs now: backout plan`,
    exit: 'usage',
  })
}

async function go(session: Session, made: Plan, options: Options): Promise<number> {
  if (!options.dryRun) refuseOther(session, made)
  showPlan(session, made, { among: true })
  const blockers = blockersOf(made)
  if (blockers.length > 0) {
    session.out.line(`\nNot run: ${blockers.map(b => b.code).join(', ')}`)
    return notBegun(session, 'blocked', { blockers })
  }
  const empty = isEmpty(made)
  if (options.dryRun) return empty ? notBegun(session, 'nothing-to-do', { dryRun: true }) : dryRun(session, made)
  // Before anybody is told that there is nothing to do, or asked to confirm what could not be begun.
  const engine = await session.environment.engine({ worker: true })
  await refuseHalfway(engine, session)
  if (empty) return notBegun(session, 'nothing-to-do')
  const confirmed = await confirm(session, made, options)
  if (confirmed === null) return EXIT.aborted
  const reason = options.reason === undefined ? null : redact(options.reason)
  const input: RunInput = { plan: made, by: person(), reason, confirmed, order: 2 }
  return begin(session, input, options)
}

const NOT_BEGUN = { blocked: EXIT.blocked, 'nothing-to-do': EXIT.ok } as const

/** The last line of an answer in JSON, where there is no run that could say it. */
function notBegun({ out }: Session, state: keyof typeof NOT_BEGUN, more: object = {}): number {
  out.data({ type: 'result', run: null, state, ...more })
  return NOT_BEGUN[state]
}

function refuseOther({ environment }: Session, made: Plan): void {
  if (made.environment === environment.config.environment) return
  throw new BackoutError({
    code: 'other_environment',
    what: `The plan is for ${made.environment}, and ${environment.config.file} is ${environment.config.environment}`,
    next: 'name the configuration that it was made with: --config FILE',
    exit: 'usage',
  })
}

async function begin(session: Session, input: RunInput, options: Options): Promise<number> {
  const { environment, targets, out } = session
  const engine = await environment.engine({ worker: true })
  const over = await refuseOpen(engine, session, input.plan)
  const runId = `r${stamp(environment.clock.now())}-${randomBytes(2).toString('hex')}`
  await keepConfig(session)
  if (options.detach) {
    await detach(session, runId, input)
    out.line(`Run ${runId} goes on by itself. Look at it: backout status --follow`)
    if (isWatchedFromAfar()) return follow(session, engine, runId)
    out.data({ type: 'result', run: runId, state: 'running', detached: true })
    return EXIT.ok
  }
  defineRollback(engine, worldOf(environment, targets))
  out.line(`\nRun ${runId}`)
  const exclusive = environment.config.environment
  const began = environment.clock.mono()
  await engine.start(ROLLBACK, runId, toJson(input), { exclusive, over, told: toldOf(input) })
  return attend(session, engine, runId, { began })
}

/**
 * A run that has not ended must end first; one that only watches gives way. Answers those whose process is gone: the new
 * run takes their place.
 */
export async function refuseOpen(engine: Engine, session: Session, plan: Plan): Promise<string[]> {
  const over: string[] = []
  const open = await openRuns(engine, session)
  for (const run of open) if (!(await watching(engine, run))) throw runOpen(session, run)
  if (open.length > 0) await refuseMovedSince(session, plan)
  for (const run of open) {
    if (ownerOf(session) === null) over.push(run.id)
    else if (!(await supersede(engine, run))) throw runOpen(session, run)
  }
  return over
}

/** A run that will not begin ends no other one's watch. */
async function refuseMovedSince({ environment, targets }: Session, plan: Plan): Promise<void> {
  const request = { plan, successor: false, exclude: [], accepted: plan.envelope.loss }
  const now = await worldOf(environment, targets).replan(request, new AbortController().signal)
  if (holds(plan, now)) return
  throw new BackoutError({
    code: 'plan_moved',
    what: `The world has moved since the plan, so nothing was begun: ${differencesOf(plan, now).join('; ')}`,
    next: 'look at it, then plan anew: backout plan',
    exit: 'moved',
  })
}
