import type { Engine, RunInfo } from '../core/engine.ts'
import { BackoutError, EXIT, messageOf } from '../core/errors.ts'
import { stepsIn } from '../core/executor/still.ts'
import type { RunInput, RunOutput } from '../core/executor/world.ts'
import { span } from '../core/impact-text.ts'
import { uncapturedIn } from '../core/plan.ts'
import { ENDED } from '../core/words.ts'
import { person } from '../ledger/releases.ts'
import { finish } from './finish.ts'
import { middleIn, middleOf, readRun, type Told } from './left-behind.ts'
import { prompt } from './prompt.ts'
import { openView, type View } from './render/live.ts'
import { questionLines } from './render/progress.ts'
import type { Session } from './session.ts'
import { wrap } from './text.ts'

interface Attending {
  /** The number of the last event that is not shown any more. */
  readonly quietUntil?: number
  /** When this process began the run, by `clock.mono`; null: another one did. */
  readonly began?: number | null
}

/**
 * Stays with a run that this process executes until it ends, or can go on only by somebody's word. The first Ctrl-C, a
 * SIGTERM or a closed terminal pause it after the step in progress; a second Ctrl-C lets go at once.
 */
export async function attend(
  session: Session,
  engine: Engine,
  runId: string,
  { quietUntil = 0, began = null }: Attending = {},
): Promise<number> {
  const { out, environment } = session
  const started = await engine.get(runId)
  if (started === null)
    throw new BackoutError({ code: 'run_unknown', what: `There is no run ${runId}`, next: 'backout status' })
  const view = openView(out, (started.input as unknown as RunInput).plan, quietUntil)
  const stopProgress = engine.onProgress((_, data) => view.progress(data))
  const showing = show(engine, runId, view)
  const asking: Asking = { leave: null }
  const say = (text: string) => {
    view.hold()
    out.warn(wrap(text, out.width, '', '  ').join('\n'))
    view.release()
  }
  const release = onSignals(engine, runId, say, asking)
  try {
    const run = await untilSettled(session, engine, runId, { view, asking })
    if (ENDED.has(run.state)) await showing
    else await new Promise(resolve => setTimeout(resolve, 250))
    view.close()
    return await leave(session, engine, run, { view, ms: began === null ? null : environment.clock.mono() - began })
  } finally {
    view.close()
    stopProgress()
    release()
  }
}

async function show(engine: Engine, runId: string, view: View): Promise<void> {
  for await (const event of engine.events(runId, { follow: true })) view.event(event)
}

/** A question that is open at this terminal, and how to walk away from it. */
interface Asking {
  leave: (() => void) | null
}

/** At a terminal a question is asked there, while other terminals may answer it too. */
async function untilSettled(
  session: Session,
  engine: Engine,
  runId: string,
  { view, asking }: { view: View; asking: Asking },
): Promise<RunInfo> {
  for (;;) {
    const run = await engine.settled(runId)
    if (!session.out.asks || run.state !== 'waiting') return run
    await new Promise(resolve => setTimeout(resolve, 250))
    if (view.standing.asked === null) continue
    const { token } = view.standing.asked
    view.hold()
    const open = () => view.standing.questions.some(q => q.token === token)
    const gone = async () => !open() || (await engine.get(runId))?.state !== 'waiting'
    const answered = await prompt(session.out, view, { gone, left: leave => (asking.leave = leave) })
    asking.leave = null
    view.release()
    if (answered === 'left') return run
    if (answered === null) continue
    if (answered.do === 'stop') await engine.signal(runId, '$cancel', { by: person() }, `cancel-${token}`)
    else {
      const value = { ...answered, by: person() }
      await engine.signal(runId, `answer:${token}`, value, `${token}-${Date.now()}`)
    }
  }
}

/** What Ctrl-C and the like do. Answers how to stop listening. */
function onSignals(engine: Engine, runId: string, say: (text: string) => void, asking: Asking): () => void {
  let asked = false
  const pause = (name: NodeJS.Signals) => {
    // A run that waits for an answer stands still already.
    if (asking.leave !== null) return asking.leave()
    if (asked && name === 'SIGINT') {
      say('Letting go at once. Nothing is lost: backout resume')
      process.off('SIGINT', pause)
      void engine.close().finally(() => process.kill(process.pid, 'SIGINT'))
      return
    }
    if (asked) return
    asked = true
    say('Pausing after the step in progress. Ctrl-C again lets go at once.')
    const value = { by: person(), signal: name }
    engine
      .signal(runId, '$pause', value, `${name}-${process.pid}-${Date.now()}`)
      .catch((error: unknown) => say(String(error)))
  }
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of names) process.on(name, pause)
  return () => {
    for (const name of names) process.off(name, pause)
  }
}

async function leave(
  session: Session,
  engine: Engine,
  run: RunInfo,
  { view, ms }: { view: View; ms: number | null },
): Promise<number> {
  const { out } = session
  if (run.state === 'paused') {
    out.line(`\nPaused. Go on with: backout resume`)
    out.data({ type: 'result', run: run.id, state: run.state })
    return EXIT.paused
  }
  if (run.state === 'waiting') {
    const { asked, questions } = view.standing
    out.data({ type: 'result', run: run.id, state: run.state, asked, questions })
    out.line('\nThe run waits for your word:')
    for (const line of questionLines(questions, view.plan, out.width)) out.line(line)
    out.line('After resolve, skip or approve: backout resume')
    return EXIT.waiting
  }
  return tellEnd(session, engine, run, ms)
}

/** The last lines about a run that has ended, and its exit code. */
export async function tellEnd(
  session: Session,
  engine: Engine,
  run: RunInfo,
  ms: number | null = null,
): Promise<number> {
  const { out } = session
  const output = run.output as unknown as RunOutput | null
  const report = await finish(session, engine, run).catch((error: unknown) => unwritten(session, run, error))
  const told = await readRun(engine, run)
  out.line(`\n${headline(run, output, told)}${took(run, ms)}`)
  for (const text of told.waits) out.line(`Waits for your word: ${text}`)
  for (const text of wayOn(run)) out.line(text)
  if (output?.departure) out.line(`To go back to where it started: backout revert ${run.id}`)
  if (report !== null) out.line(`Report: ${report}`)
  return endOf(session, run, told, report)
}

/** The last line of an answer in JSON about a run that has ended, and the exit code that says how. */
export function endOf({ out }: Session, run: RunInfo, told: Told, report: string | null): number {
  const output = run.output as unknown as RunOutput | null
  const byWord = [...told.byWord.keys()]
  const uncaptured = uncapturedIn((run.input as unknown as RunInput).plan)
  out.data({
    type: 'result',
    run: run.id,
    state: run.state,
    ...output,
    ...middleIn(told),
    byWord,
    uncaptured,
    error: run.error,
    report,
  })
  return exitOf(run, output)
}

/** By the clock that nobody sets, where this process saw both ends; by the journal's times else, unless they say nonsense. */
function took({ createdAt, updatedAt }: RunInfo, ms: number | null): string {
  const by = ms ?? Date.parse(updatedAt) - Date.parse(createdAt)
  return by < 0 ? ' (the clock was set back meanwhile)' : ` (${span(by)})`
}

/** How a run ended stands in the journal, whatever became of its report. */
function unwritten({ out }: Session, run: RunInfo, error: unknown): null {
  if (error instanceof BackoutError && error.exit === 'tampered') throw error
  const again = `backout resume ${run.id}`
  out.warn(
    `Run ${run.id} has ended, but its report could not be written: ${messageOf(error)}. Once that is mended: ${again}`,
  )
  return null
}

/** What a run that has ended left users without, or undone, and the way on. */
export function wayOn({ input, output, state }: RunInfo): string[] {
  const ended = output as unknown as RunOutput | null
  const { release } = (input as unknown as RunInput).plan.to
  const again = release.startsWith('departure-') ? null : `backout run --to ${release}`
  if (ended?.away !== undefined) {
    const way = again === null ? 'backout revert' : `${again}; or backout revert`
    return [`What sent users away, or stopped what serves them, was not taken back by it. A new run does that: ${way}`]
  }
  const touched = ended !== null && ended.departure !== null
  return state === 'succeeded' || !touched || again === null ? [] : [`To go on to ${release}: ${again}`]
}

/** What nobody but a person says; null: nothing of it. */
export function unprovenIn({ byWord }: Told): string | null {
  if (byWord.size === 0) return null
  const who = [...new Set(byWord.values())]
  return `by the word of ${who.join(', ')} alone, not verified: ${[...byWord.keys()].join(', ')}`
}

function headline(run: RunInfo, output: RunOutput | null, told: Told): string {
  const { plan } = run.input as unknown as RunInput
  const left = [...new Set([...(output?.fenced ?? []), ...(output?.skipped ?? []), ...told.without])]
  const unproven = unprovenIn(told)
  const uncaptured = uncapturedIn(plan)
  const but = [
    ...(left.length === 0 ? [] : [`not all of it: ${left.join(', ')}`]),
    ...(uncaptured.length === 0 ? [] : [`not ${uncaptured.join(', ')}, which was not captured with it`]),
    ...(unproven === null ? [] : [unproven]),
  ]
  const watch = told.cutShort === null ? '' : `; its watch was cut short, for ${told.cutShort}`
  const how = `${but.length === 0 ? 'verified' : `but ${but.join('; ')}`}${watch}`
  const loose = output?.loose ?? []
  const open =
    loose.length === 0
      ? ''
      : ` NOT kept away from users, take it out of the load balancer by hand: ${loose.join(', ')}.`
  if (run.state === 'succeeded') return `${plan.environment} is back on ${plan.to.release}, ${how}.${open}`
  const why = run.error ?? output?.why ?? ''
  const unsafe = output?.unsafe ?? []
  if (run.state === 'aborted' && unsafe.length > 0) {
    return `Aborted, and users may be neither served nor told. See to it by hand: ${unsafe.join('; ')}.${goneWithout(output, told)}`
  }
  if (run.state === 'aborted') return aborted(output, told)
  const gone = goneWithout(output, told)
  const failed = `The run failed: ${why.replace(/^moved: /, 'the world has moved since the plan: ')}`
  return gone === '' ? failed : `${failed.replace(/\.$/, '')}.${gone}`
}

/** What was fenced, tolerated or skipped before a run ended without its release. */
function goneWithout(output: RunOutput | null, { left, loose, without }: Told): string {
  const off = new Set([...left, ...(output?.fenced ?? [])])
  const skipped = [...new Set([...(output?.skipped ?? []), ...without])].filter(id => !off.has(id))
  const all = [
    ...[...off].map(id => `${id} (not on the release${loose.has(id) ? ', NOT kept away from users' : ''})`),
    ...skipped.map(id => `${id} (skipped)`),
  ]
  return all.length === 0 ? '' : ` Gone on without: ${all.join(', ')}.`
}

function aborted(output: RunOutput | null, told: Told): string {
  const middle = middleOf(told)
  const where = middle.length === 0 ? '' : ` in the middle of: ${middle.join('; ')}`
  const why = /^it was aborted: (.*)$/s.exec(output?.why ?? '')?.[1]
  const gone = goneWithout(output, told)
  if (why !== undefined && middle.length === 0) return `Aborted: ${why}.${gone}`
  const untold = untoldOf(output, told)
  const users =
    untold.length > 0
      ? `Nobody is told of what is stopped, for no step of the plan puts a maintenance page up: ${untold.join(', ')}`
      : middle.length + told.without.size > 0 && output?.away === undefined
        ? 'Whether users are served there is for you to see'
        : 'Users are served or told'
  return `Aborted${where}.${gone} ${users}; what was done stays done.`
}

/** What was stopped, or began to be, and not taken back, where nothing tells users. */
function untoldOf(output: RunOutput | null, { progress: { plan }, begun }: Told): string[] {
  if (output?.away === undefined || output.away.length > 0) return []
  const phases = plan.phases.filter(({ phase }) => phase === 'drain' || phase === 'stop')
  const steps = phases.flatMap(({ node }) => stepsIn(node)).filter(id => begun.has(id))
  return steps.map(id => plan.steps[id]?.title ?? id)
}

/** The exit code that says how a run ended. */
function exitOf(run: RunInfo, output: RunOutput | null): number {
  if (run.state === 'succeeded') return (output?.loose ?? []).length === 0 ? EXIT.ok : EXIT.failed
  if (run.state === 'aborted') return EXIT.aborted
  return output?.why?.startsWith('moved: ') ? EXIT.moved : EXIT.failed
}
