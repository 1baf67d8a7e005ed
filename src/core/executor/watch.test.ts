import { describe, expect, it } from 'vitest'
import { fail, pass } from '../../../test/support/memory-world.ts'
import { fastClock, latch, rollback, until, untilStopped } from '../../../test/support/rollback.ts'
import { type Script, type Scripted, scripted, usersAway } from '../../../test/support/scripted.ts'
import type { Target, Verdict } from '../contract.ts'
import type { Sample } from '../gate.ts'
import type { World } from './world.ts'

const step = (id: string) => ({ step: id })

describe('D7: the watch', () => {
  it('brings users back after its gate failed and somebody said to try again', async () => {
    let asked = 0
    const traffic = scripted('traffic', usersAway())
    const gates = { healthy: () => (++asked === 1 ? fail : pass) }
    const run = await rollback({
      systems: {},
      targets: { traffic: traffic.target },
      gates,
      watch: { gates: ['healthy'], forMs: 2000 },
    })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect([...traffic.there]).toEqual(['traffic/drain'])
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    expect([...traffic.there]).toEqual(['traffic/return'])
  })
})

describe('D7: the watch goes on', () => {
  const env = (healthy: () => Sample, app: Scripted, forMs = 2000) => ({
    systems: {},
    targets: { app: app.target },
    gates: { healthy },
    watch: { gates: ['healthy'], forMs },
  })
  const app = () => scripted('app', { steps: { a: {} }, phases: { return: step('app/a') } })

  it('is over at once when a new run supersedes it', async () => {
    const run = await rollback(env(() => pass, app(), 3_600_000))
    await run.begin()
    await until(async () => (await run.types()).includes('gate'))
    await run.signal('$supersede')
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.types()).toContain('watch-superseded')
  })

  it('is over without another measurement where its process died, and something else was put there since', async () => {
    let asked = 0
    let bad = false
    const healthy = () => {
      if (bad) throw new Error('measures something else')
      asked++
      return pass
    }
    const run = await rollback(env(healthy, app(), 3_600_000))
    await run.begin()
    await until(() => asked > 0)
    await until(async () => (await run.of('gate')).length > 0)
    await run.die(async engine => {
      bad = true
      await engine.signal('r1', '$supersede', { by: 'ann', upgrade: 'v3' }, 'upgrade')
    })
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.output()).toMatchObject({ why: 'its watch was cut short: the upgrade to v3 began' })
  })

  it('is only superseded where it is a watch', async () => {
    const held = latch()
    const bake = { gate: 'healthy', forMs: 50_000, onFail: { apply: [], then: 'ask' as const } }
    const slow = scripted('app', { steps: { a: {} }, phases: { return: { seq: [step('app/a'), bake] } } })
    let asked = 0
    const healthy = () => {
      if (++asked === 5) held.open()
      return pass
    }
    const run = await rollback({ systems: {}, targets: { app: slow.target }, gates: { healthy } })
    await run.begin()
    await run.signal('$supersede')
    await held.opened
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.types()).not.toContain('watch-superseded')
  })

  it('is paused and aborted like everything else', async () => {
    const run = await rollback(env(() => pass, app(), 3_600_000))
    await run.begin()
    for (const _ of [1, 2]) {
      await until(async () => (await run.types()).includes('gate'))
      await run.signal('$pause')
      await until(async () => (await run.settled()).state === 'paused')
      await run.signal('$resume')
    }
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
  })

  it('is as long as it should be though the clock jumps, back and forth', async () => {
    const real = fastClock()
    let shift = 0
    let asked = 0
    const healthy = () => {
      shift += ++asked % 2 === 0 ? 9_000_000 : -7_000_000
      return pass
    }
    const clock = { ...real, now: () => real.now() + shift }
    const began = real.mono()
    const run = await rollback(env(healthy, app(), 20_000), { clock })
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(real.mono() - began).toBeGreaterThan(15_000)
    expect(asked).toBeGreaterThan(15)
  })

  it('goes on where it was when another process takes over, and asks at once', async () => {
    let asked = 0
    const run = await rollback(env(() => (++asked >= 4 ? fail : pass), app(), 3_600_000))
    await run.begin()
    await until(() => asked === 1)
    await run.die()
    await until(() => asked >= 2)
    await run.die()
    expect(asked).toBeLessThan(6)
    await run.close()
  })

  it('asks all of its gates', async () => {
    const asked = { one: 0, two: 0 }
    const target = app()
    const run = await rollback({
      systems: {},
      targets: { app: target.target },
      gates: { one: () => (++asked.one, pass), two: () => (++asked.two > 3 ? fail : pass) },
      watch: { gates: ['one', 'two'], forMs: 50_000 },
    })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'gate', step: 'two' })
    expect(asked.one).toBeGreaterThanOrEqual(3)
    expect(asked.one).toBeLessThan(10)
  })
})

describe('D7: a resumed run', () => {
  it.each(['the same phase', 'an earlier phase', 'a nested sequence'])(
    'first asks the last gate again, which stands in %s',
    async where => {
      let healthy = true
      const held = latch()
      const gate = { gate: 'healthy', forMs: 0, onFail: { apply: [], then: 'ask' as const } }
      const steps = [step('app/a'), step('app/b')]
      const phases: Script['phases'] = {
        'the same phase': { return: { seq: [gate, ...steps] } },
        'an earlier phase': { verify: gate, return: { seq: steps } },
        'a nested sequence': { return: { seq: [gate, { seq: [{ seq: steps }] }] } },
      }[where] as Script['phases']
      let tries = 0
      const app = scripted('app', {
        steps: { a: {}, b: {} },
        phases,
        apply: (_, act) => (++tries === 1 ? Promise.race([held.opened, untilStopped(act.signal)]) : undefined),
      })
      const gates = { healthy: () => (healthy ? pass : fail) }
      const run = await rollback({ systems: {}, targets: { app: app.target }, gates })
      await run.begin()
      await until(() => tries === 1)
      healthy = false
      await run.die()
      expect((await run.settled()).state).toBe('waiting')
      expect(await run.asked()).toMatchObject({ about: 'gate', step: 'healthy' })
      expect(app.applied).toEqual(['app/a'])
      if (where === 'an earlier phase') {
        await run.answer('retry')
        await until(async () => (await run.of('asked')).length === 2)
        expect(app.applied).toEqual(['app/a'])
      }
      healthy = true
      await run.answer('retry')
      expect((await run.settled()).state).toBe('succeeded')
      expect(app.applied).toEqual(['app/a', 'app/b'])
    },
  )
})

describe('D7: a resumed run in the middle of hosts side by side', () => {
  it('asks the gate that let it come there before the next step of each, and sends nobody away', async () => {
    let healthy = true
    let asked = 0
    let tries = 0
    const gate = { gate: 'healthy', forMs: 0, onFail: { apply: ['app/away'], then: 'ask' as const } }
    const lane = (id: string) => ({ id, after: [], node: { seq: [step(`app/${id}1`), step(`app/${id}2`)] } })
    const par = (...lanes: ReturnType<typeof lane>[]) => ({ par: lanes, limit: 4, maxFailures: 0 })
    const verbs = ['a1', 'a2', 'b1', 'b2', 'c1', 'c2', 'd1', 'd2']
    const app = scripted('app', {
      steps: Object.fromEntries([...verbs, 'away'].map(verb => [verb, {}])),
      phases: { code: { seq: [gate, par(lane('a'), lane('b')), par(lane('c'), lane('d'))] } },
      safe: ['app/away'],
      apply: (_, act) => (++tries <= 2 ? untilStopped(act.signal) : undefined),
    })
    const gates = { healthy: () => (asked++, healthy ? pass : fail) }
    const run = await rollback({ systems: {}, targets: { app: app.target }, gates })
    await run.begin()
    await until(() => tries === 2)
    healthy = false
    asked = 0
    await run.die()
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'gate', step: 'healthy' })
    expect(app.applied.toSorted()).toEqual(['app/a1', 'app/b1'])
    expect(asked).toBe(2)
    healthy = true
    asked = 0
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied.toSorted()).toEqual(verbs.map(verb => `app/${verb}`))
    // Once before the new pass, and in its own turn there: nobody was interrupted since.
    expect(asked).toBe(2)
  })
})

describe('C1: a run that was stopped before it touched anything', () => {
  const held = async (world: { moved: boolean }) => {
    const app = scripted('app', {
      steps: { a: {} },
      phases: { code: step('app/a') },
      state: () => ({ moved: world.moved }),
    })
    let departures = 0
    const departure = async () => {
      if (++departures === 1) await run.signal('$pause')
      return 'departure'
    }
    const run = await rollback({ systems: {}, targets: { app: app.target }, departure })
    await run.begin()
    expect((await run.settled()).state).toBe('paused')
    return { run, app }
  }

  it('observes again when it goes on, and touches nothing where the world has moved', async () => {
    const world = { moved: false }
    const { run, app } = await held(world)
    world.moved = true
    await run.signal('$resume')
    expect((await run.settled()).state).toBe('failed')
    expect((await run.output()).why).toContain('moved: app changed')
    expect(app.applied).toEqual([])
  })

  it('goes on where nothing has changed, in another process too', async () => {
    const { run, app } = await held({ moved: false })
    await run.die(engine => engine.signal('r1', '$resume', { by: 'ann' }, 'again'))
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual(['app/a'])
  })

  it('ends there where it is aborted', async () => {
    const { run, app } = await held({ moved: false })
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied).toEqual([])
  })
})

describe('fail closed', () => {
  it('leaves users safe where an adapter answers what no contract knows', async () => {
    const traffic = scripted('traffic', usersAway())
    const app = scripted('app', { steps: { a: {} }, phases: { code: step('app/a') } })
    const odd: Target = { ...app.target, verify: async () => undefined as unknown as Verdict }
    const run = await rollback({ systems: {}, targets: { app: odd, traffic: traffic.target } })
    await run.begin()
    expect((await run.settled()).state).toBe('failed')
    expect([...traffic.there]).toEqual(['traffic/drain'])
    expect((await run.output()).why).toContain('unexpected')
  })

  it('takes a gate that cannot be asked for no pass', async () => {
    const app = scripted('app', { steps: { a: {} }, phases: { code: step('app/a') } })
    const gate = () => Promise.reject(new Error('there is no gate "helthy"'))
    const world = (w: World): World => ({ ...w, gate })
    const run = await rollback({ systems: {}, targets: { app: app.target }, verify: ['helthy'] }, { world })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ why: 'inconclusive: helthy: inconclusive, there is no gate "helthy"' })
  })

  it('asks a gate again that was skipped in an earlier phase', async () => {
    const app = scripted('app', { steps: { a: {} }, phases: { code: step('app/a') } })
    const watch = { gates: ['healthy'], forMs: 1000 }
    const run = await rollback({
      systems: {},
      targets: { app: app.target },
      gates: { healthy: () => fail },
      verify: ['healthy'],
      watch,
    })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('skip')
    await until(async () => (await run.of('asked')).length === 2)
    expect(await run.asked()).toMatchObject({ about: 'gate', step: 'healthy', phase: 'watch' })
    await run.answer('skip')
    expect((await run.output()).skipped).toEqual(['healthy', 'healthy'])
  })

  it('touches nothing where the departure cannot be captured', async () => {
    const app = scripted('app', { steps: { a: {} }, phases: { code: step('app/a') } })
    const departure = () => Promise.reject(new Error('db cannot be observed'))
    const run = await rollback({ systems: {}, targets: { app: app.target }, departure })
    await run.begin()
    expect(await run.settled()).toMatchObject({ state: 'failed', error: 'db cannot be observed' })
    expect(app.applied).toEqual([])
  })

  it('leaves users safe where a component can no longer be opened', async () => {
    const traffic = scripted('traffic', usersAway())
    const app = scripted('app', { steps: { a: {} }, phases: { code: step('app/a') } })
    const run = await rollback(
      { systems: {}, targets: { app: app.target, traffic: traffic.target } },
      {
        world: world => ({
          ...world,
          target: async id => {
            if (id === 'app') throw new Error('its key file is gone')
            return world.target(id)
          },
        }),
      },
    )
    await run.begin()
    const { state } = await run.settled()
    expect(state).toBe('waiting')
    expect((await run.asked()).why).toContain('its key file is gone')
  })

  it('does not call a run aborted because a step was not begun after one that failed', async () => {
    const app = scripted('app', {
      steps: { a: {}, b: {} },
      phases: {
        code: {
          par: [
            { id: 'a', after: [], node: step('app/a') },
            { id: 'b', after: ['a'], node: step('app/b') },
          ],
          limit: 2,
          maxFailures: 1,
        },
      },
      apply: () => {
        throw new Error('no space left')
      },
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect((await run.asked()).why).toContain('no space left')
  })
})
