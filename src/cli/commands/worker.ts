import { readFile, rm } from 'node:fs/promises'
import { defineRollback, ROLLBACK } from '../../core/executor/rollback.ts'
import { type RunInput, toldOf } from '../../core/executor/world.ts'
import type { Json } from '../../core/json.ts'
import { attend } from '../attend.ts'
import { inputFile } from '../detach.ts'
import type { Globals } from '../program.ts'
import { withSession } from '../session.ts'
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
    const over = (await engine.get(runId)) === null ? await refuseOpen(engine, session) : []
    const told = input === null ? {} : toldOf(input as unknown as RunInput)
    await engine.start(ROLLBACK, runId, input, { exclusive: environment.config.environment, over, told })
    await rm(file, { force: true })
    return attend(session, engine, runId)
  })
}
