import { describe, expect, it } from 'vitest'
import { fail, pass } from '../../../test/support/memory-world.ts'
import { fastClock, latch, rollback, until, untilStopped } from '../../../test/support/rollback.ts'
import { scripted, type Script, type Scripted, sideBySide, stepOf, usersAway } from '../../../test/support/scripted.ts'
import type { Sample } from '../gate.ts'
import type { World } from './world.ts'

const step = (id: string) => ({ step: id })
const base = stepOf('app', 'any')

describe('C16: abort', () => {
  it('is not lost when the process died and another one takes over', async () => {
    const held = latch()
    const app = scripted('app', {
      steps: { a: {}, b: {} },
      phases: { code: { seq: [step('app/a'), step('app/b')] } },
      apply: async ({ id }, act) => {
        if (id === 'app/a' && app.applied.length === 0) await Promise.race([held.opened, untilStopped(act.signal)])
      },
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-begun'))
    await run.die(async engine => {
      held.open()
      await engine.signal('r1', '$cancel', { by: 'ann' }, 'cancel')
    })
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied).toEqual(['app/a'])
  })

  it('is not lost when somebody asks for a pause right after it', async () => {
    const held = latch()
    const app = scripted('app', {
      steps: { a: {}, b: {} },
      phases: { code: { seq: [step('app/a'), step('app/b')] } },
      apply: ({ id }) => (id === 'app/a' ? held.opened : undefined),
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-begun'))
    await run.signal('$cancel')
    await run.signal('$pause')
    held.open()
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied).toEqual(['app/a'])
  })
})

describe('C16: abort', () => {
  it('while it waits for an answer', async () => {
    const app = scripted('app', {
      steps: { a: {} },
      phases: { code: step('app/a') },
      verify: () => ({ is: 'unknown', why: 'connection refused' }),
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
  })

  it('while it is paused, by another process than the one that was paused', async () => {
    const app = scripted('app', {
      steps: { a: {}, b: {} },
      phases: { code: { seq: [step('app/a'), step('app/b')] } },
      apply: () => run.signal('$pause'),
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    expect((await run.settled()).state).toBe('paused')
    await run.die(engine => engine.signal('r1', '$cancel', { by: 'ann' }, 'cancel'))
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied).toEqual(['app/a'])
  })

  it('while a successor plan waits for its approval is an abort, no failure', async () => {
    const app = scripted('app', {
      steps: {},
      phases: {},
      rungs: [
        { id: 'set', tier: 'platform', title: 'set it' },
        { id: 'restore', tier: 'restore', title: 'restore it' },
      ],
      propose: ({ rung }) => ({
        steps: [{ ...base, id: `app/${rung}` }],
        phases: { code: step(`app/${rung}`) },
      }),
      apply: () => {
        throw new Error('image gone')
      },
    })
    const run = await rollback({ systems: {}, targets: { app: app.target }, onFailure: 'take' })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect((await run.asked()).about).toBe('approval')
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
  })

  it('asks where it cannot tell whether users are safe, instead of taking the abort for the answer', async () => {
    let blind = false
    const traffic = scripted('traffic', {
      ...usersAway(),
      steps: { drain: { args: { undoes: ['traffic/return'] } }, return: {}, away: {} },
      safe: ['traffic/away'],
      verify: ({ id }) => (blind && id === 'traffic/away' ? { is: 'unknown', why: 'balancer is down' } : undefined),
    })
    const app = scripted('app', {
      steps: { a: {}, b: {} },
      phases: { code: sideBySide('app', ['a', 'b'], { limit: 1 }) },
      apply: async () => {
        blind = true
        await run.signal('$cancel')
      },
    })
    const targets = { app: app.target, traffic: traffic.target }
    const run = await rollback({ systems: {}, targets })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'step', step: 'traffic/away' })
    await run.answer('done')
    expect((await run.settled()).state).toBe('aborted')
  })
})

describe('C16: pause', () => {
  const slow = (opened: Promise<void>) =>
    scripted('app', {
      steps: { a: {}, b: {}, c: {} },
      phases: { code: sideBySide('app', ['a', 'b', 'c'], { limit: 1 }) },
      apply: () => opened,
    })

  it('inside a par lets the running end and starts nothing', async () => {
    const held = latch()
    const app = slow(held.opened)
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-begun'))
    await run.signal('$pause')
    held.open()
    expect((await run.settled()).state).toBe('paused')
    expect(app.applied).toEqual(['app/a'])
    await run.signal('$resume')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual(['app/a', 'app/b', 'app/c'])
  })

  it('inside a par holds for the process that takes over, until somebody resumes', async () => {
    const held = latch()
    const app = slow(held.opened)
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-begun'))
    await run.signal('$pause')
    held.open()
    expect((await run.settled()).state).toBe('paused')
    await run.die()
    expect((await run.settled()).state).toBe('paused')
    expect(app.applied).toEqual(['app/a'])
    await run.die(engine => engine.signal('r1', '$resume', { by: 'ann' }, 'again'))
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual(['app/a', 'app/b', 'app/c'])
  })

  it('twice holds twice', async () => {
    const app = scripted('app', {
      steps: { a: {}, b: {}, c: {} },
      phases: { code: { seq: [step('app/a'), step('app/b'), step('app/c')] } },
      apply: ({ id }) => (id === 'app/c' ? undefined : run.signal('$pause')),
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    for (const so of [['app/a'], ['app/a', 'app/b']]) {
      expect((await run.settled()).state).toBe('paused')
      expect(app.applied).toEqual(so)
      await run.signal('$resume')
    }
    expect((await run.settled()).state).toBe('succeeded')
  })

  it('inside a par, then abort: nothing more is begun, and the run is aborted', async () => {
    const held = latch()
    const app = slow(held.opened)
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-begun'))
    await run.signal('$pause')
    held.open()
    expect((await run.settled()).state).toBe('paused')
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied).toEqual(['app/a'])
  })
})

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

describe('fail closed', () => {
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
