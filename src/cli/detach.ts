import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Engine, Event } from '../core/engine.ts'
import { BackoutError, EXIT } from '../core/errors.ts'
import type { RunInput } from '../core/executor/world.ts'
import { ENDED } from '../core/words.ts'
import { lockOwner } from '../engine/sqlite/lock.ts'
import { writeWhole } from '../ledger/files.ts'
import { tellEnd } from './attend.ts'
import { openView } from './render/live.ts'
import { questionLines } from './render/progress.ts'
import type { Session } from './session.ts'

/** Where the input of a detached run waits for its process. */
export function inputFile(home: string, runId: string): string {
  return join(home, 'state', `${runId}.input.json`)
}

/** Set where a person or CI watches from another machine: what executes a run must not end with that connection. */
export function isWatchedFromAfar(): boolean {
  return process.env['BACKOUT_FOLLOW'] === '1'
}

/**
 * Starts a process of its own for a run: it outlives the terminal. Resolves once it has the run.
 * @param input null: the run is in the journal already, and is taken up again.
 */
export async function detach(session: Session, runId: string, input: RunInput | null): Promise<void> {
  const { environment } = session
  if (input !== null) await writeWhole(inputFile(environment.home, runId), JSON.stringify(input))
  mkdirSync(join(environment.home, 'logs'), { recursive: true, mode: 0o700 })
  const log = openSync(join(environment.home, 'logs', `${runId}.log`), 'a', 0o600)
  const main = process.argv[1] ?? ''
  const engine = await environment.engine({ worker: true })
  const last = input === null ? await lastSeq(engine, runId) : 0
  const child = spawn(
    process.execPath,
    [...process.execArgv, main, '--config', environment.config.file, 'worker', runId],
    {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
    },
  )
  child.unref()
  closeSync(log)
  const has = () => hasBegun(engine, runId, last)
  await begun(has, { runId, exit: () => child.exitCode, home: environment.home })
}

/** The number of the run's last event. */
export async function lastSeq(engine: Engine, runId: string): Promise<number> {
  let last = 0
  for await (const event of engine.events(runId)) last = event.seq
  return last
}

async function hasBegun(engine: Engine, runId: string, after: number): Promise<boolean> {
  for await (const { type } of engine.events(runId, { after })) {
    if (type === 'run-started' || type === 'run-resumed') return true
  }
  return false
}

/** Long, for a takeover waits until nothing that an earlier process began is alive. Milliseconds. */
const BEGIN_MS = 30_000

async function begun(
  has: () => Promise<boolean>,
  { runId, exit, home }: { runId: string; exit: () => number | null; home: string },
): Promise<void> {
  for (const until = performance.now() + BEGIN_MS; performance.now() < until; ) {
    const ended = exit() !== null
    if (await has()) return
    if (ended) break
    await new Promise(done => setTimeout(done, 50))
  }
  throw new BackoutError({
    code: 'not_detached',
    what: `The process of run ${runId} did not begin`,
    next: `look at ${join(home, 'logs', `${runId}.log`)}, then run it again`,
    exit: 'failed',
  })
}

/** 128 + the number of SIGINT, as a shell has it. */
const LEFT = 130

/** Watches a run that another process executes, until it ends or waits for a person. Ctrl-C ends only the watching. */
export async function follow(session: Session, engine: Engine, runId: string, quietUntil = 0): Promise<number> {
  const run = await engine.get(runId)
  if (run === null)
    throw new BackoutError({ code: 'run_unknown', what: `There is no run ${runId}`, next: 'backout status' })
  const view = openView(session.out, (run.input as unknown as RunInput).plan, quietUntil)
  const over = untilOver(session, engine, runId)
  try {
    for await (const event of until(engine.events(runId, { follow: true }), over.when)) {
      view.event(event)
      if (event.seq <= quietUntil) continue
      const state = event.type === 'run-state' ? (event.data as { state: string }).state : null
      if (state !== 'waiting' && state !== 'paused') continue
      const now = await engine.get(runId)
      if (now?.state !== state) continue
      view.close()
      const { asked, questions } = view.standing
      session.out.data({ type: 'result', run: runId, state, asked, questions })
      for (const line of questionLines(questions, view.plan, session.out.width)) session.out.line(line)
      return state === 'paused' ? EXIT.paused : EXIT.waiting
    }
  } finally {
    view.close()
    over.release()
  }
  const ended = await engine.get(runId)
  if (ended !== null && ENDED.has(ended.state)) return tellEnd(session, engine, ended)
  if ((await over.when) === 'gone') {
    session.out.warn(`\nThe process of run ${runId} is gone. Nothing is lost: backout resume`)
    session.out.data({ type: 'result', run: runId, state: 'interrupted' })
    return EXIT.paused
  }
  session.out.data({ type: 'result', run: runId, state: 'running' })
  session.out.warn(`\nNo longer watching. Run ${runId} goes on by itself: backout status --follow`)
  return LEFT
}

type Over = 'left' | 'gone'

/** Ctrl-C, or nobody at work on the run any more though it has not ended. */
function untilOver({ environment }: Session, engine: Engine, runId: string): { when: Promise<Over>; release(): void } {
  const { promise, resolve } = Promise.withResolvers<Over>()
  const leave = () => resolve('left')
  let alone = 0
  const look = async () => {
    const run = await engine.get(runId)
    const owner = lockOwner(`${environment.home}/locks`, environment.config.environment)
    alone = run?.state === 'running' && owner?.run !== runId ? alone + 1 : 0
    if (alone >= 3) resolve('gone')
  }
  const timer = setInterval(() => void look().catch(leave), 500)
  process.once('SIGINT', leave)
  const release = () => {
    clearInterval(timer)
    process.off('SIGINT', leave)
  }
  return { when: promise, release }
}

/** The events until they end or something else happens; the one that is then waited for is left alone. */
async function* until(events: AsyncIterable<Event>, stop: Promise<Over>): AsyncIterable<Event> {
  const iterator = events[Symbol.asyncIterator]()
  for (;;) {
    const next = await Promise.race([iterator.next(), stop])
    if (typeof next === 'string' || next.done) return
    yield next.value
  }
}
