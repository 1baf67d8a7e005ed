import type { Engine, RunInfo } from '../../core/engine.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import type { RunInput, RunOutput } from '../../core/executor/world.ts'
import { toJson } from '../../core/json.ts'
import { uncapturedIn } from '../../core/plan.ts'
import { ENDED } from '../../core/words.ts'
import { isStopped, lockOwner, type Owner } from '../../engine/sqlite/lock.ts'
import { endOf, unprovenIn, wayOn } from '../attend.ts'
import { reportFile } from '../finish.ts'
import { leftBehind, middleIn, middleOf, readRun, type Told } from '../left-behind.ts'
import { warnOfLoss } from '../lost-journal.ts'
import { paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { type Abort, questionLines, standingLine, subjectOf, toldToAbort } from '../render/progress.ts'
import { findRun, type Session, withSession } from '../session.ts'
import { wrap } from '../text.ts'
import { standingOf } from '../wiring/standing.ts'
import { waitingLines, waitingNow } from '../wiring/waiting.ts'

export function status(globals: Globals, options: { follow?: boolean }, id?: string): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: false })
    const run = await findRun(engine, session.environment, id).catch((error: unknown) => {
      if (error instanceof BackoutError && error.code === 'run_unknown' && id === undefined) return null
      throw error
    })
    await warnOfLoss(session, engine)
    if (run === null) {
      session.out.line(`There was no run yet in ${session.environment.config.environment}.`)
      session.out.data({ run: null })
      return EXIT.ok
    }
    if (options.follow && !ENDED.has(run.state)) return (await import('../detach.ts')).follow(session, engine, run.id)
    const newest = id === undefined || (await findRun(engine, session.environment, undefined)).id === run.id
    if (!options.follow) {
      await show(session, engine, run, newest)
      return EXIT.ok
    }
    if (!session.out.json) await show(session, engine, run, newest)
    return endOf(session, run, await readRun(engine, run), reportFile(session, run))
  })
}

async function show(session: Session, engine: Engine, run: RunInfo, newest: boolean): Promise<void> {
  const { environment, out } = session
  const { plan, by } = run.input as unknown as RunInput
  const told = await readRun(engine, run)
  const { progress } = told
  const { standing } = progress
  const owner = lockOwner(`${environment.home}/locks`, environment.config.environment)
  const ended = ENDED.has(run.state)
  // Of one that has ended somebody may only look at what it left.
  const mine = !ended && owner?.run === run.id ? owner : null
  const state = stateOf(run, mine)
  const looked = ended && newest ? await lookedAgain(session, engine, told) : { data: {}, lines: [] }
  const shown = {
    run: run.id,
    state,
    to: plan.to.release,
    by,
    owner: mine,
    ...standing,
    ...middleIn(told),
    ...(ended || progress.abort === null ? {} : { abort: progress.abort }),
    output: run.output,
    ...(ended ? { byWord: [...told.byWord.keys()], uncaptured: uncapturedIn(plan) } : {}),
  }
  const waiting = newest ? await waitingNow(session, engine) : []
  out.data({ ...shown, ...looked.data, ...(waiting.length === 0 ? {} : { waiting: toJson(waiting) }) })
  out.line(`${paint('bold', run.id)}: ${plan.from ?? 'what runs'} -> ${plan.to.release}, ${state}`)
  if (!ended) out.line(`  ${standingLine(standing, environment.clock.now())}`)
  if (mine !== null) out.line(`  process ${mine.pid} on ${mine.host} is at work on it since ${mine.since}`)
  if (mine !== null && isStopped(mine))
    out.line(
      `  and is stopped (Ctrl-Z, SIGSTOP): fg, or kill -CONT ${mine.pid}; or kill -9 ${mine.pid}, then: backout resume`,
    )
  const stays = ended && newest ? await staysOn(session, plan.to.release) : []
  const lines = [
    ...details(told, state, { ended, attended: mine !== null }),
    ...stays,
    ...waiting.flatMap(waitingLines),
  ].map(text => ({
    text,
    command: null,
  }))
  for (const { text, command } of [...lines, ...looked.lines]) {
    for (const l of wrap(text, out.width, '  ', '  ')) out.line(l)
    if (command !== null) out.line(`  ${command}`)
  }
  if (ended) return
  for (const line of questionLines(standing.questions, progress.plan, out.width)) out.line(line)
}

/** What a second rollback would do; nothing where that is another release, or where nobody can tell: a plan says why. */
async function staysOn({ environment }: Session, release: string): Promise<string[]> {
  const standing = await standingOf(environment).catch(() => null)
  if (standing?.wentTo !== release) return []
  return [
    `stands on ${release}: Backout was told of no deployment since, so a further \`backout run\` goes nowhere else; ` +
      'to go forward deploy, or name the release: backout run --to RELEASE',
  ]
}

/** Asks the targets again about what this run and those before it left fenced, and what holds on until a person lifts it. */
async function lookedAgain(session: Session, engine: Engine, told: Told) {
  const { fenced, lasting: lasts } = await leftBehind(session, engine, told)
  if (fenced.length === 0 && lasts.length === 0) return { data: {}, lines: [] }
  const { lookAgain, stillInForce, returnedLines, lastingLines } = await import('../returned.ts')
  const { id } = told.run
  const returned = fenced.length === 0 ? [] : await lookAgain(session, engine, told, fenced)
  const lasting = await stillInForce(session, engine, id, lasts)
  const data = {
    ...(fenced.length === 0 ? {} : { returned: toJson(returned) }),
    ...(lasting.length === 0 ? {} : { lasting: toJson(lasting) }),
  }
  const lines = returnedLines(returned).map(text => ({ text, command: null }))
  return { data, lines: [...lines, ...lastingLines(lasting, id)] }
}

/** A run that the journal calls running, and that no process holds, was interrupted. */
function stateOf(run: RunInfo, owner: Owner | null): string {
  return run.state === 'running' && owner === null ? 'interrupted' : run.state
}

function details(told: Told, state: string, { ended, attended }: { ended: boolean; attended: boolean }): string[] {
  const { run, progress, left } = told
  const { standing } = progress
  if (ended) {
    const output = run.output as unknown as RunOutput | null
    const why = output?.why ?? run.error
    const fenced = [...new Set([...(output?.fenced ?? []), ...left])].map(target => `not on the release: ${target}`)
    const unproven = unprovenIn(told)
    const uncaptured = uncapturedIn((run.input as unknown as RunInput).plan)
    return [
      ...(why === null ? [] : [why]),
      ...middleOf(told).map(text => `in the middle of: ${text}`),
      ...fenced,
      ...(uncaptured.length === 0
        ? []
        : [`left as it was, for it was not captured with the release: ${uncaptured.join(', ')}`]),
      ...(unproven === null ? [] : [unproven]),
      ...wayOn(run),
      `backout report ${run.id}`,
    ]
  }
  const at = state === 'interrupted' ? 'was at' : 'going on'
  const lines = standing.running.map(r => `${at}: ${r.title}, since ${r.since}`)
  const { questions } = standing
  const { abort } = progress
  if (abort !== null) lines.push(...abortLines(abort, state))
  if (questions.length === 1)
    return [...lines, ...questions.map(q => `waits for your word on ${subjectOf(q)}: ${q.why}`)]
  if (questions.length > 1) return [...lines, `waits for your word on ${questions.map(subjectOf).join(', ')}`]
  if (state === 'waiting' && !attended) return [...lines, 'was answered already; go on with: backout resume']
  if (state === 'interrupted' && abort === null)
    return [...lines, 'its process is gone; nothing is lost: backout resume']
  return state === 'paused' && abort === null ? [...lines, 'go on with: backout resume'] : lines
}

/** An abort that the run has not come to the end of: no `resume` goes on against it. */
function abortLines(abort: Abort, state: string): string[] {
  const told = toldToAbort(abort)
  if (state === 'interrupted') return [`its process is gone; it was ${told}, and backout resume ends it`]
  return [state === 'paused' ? `it was ${told}, and backout resume ends it` : `it was ${told}`]
}
