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
  await using targets = new Targets(environment)
  return await body({ environment, targets, out: openOut({ json: globals.json }), globals })
}

/** The named run, or the newest of this environment. Throws `run_unknown`. */
export async function findRun(engine: Engine, environment: Environment, id: string | undefined): Promise<RunInfo> {
  const all = await engine.list({ exclusive: environment.config.environment })
  const run = id === undefined ? all.at(-1) : all.find(r => r.id === id || r.id.endsWith(id))
  if (run !== undefined) return run
  throw new BackoutError({
    code: 'run_unknown',
    what: id === undefined ? `There was no run yet in ${environment.config.environment}` : `There is no run ${id}`,
    cause:
      id === undefined
        ? undefined
        : `there are: ${
            all
              .map(r => r.id)
              .slice(-8)
              .join(', ') || 'none'
          }`,
    next: id === undefined ? 'backout plan, then: backout run' : 'backout status',
    exit: 'usage',
  })
}

/** The named run, or the newest, that has not ended. */
export async function findOpenRun(engine: Engine, environment: Environment, id: string | undefined): Promise<RunInfo> {
  const run = await findRun(engine, environment, id)
  if (!ENDED.has(run.state)) return run
  throw new BackoutError({
    code: 'run_ended',
    what: `Run ${run.id} has ended: ${run.state}`,
    next: `backout report ${run.id}; or a new one: backout plan`,
    exit: 'usage',
  })
}
