import type { Engine, RunInfo } from '../../core/engine.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { defineRollback, ROLLBACK } from '../../core/executor/rollback.ts'
import type { RunInput } from '../../core/executor/world.ts'
import type { Plan } from '../../core/plan.ts'
import { ENDED } from '../../core/words.ts'
import { isStopped } from '../../engine/sqlite/lock.ts'
import { person } from '../../ledger/releases.ts'
import { attend, tellEnd } from '../attend.ts'
import { detach, follow, isWatchedFromAfar, lastSeq } from '../detach.ts'
import { isFinished } from '../finish.ts'
import { keptConfig } from '../kept-config.ts'
import { refuseMoved } from '../moved.ts'
import { ownerOf } from '../open-runs.ts'
import type { Globals } from '../program.ts'
import { type Abort, type Asked, progressOf, questionLines, subjectOf, toldToAbort } from '../render/progress.ts'
import { findOpenRun, findRun, type Session, withSession } from '../session.ts'
import { worldOf } from '../wiring/world.ts'

export function resume(
  globals: Globals,
  options: { nextRung: boolean; replaced: boolean },
  id?: string,
): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: true })
    const found = await findRun(engine, session.environment, id)
    if (ENDED.has(found.state) && !isFinished(session, found)) return tellEnd(session, engine, found)
    const run = await findOpenRun(engine, session.environment, id)
    await refuseMoved(session, run, options.replaced)
    const { questions, abort: told, plan } = await standingOf(engine, run)
    if (questions.length > 0) {
      const answer = options.nextRung ? 'next-rung' : 'retry'
      const asked = questions.findLast(q => q.answers.includes(answer))
      if (asked === undefined) {
        const on = questions.length === 1 ? questions.map(q => `${subjectOf(q)}: ${q.why}`) : questions.map(subjectOf)
        session.out.line(`Run ${run.id} waits for your word on ${on.join(', ')}`)
        for (const line of questionLines(questions, plan, session.out.width)) session.out.line(line)
        session.out.data({ type: 'result', run: run.id, state: run.state, asked: questions.at(-1) ?? null, questions })
        return EXIT.waiting
      }
      refuseChanged(session, run)
      await engine.signal(
        run.id,
        `answer:${asked.token}`,
        { do: answer, by: person(), reason: null },
        unique(asked.token),
      )
    }
    if (options.nextRung && questions.length === 0) throw noRungAsked(run)
    refuseChanged(session, run)
    if (told !== null) session.out.line(`Run ${run.id} was ${toldToAbort(told)}: it does not go on, and is ended.`)
    const said = { by: person(), ...(options.replaced ? { replaced: true } : {}) }
    await engine.signal(run.id, '$resume', said, unique('resume'))
    return goOn(session, engine, run).catch(stands('That it is to go on'))
  })
}

/** Which way is gone is a word on a step that failed: it is not kept for one that may fail later. */
function noRungAsked({ id, state }: RunInfo): BackoutError {
  return new BackoutError({
    code: 'not_asked',
    what: `Run ${id} does not wait for a word on which way to go: it is ${state}`,
    next: 'backout status; or go on with the way that it is on: backout resume',
    exit: 'usage',
  })
}

/** Aborting works on a dead run too: this process takes it over to leave users safe. */
export function abort(globals: Globals, options: { reason?: string; replaced: boolean }, id?: string): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: true })
    const run = await findOpenRun(engine, session.environment, id)
    refuseChanged(session, run)
    await refuseMoved(session, run, options.replaced)
    const said = { by: person(), reason: options.reason ?? null, ...(options.replaced ? { replaced: true } : {}) }
    const { questions, abort: told } = await standingOf(engine, run)
    const asked = questions.at(-1)
    // At a question it is the answer to it, after an abort too: what leaves users safe may have to ask. Else once is enough.
    if (asked !== undefined) await engine.signal(run.id, '$cancel', said, `cancel-${asked.token}`)
    else if (told !== null) session.out.line(`Run ${run.id} was ${toldToAbort(told)} already.`)
    else await engine.signal(run.id, '$cancel', said, 'cancel')
    return goOn(session, engine, run).catch(stands('The abort'))
  })
}

/** The questions that the run waits on, oldest first. */
export async function openQuestions(engine: Engine, run: RunInfo): Promise<readonly Asked[]> {
  return (await standingOf(engine, run)).questions
}

async function standingOf(
  engine: Engine,
  run: RunInfo,
): Promise<{ questions: readonly Asked[]; abort: Abort | null; plan: Plan }> {
  const { standing, abort, plan } = await progressOf(engine, run)
  const open = run.state === 'waiting' || run.state === 'running'
  return { questions: open ? standing.questions : [], abort, plan }
}

export function unique(what: string): string {
  return `${what}-${process.pid}-${Date.now()}`
}

/** The run could not be taken over, and why. */
class NotTakenOver extends Error {
  constructor(cause: unknown) {
    super('the run was not taken over', { cause })
  }
}

/**
 * What was said is in the journal by then, where whoever goes on with the run finds it: it is not refused. Written after the
 * takeover instead, it would come too late to keep the next step from beginning.
 */
function stands(what: string): (error: unknown) => never {
  return error => {
    if (!(error instanceof NotTakenOver)) throw error
    const { cause } = error
    if (!(cause instanceof BackoutError)) throw cause
    const { code, message, why, next, exit } = cause
    const still = `${what} is journalled all the same: it takes effect as soon as the run goes on`
    throw new BackoutError({
      code,
      what: message,
      cause: why,
      next: next === undefined ? still : `${next}\n${still}`,
      exit,
      from: cause,
    })
  }
}

/** Takes the run over where no process is at work on it; watches the one that is otherwise. */
async function goOn(session: Session, engine: Engine, run: RunInfo): Promise<number> {
  const { environment, targets, out } = session
  try {
    // Once more: the process that was at work when it was said may have ended since.
    refuseChanged(session, run)
  } catch (error) {
    throw new NotTakenOver(error)
  }
  const last = await lastSeq(engine, run.id)
  // Only watched: should that process end meanwhile, another configuration is no ground to take over on.
  if (isChanged(session, run)) return watch(session, engine, run)
  if (isWatchedFromAfar() && ownerOf(session)?.run !== run.id) {
    await detach(session, run.id, null).catch((error: unknown) => {
      throw new NotTakenOver(error)
    })
    return follow(session, engine, run.id, last)
  }
  defineRollback(engine, worldOf(environment, targets))
  try {
    await engine.start(ROLLBACK, run.id, run.input, { exclusive: environment.config.environment })
  } catch (error) {
    const owner = ownerOf(session)
    const same = error instanceof BackoutError && error.code === 'environment_busy' && owner?.run === run.id
    if (!same || isStopped(owner)) throw new NotTakenOver(error)
    return watch(session, engine, run)
  }
  out.line(`Run ${run.id}`)
  return attend(session, engine, run.id, { quietUntil: last })
}

function watch(session: Session, engine: Engine, run: RunInfo): Promise<number> {
  const owner = ownerOf(session)
  if (owner !== null) session.out.line(`Process ${owner.pid} on ${owner.host} goes on with run ${run.id}`)
  return follow(session, engine, run.id)
}

function isChanged({ environment }: Session, run: RunInfo): boolean {
  return (run.input as unknown as RunInput).plan.configHash !== environment.config.hash
}

/**
 * This process would take the run over with another configuration. Before anything is journalled: what is refused has
 * not happened. A process that is at work has the configuration that the run began with, and does what it is told.
 */
function refuseChanged(session: Session, run: RunInfo): void {
  const owner = ownerOf(session)
  const atWork = owner?.run === run.id && !isStopped(owner)
  if (atWork || !isChanged(session, run)) return
  const { file } = session.environment.config
  const kept = keptConfig(session, run)
  const copy = kept === null ? 'git stash, git checkout' : `cp '${file}' '${file}.new' && cp '${kept}' '${file}'`
  throw new BackoutError({
    code: 'config_changed',
    what: `${file} was changed since run ${run.id} began, so its steps could mean something else now`,
    next: `put the file back as it was (${copy}), then say it again`,
    exit: 'blocked',
  })
}
