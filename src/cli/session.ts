import type { Engine, RunInfo } from '../core/engine.ts'
import { BackoutError } from '../core/errors.ts'
import { ENDED } from '../core/words.ts'
import { type Out, openOut } from './out.ts'
import type { Globals } from './program.ts'
import { type Environment, findConfig, openEnvironment } from './wiring/environment.ts'
import { Targets } from './wiring/targets.ts'

/** What a command has at hand. */
export interface Session {
  readonly environment: Environment
  readonly targets: Targets
  readonly out: Out
  readonly globals: Globals
}

/** Opens the environment for one command, and closes everything behind it. */
export async function withSession(globals: Globals, body: (session: Session) => Promise<number>): Promise<number> {
  await using environment = await openEnvironment(findConfig(globals.config))
  const out = openOut({ json: globals.json })
  const { broughtFrom, folder } = environment.ledger.keys
  if (broughtFrom !== undefined) {
    out.warn(`The home was moved or copied: its keys were found in ${broughtFrom}, and copied to ${folder}`)
  }
  await using targets = new Targets(environment)
  return await body({ environment, targets, out, globals })
}

type Runs = Pick<Engine, 'list'>
type Named = { readonly config: { readonly environment: string } }

/** The last digits of an id that are enough to name a run. */
const ENOUGH = 4

/**
 * The named run, or the newest of this environment. Throws `run_unknown`, and where the name is none or fits several:
 * what is done to a run is not done to one that was guessed.
 */
export async function findRun(engine: Runs, { config }: Named, id: string | undefined): Promise<RunInfo> {
  const all = await engine.list({ exclusive: config.environment })
  const newest = all.at(-1)
  if (id === undefined && newest !== undefined) return newest
  if (id === undefined) {
    const what = `There was no run yet in ${config.environment}`
    throw noSuchRun('run_unknown', what, undefined, 'backout plan, then: backout run')
  }
  return all.find(r => r.id === id) ?? byPart(all, id)
}

function byPart(all: readonly RunInfo[], part: string): RunInfo {
  const some = named(all.slice(-8))
  if (part.trim() === '') {
    const what = 'The run was named with nothing, as an empty variable does'
    throw noSuchRun('run_unnamed', what, some, 'name the run, or leave the word out altogether for the newest')
  }
  const fitting = all.filter(r => r.id.endsWith(part))
  const [run, ...others] = fitting
  if (run === undefined) throw noSuchRun('run_unknown', `There is no run ${part}`, some)
  if (part.length < ENOUGH) {
    const what = `${part} is too little of a run's id: at least its last ${ENOUGH} characters`
    throw noSuchRun('run_part_short', what, named(fitting))
  }
  if (others.length === 0) return run
  throw noSuchRun('run_ambiguous', `${part} fits ${fitting.length} runs`, named(fitting), 'name more of the id')
}

function named(runs: readonly RunInfo[]): string {
  return `there are: ${runs.map(r => r.id).join(', ') || 'none'}`
}

function noSuchRun(code: string, what: string, cause: string | undefined, next = 'backout status'): BackoutError {
  return new BackoutError({ code, what, cause, next, exit: 'usage' })
}

/** The named run, or the one that has not ended. Throws `run_ended` where that is none. */
export async function findOpenRun(engine: Runs, environment: Named, id: string | undefined): Promise<RunInfo> {
  const all = id === undefined ? await engine.list({ exclusive: environment.config.environment }) : []
  const run = all.findLast(r => !ENDED.has(r.state)) ?? (await findRun(engine, environment, id))
  if (!ENDED.has(run.state)) return run
  throw new BackoutError({
    code: 'run_ended',
    what: `Run ${run.id} has ended: ${run.state}`,
    next: `backout report ${run.id}; or a new one: backout plan`,
    exit: 'usage',
  })
}
