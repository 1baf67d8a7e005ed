import type { Step } from '../../core/contract.ts'
import type { Engine, Event, RunInfo } from '../../core/engine.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import type { RunInput, RunOutput } from '../../core/executor/world.ts'
import { toJson } from '../../core/json.ts'
import type { Plan } from '../../core/plan.ts'
import { ENDED } from '../../core/words.ts'
import { isStopped, lockOwner, type Owner } from '../../engine/sqlite/lock.ts'
import { paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { askedLines, Progress, type Standing, standingLine } from '../render/progress.ts'
import { findRun, type Session, withSession } from '../session.ts'
import { wrap } from '../text.ts'

export function status(globals: Globals, options: { follow?: boolean }, id?: string): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: false })
    const run = await findRun(engine, session.environment, id).catch((error: unknown) => {
      if (error instanceof BackoutError && id === undefined) return null
      throw error
    })
    if (run === null) {
      session.out.line(`There was no run yet in ${session.environment.config.environment}.`)
      session.out.data({ run: null })
      return EXIT.ok
    }
    if (options.follow && !ENDED.has(run.state)) return (await import('../detach.ts')).follow(session, engine, run.id)
    const newest = id === undefined || (await findRun(engine, session.environment, undefined)).id === run.id
    await show(session, engine, run, newest)
    return EXIT.ok
  })
}

async function show(session: Session, engine: Engine, run: RunInfo, newest: boolean): Promise<void> {
  const { environment, out } = session
  const { plan, by } = run.input as unknown as RunInput
  const progress = new Progress(plan)
  const lifts: Lifts = new Map()
  for await (const event of engine.events(run.id)) {
    progress.see(event)
    noteLift(lifts, event)
  }
  const { standing } = progress
  const owner = lockOwner(`${environment.home}/locks`, environment.config.environment)
  const mine = owner?.run === run.id ? owner : null
  const state = stateOf(run, mine)
  const ended = ENDED.has(run.state)
  const looked =
    ended && newest ? await lookedAgain(session, engine, run, progress.plan, lifts) : { data: {}, lines: [] }
  const told = { run: run.id, state, to: plan.to.release, by, owner: mine, ...standing, output: run.output }
  out.data({ ...told, ...looked.data })
  out.line(`${paint('bold', run.id)}: ${plan.from ?? 'what runs'} -> ${plan.to.release}, ${state}`)
  if (!ended) out.line(`  ${standingLine(standing, environment.clock.now())}`)
  if (mine !== null) out.line(`  process ${mine.pid} on ${mine.host} is at work on it since ${mine.since}`)
  if (mine !== null && isStopped(mine))
    out.line(
      `  and is stopped (Ctrl-Z, SIGSTOP): fg, or kill -CONT ${mine.pid}; or kill -9 ${mine.pid}, then: backout resume`,
    )
  const lines = details(run, standing, state, ended).map(text => ({ text, command: null }))
  for (const { text, command } of [...lines, ...looked.lines]) {
    for (const l of wrap(text, out.width, '  ', '  ')) out.line(l)
    if (command !== null) out.line(`  ${command}`)
  }
  if (ended || standing.asked === null) return
  for (const line of askedLines(standing.asked, progress.plan, out.width)) out.line(line)
}

/** Steps whose effect may outlive the run, and the command that lifts it; null where it was not told yet. */
type Lifts = Map<string, string | null>

function noteLift(lifts: Lifts, { type, data }: Event): void {
  const { step, data: more } = (data ?? {}) as { step?: string; data?: { lift?: string } }
  if (step === undefined) return
  if (type === 'step-begun') lifts.set(step, null)
  if (type === 'fact' && more?.lift !== undefined) lifts.set(step, more.lift)
}

/** Asks the targets again about what the run left fenced, and what of it holds on until a person lifts it. */
async function lookedAgain(session: Session, engine: Engine, run: RunInfo, plan: Plan, lifts: Lifts) {
  const fenced = fencedSteps(run, plan)
  const lasts = Object.values(plan.steps).filter(step => step.lasts === true && lifts.has(step.id))
  if (fenced.length === 0 && lasts.length === 0) return { data: {}, lines: [] }
  const { lookAgain, stillInForce, returnedLines, lastingLines } = await import('../returned.ts')
  const returned = fenced.length === 0 ? [] : await lookAgain(session, engine, run.id, fenced)
  const lasting = await stillInForce(session, run.id, lasts)
  const data = {
    ...(fenced.length === 0 ? {} : { returned: toJson(returned) }),
    ...(lasts.length === 0 ? {} : { lasting: toJson(lasting) }),
  }
  const lines = returnedLines(returned).map(text => ({ text, command: null }))
  return { data, lines: [...lines, ...lastingLines(lasting, lifts)] }
}

/** What the run left fenced, of the plan that was in force at its end. */
function fencedSteps({ output }: RunInfo, plan: Plan): Step[] {
  const { fenced = [] } = (output ?? {}) as Partial<RunOutput>
  return fenced.flatMap(id => plan.steps[id] ?? [])
}

/** A run that the journal calls running, and that no process holds, was interrupted. */
function stateOf(run: RunInfo, owner: Owner | null): string {
  return run.state === 'running' && owner === null ? 'interrupted' : run.state
}

function details(run: RunInfo, standing: Standing, state: string, ended: boolean): string[] {
  if (ended) {
    const output = run.output as unknown as RunOutput | null
    const why = output?.why ?? run.error
    const fenced = (output?.fenced ?? []).map(target => `not on the release: ${target}`)
    return [...(why === null ? [] : [why]), ...fenced, `backout report ${run.id}`]
  }
  const lines = standing.running.map(r => `going on: ${r.title}, since ${r.since}`)
  if (standing.asked !== null)
    return [...lines, `waits for your word on ${standing.asked.step ?? 'a plan'}: ${standing.asked.why}`]
  if (state === 'interrupted') return [...lines, 'its process is gone; nothing is lost: backout resume']
  return state === 'paused' ? [...lines, 'go on with: backout resume'] : lines
}
