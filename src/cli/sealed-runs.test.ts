import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Engine, Event, RunInfo } from '../core/engine.ts'
import { memoryStore } from '../engine/memory/store.ts'
import { Runtime } from '../engine/runtime.ts'
import { comparedRuns, intactRun, wholeJournal } from './sealed-runs.ts'
import type { Environment } from './wiring/environment.ts'
import { eventsOf } from './wiring/events.ts'

const chain = Buffer.alloc(32, 7)
const environment = { ledger: { keys: { chain } } } as unknown as Environment

let engine: Runtime
let end = () => {}
beforeEach(async () => {
  engine = new Runtime(memoryStore(chain), { pollMs: 2 })
  engine.define('short', 1, async () => 'over')
  const held = new Promise<void>(resolve => (end = resolve))
  engine.define('long', 1, async ctx => ctx.run('hold', async () => held.then(() => 'over')))
  await engine.open({ worker: true })
  await engine.start('short', 'r1', {}, { exclusive: 'a' })
  await engine.settled('r1')
  await engine.start('long', 'r2', {}, { exclusive: 'b' })
})
afterEach(() => engine.close())

/** What the engine answers, while others go on: each turn of theirs comes right after one reading of all events. */
function busy(turns: (() => Promise<void>)[]): Engine {
  const events: Engine['events'] = async function* (run, options) {
    yield* engine.events(run, options)
    await turns.shift()?.()
  }
  return { list: f => engine.list(f), get: id => engine.get(id), events } as Partial<Engine> as Engine
}

const ends = async () => {
  end()
  await engine.settled('r2')
}
const begins = async () => {
  await engine.start('short', 'r3', {}, { exclusive: 'c' })
  await engine.settled('r3')
}

it('E7: a run that begins or ends while the journal is read is not taken for altered', async () => {
  const { runs, events } = await wholeJournal(busy([begins, ends]))
  expect(comparedRuns(environment, runs, events)).toEqual({ altered: null, uncovered: [] })
  expect(runs.map(r => [r.id, r.state])).toEqual(['r1', 'r2', 'r3'].map(id => [id, 'succeeded']))
})

it('E7: a run that ends while it is reported is reported as it ended', async () => {
  const before = (await engine.get('r2')) as RunInfo
  const reading = busy([ends])
  const { run, events } = await intactRun(environment, reading, before, () => eventsOf(reading, 'r2'))
  expect([run.state, events.at(-1)?.type]).toEqual(['succeeded', 'run-ended'])
})

it('E7: what was altered shows all the same, however often is looked', async () => {
  await ends()
  const list = async () => (await engine.list()).map(r => (r.id === 'r2' ? { ...r, state: 'failed' as const } : r))
  const altered = { ...busy([begins]), list, get: async () => (await list())[1] ?? null } as Engine
  const { runs, events } = await wholeJournal(altered)
  expect(comparedRuns(environment, runs, events).altered).toBe('run r2: it is failed, and ended succeeded')
  const [, run] = await list()
  const read = (): Promise<Event[]> => eventsOf(altered, 'r2')
  await expect(intactRun(environment, altered, run as RunInfo, read)).rejects.toThrow('not as it was written')
})
