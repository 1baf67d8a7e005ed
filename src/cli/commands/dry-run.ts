import type { Target } from '../../core/contract.ts'
import { EXIT } from '../../core/errors.ts'
import { defineRollback, ROLLBACK } from '../../core/executor/rollback.ts'
import type { World } from '../../core/executor/world.ts'
import { type Json, toJson } from '../../core/json.ts'
import type { Plan } from '../../core/plan.ts'
import { memoryStore } from '../../engine/memory/store.ts'
import { Runtime } from '../../engine/runtime.ts'
import { openView } from '../render/live.ts'
import type { Session } from '../session.ts'
import { worldOf } from '../wiring/world.ts'

/** Goes through a plan with the real executor, on a journal in memory, and with targets that are only asked. */
export async function dryRun(session: Session, plan: Plan): Promise<number> {
  const { out, environment, targets } = session
  const engine = new Runtime(memoryStore())
  await engine.open({ worker: true })
  defineRollback(engine, dryWorld(worldOf(environment, targets)))
  out.line('\nDry run: the targets are asked, and nothing is touched')
  const view = openView(out, plan)
  const input = { plan, by: 'dry run', reason: null, confirmed: 'dry run' }
  await engine.start(ROLLBACK, 'dry', toJson(input))
  const run = await engine.settled('dry')
  for await (const event of engine.events('dry')) {
    // Nothing was kept, and what a step that does nothing took says nothing.
    if (event.type !== 'departure') view.event({ ...event, data: without(event.data, 'ms') })
  }
  view.close()
  await engine.close()
  out.line(
    run.state === 'succeeded'
      ? '\nNothing was touched.'
      : `\nNothing was touched; it would have ended: ${run.error ?? run.state}`,
  )
  out.data({ type: 'result', run: null, dryRun: true, state: run.state, error: run.error })
  return run.state === 'succeeded' ? EXIT.ok : EXIT.failed
}

function without(data: Json, key: string): Json {
  if (data === null || typeof data !== 'object' || Array.isArray(data)) return data
  return Object.fromEntries(Object.entries(data).filter(([name]) => name !== key))
}

function dryWorld(world: World): World {
  return {
    ...world,
    departure: async () => 'dry-run',
    unproven: async () => ({ found: [], mute: [] }),
    target: async component => dry(await world.target(component)),
    gate: async name => {
      const gate = await world.gate(name)
      const sample = { ok: true, value: null, ms: 0, text: 'not asked in a dry run' }
      return { rule: { ...gate.rule, attempts: 1, pass: 1 }, probes: [{ name, measure: async () => sample }] }
    },
  }
}

/** The same target, whose steps change nothing and count as done. */
function dry(target: Target): Target {
  return {
    rungs: target.rungs,
    serves: target.serves,
    observe: signal => target.observe(signal),
    propose: question => target.propose(question),
    capture: async () => null,
    apply: async () => {},
    verify: async () => ({ is: 'done', why: 'dry run' }),
    exec: async () => ({ code: 0, stdout: '', stderr: '' }),
    [Symbol.asyncDispose]: async () => {},
  }
}
