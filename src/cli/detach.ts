import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Engine } from '../core/engine.ts'
import { BackoutError, EXIT } from '../core/errors.ts'
import type { RunInput, RunOutput } from '../core/executor/world.ts'
import { ENDED } from '../core/words.ts'
import { writeWhole } from '../ledger/files.ts'
import { exitOf } from './attend.ts'
import { openView } from './render/live.ts'
import { askedLines } from './render/progress.ts'
import type { Session } from './session.ts'

/** Where the input of a detached run waits for its process. */
export function inputFile(home: string, runId: string): string {
  return join(home, 'state', `${runId}.input.json`)
}

/** Starts a process of its own for a run: it outlives the terminal. Resolves once the run is in the journal. */
export async function detach(session: Session, runId: string, input: RunInput | null): Promise<void> {
  const { environment } = session
  if (input !== null) await writeWhole(inputFile(environment.home, runId), JSON.stringify(input))
  mkdirSync(join(environment.home, 'logs'), { recursive: true, mode: 0o700 })
  const log = openSync(join(environment.home, 'logs', `${runId}.log`), 'a', 0o600)
  const main = process.argv[1] ?? ''
  const child = spawn(
    process.execPath,
    [...process.execArgv, main, '--config', environment.config.file, 'worker', runId],
    {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: { ...process.env, BACKOUT_HOME: environment.home },
    },
  )
  child.unref()
  closeSync(log)
  await begun(await environment.engine({ worker: true }), runId, () => child.exitCode, environment.home)
}

async function begun(engine: Engine, runId: string, exit: () => number | null, home: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await engine.get(runId)) !== null) return
    if (exit() !== null) break
    await new Promise(done => setTimeout(done, 50))
  }
  throw new BackoutError({
    code: 'not_detached',
    what: `The process of run ${runId} did not begin`,
    next: `look at ${join(home, 'logs', `${runId}.log`)}, then run it again`,
    exit: 'failed',
  })
}

/** Watches a run that another process executes, until it ends or waits for a person. */
export async function follow(session: Session, engine: Engine, runId: string): Promise<number> {
  const run = await engine.get(runId)
  if (run === null) throw new BackoutError({ code: 'run_unknown', what: `There is no run ${runId}` })
  const view = openView(session.out, (run.input as unknown as RunInput).plan)
  try {
    for await (const event of engine.events(runId, { follow: true })) {
      view.event(event)
      const state = event.type === 'run-state' ? (event.data as { state: string }).state : null
      if (state !== 'waiting' && state !== 'paused') continue
      const now = await engine.get(runId)
      if (now?.state !== state) continue
      view.close()
      const { asked } = view.standing
      if (asked !== null) for (const line of askedLines(asked)) session.out.line(line)
      return state === 'paused' ? EXIT.paused : EXIT.waiting
    }
  } finally {
    view.close()
  }
  const ended = await engine.get(runId)
  if (ended === null || !ENDED.has(ended.state)) return EXIT.failed
  return exitOf(ended, ended.output as unknown as RunOutput | null)
}
