import { readFile, rm } from 'node:fs/promises'
import { defineRollback, ROLLBACK } from '../../core/executor/rollback.ts'
import { type RunInput, toldOf } from '../../core/executor/world.ts'
import type { Json } from '../../core/json.ts'
import { attend } from '../attend.ts'
import { inputFile } from '../detach.ts'
import type { Globals } from '../program.ts'
import { findRun, withSession } from '../session.ts'
import { worldOf } from '../wiring/world.ts'
import { refuseOpen } from './run.ts'

/** The process of a detached run. */
export function worker(globals: Globals, _options: unknown, runId = ''): Promise<number> {
  return withSession(globals, async session => {
    const { environment, targets } = session
    const engine = await environment.engine({ worker: true })
    const file = inputFile(environment.home, runId)
    const input = JSON.parse(await readFile(file, 'utf8').catch(() => 'null')) as Json
    defineRollback(engine, worldOf(environment, targets))
    const said = input as unknown as RunInput | null
    if (said === null) await findRun(engine, environment, runId)
    const fresh = said !== null && (await engine.get(runId)) === null
    const over = fresh ? await refuseOpen(engine, session, said.plan) : []
    const began = fresh ? environment.clock.mono() : null
    const told = said === null ? {} : toldOf(said)
    await engine.start(ROLLBACK, runId, input, { exclusive: environment.config.environment, over, told })
    await rm(file, { force: true })
    return attend(session, engine, runId, { began })
  })
}
