import { describe, expect, it } from 'vitest'
import type { Event } from '../../src/core/engine.ts'
import { defineRollback, ROLLBACK } from '../../src/core/executor/rollback.ts'
import { toJson } from '../../src/core/json.ts'
import type { Plan } from '../../src/core/plan.ts'
import { memoryStore } from '../../src/engine/memory/store.ts'
import { Runtime } from '../../src/engine/runtime.ts'
import type { MemorySystem } from '../conformance/memory.ts'
import { fail, type MemoryEnvironment, type MemoryTraffic, memoryWorld, pass } from '../support/memory-world.ts'

function system(name: string, more: Partial<MemorySystem> = {}): MemorySystem {
  return { name, version: 'B', applied: {}, ...more }
}

async function start(env: MemoryEnvironment, change: (plan: Plan) => Plan = p => p) {
  const { world, plan } = memoryWorld(env)
  const engine = new Runtime(memoryStore(), { pollMs: 5 })
  await engine.open({ worker: true })
  defineRollback(engine, world)
  const made = change(await plan())
  await engine.start(ROLLBACK, 'r1', toJson({ plan: made, by: 'me', reason: null, confirmed: '--yes' }), {
    exclusive: 'test',
  })
  const events = async () => {
    const out: Event[] = []
    for await (const event of engine.events('r1')) out.push(event)
    return out
  }
  const types = async () => (await events()).map(e => e.type)
  const asked = async () => {
    const event = (await events()).findLast(e => e.type === 'asked')
    return event?.data as { token: string; about: string; why: string; answers: string[] }
  }
  const answer = async (say: string) => {
    const { token } = await asked()
    await engine.signal('r1', `answer:${token}`, { do: say, by: 'ann', reason: 'looked' }, `${token}-${say}`)
  }
  return { engine, events, types, asked, answer, settled: () => engine.settled('r1'), plan }
}

describe('C16: the executor', () => {
  it('takes everything back, in order of what depends on what', async () => {
    const order: string[] = []
    const onApply = (step: { component: string }) => void order.push(step.component)
    const systems = {
      app: system('app', { onApply }),
      db: system('db', { onApply }),
      cache: system('cache', { onApply }),
    }
    const run = await start({ systems, dependsOn: { app: ['db', 'cache'], cache: ['db'] } })
    expect(await run.settled()).toMatchObject({
      state: 'succeeded',
      output: { state: 'succeeded', departure: 'departure' },
    })
    expect(order).toEqual(['db', 'cache', 'app'])
    expect(Object.values(systems).map(s => s.version)).toEqual(['A', 'A', 'A'])
  })

  it('does not call a step failed because its reply was lost', async () => {
    const app = system('app')
    app.onApply = () => {
      app.version = 'A'
      throw new Error('socket hang up')
    }
    const run = await start({ systems: { app } })
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.types()).toContain('step-done')
    expect(await run.types()).not.toContain('step-retry')
  })

  it('tries again what left nothing behind, then asks', async () => {
    let tries = 0
    const app = system('app', {
      onApply: () => {
        if (++tries <= 2) throw new Error('no route to host')
      },
    })
    const run = await start({ systems: { app } })
    expect((await run.settled()).state).toBe('waiting')
    expect(tries).toBe(2)
    expect(await run.asked()).toMatchObject({ about: 'failure', answers: ['retry', 'next-rung', 'skip', 'stop'] })
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual({ 'app/set': 1 })
  })

  it('asks a person where the target cannot say, and journals the answer as theirs', async () => {
    let asked = 0
    const app = system('app', {
      onVerify: () => (++asked === 1 ? { is: 'unknown', why: 'connection refused' } : undefined),
    })
    const run = await start({ systems: { app } })
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'step', why: 'connection refused' })
    await run.answer('done')
    expect((await run.settled()).state).toBe('succeeded')
    const answered = (await run.events()).find(e => e.type === 'answered')
    expect(answered?.data).toMatchObject({ step: 'app/set', do: 'done', by: 'ann', reason: 'looked' })
    expect(app.applied).toEqual({ 'app/set': 1 })
  })

  it('follows what is still running instead of doing it twice', async () => {
    let polls = 0
    const app = system('app', {
      onVerify: () => (++polls < 3 ? { is: 'running', why: 'still at it' } : undefined),
    })
    const run = await start({ systems: { app } })
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual({ 'app/set': 1 })
    expect(polls).toBe(3)
  })

  it('C12: falls to the next rung by policy, as a successor plan inside the envelope or with an approval', async () => {
    const app = system('app', {
      onApply: step => {
        if (step.id === 'app/set') throw new Error('image gone')
      },
    })
    const run = await start({ systems: { app }, onFailure: 'take' })
    expect((await run.settled()).state).toBe('waiting')
    const asked = await run.asked()
    expect(asked.about).toBe('approval')
    expect(asked.why).toContain('app would be taken back by "rebuild"')
    await run.answer('approve')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual({ 'app/rebuild': 1 })
    const successor = (await run.events()).find(e => e.type === 'plan-successor')
    expect(successor?.data).toMatchObject({
      parent:
        (await start({ systems: { app: system('app') }, onFailure: 'take' }).then(r => r.plan())).parent ??
        expect.any(String),
    })
  })

  it('stops before touching anything when the world has moved since the plan', async () => {
    const app = system('app')
    const run = await start({ systems: { app } }, plan => {
      app.version = 'C'
      return plan
    })
    expect(await run.settled()).toMatchObject({ state: 'failed' })
    const moved = (await run.events()).find(e => e.type === 'plan-moved')
    expect(moved?.data).toMatchObject({ differences: ['app changed: it was "B", now "C"'] })
    expect(app.applied).toEqual({})
  })

  it('pauses between steps and goes on', async () => {
    const db = system('db')
    const app = system('app')
    const run = await start({ systems: { app, db }, dependsOn: { app: ['db'] } })
    db.onApply = () => run.engine.signal('r1', '$pause', { by: 'ann' }, 'p1')
    expect((await run.settled()).state).toBe('paused')
    expect([db.version, app.version]).toEqual(['A', 'B'])
    await run.engine.signal('r1', '$resume', { by: 'ann' }, 'r1')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.version).toBe('A')
  })

  it('D7: takes traffic away again when a gate fails, asks, and comes back in a new pass', async () => {
    const traffic: MemoryTraffic = { live: 100, log: [], gate: 'healthy' }
    let asked = 0
    const env = { systems: { app: system('app') }, dependsOn: { traffic: ['app'] }, traffic }
    const run = await start({ ...env, gates: { healthy: () => (++asked === 2 ? fail : pass) } })
    expect((await run.settled()).state).toBe('waiting')
    expect(traffic.live).toBe(0)
    expect(await run.asked()).toMatchObject({ about: 'gate', why: 'failed: healthy: broken' })
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    const step = (s: string) => `traffic/${s}`
    const first = ['drain', 'return/50', 'return/100', 'away'].map(step)
    expect(traffic.log).toEqual([...first, ...['return/50', 'return/100'].map(step)])
    expect(traffic.live).toBe(100)
  })

  it('leaves users safe when it is aborted', async () => {
    const traffic: MemoryTraffic = { live: 100, log: [], gate: 'healthy' }
    const app = system('app')
    const run = await start({ systems: { app }, dependsOn: { traffic: ['app'] }, traffic })
    app.onApply = () => run.engine.signal('r1', '$cancel', { by: 'ann' }, 'c1')
    expect(await run.settled()).toMatchObject({ state: 'aborted', output: { state: 'aborted' } })
    expect(traffic.live).toBe(0)
    expect(traffic.log).not.toContain('traffic/return/50')
  })

  it('skips what a person said to skip, and does the rest', async () => {
    const app = system('app', {
      onApply: () => {
        throw new Error('never')
      },
    })
    const traffic: MemoryTraffic = { live: 100, log: [], gate: 'healthy' }
    const run = await start({ systems: { app }, dependsOn: { traffic: ['app'] }, traffic })
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('skip')
    expect((await run.settled()).state).toBe('succeeded')
    expect(traffic.live).toBe(100)
    expect(app.version).toBe('B')
  })
})
