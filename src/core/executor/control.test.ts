import { describe, expect, it } from 'vitest'
import { fail } from '../../../test/support/memory-world.ts'
import { latch, rollback, until, untilStopped } from '../../../test/support/rollback.ts'
import { scripted, sideBySide, stepOf, usersAway } from '../../../test/support/scripted.ts'

const step = (id: string) => ({ step: id })
const base = stepOf('app', 'any')

describe('C16: abort', () => {
  it.each([
    ['is left as it is, where nothing of it took effect', 'not-done', [], 'step-failed'],
    ['is known to be done, where it took effect', 'done', [], 'step-done'],
    ['is followed to its end, where it is still at it', 'running', [], 'step-done'],
  ] as const)('after the process died in a step: that %s', async (_, is, applied, told) => {
    const held = latch()
    let asked = 0
    const app = scripted('app', {
      steps: { a: { destructive: true }, b: {} },
      phases: { code: { seq: [step('app/a'), step('app/b')] } },
      apply: async (_, act) => {
        await Promise.race([held.opened, untilStopped(act.signal)])
      },
      verify: () => {
        if (is === 'running' && ++asked > 2) return { is: 'done', why: 'it ended' }
        return { is, why: 'as it was found' }
      },
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-begun'))
    await run.die(engine => engine.signal('r1', '$cancel', { by: 'ann' }, 'cancel'))
    expect((await run.settled()).state).toBe('aborted')
    held.open()
    expect(app.applied).toEqual(applied)
    const steps = (await run.of(told)).map(({ step, why }) => ({ step, why }))
    expect(steps).toEqual([
      { step: 'app/a', why: expect.stringContaining(is === 'running' ? 'it ended' : 'as it was found') },
    ])
    expect(await run.of('step-begun')).toHaveLength(1)
  })

  it.each([
    ['two components', ['app', 'web']],
    ['two steps of one', ['app']],
  ])(
    'after the process died with steps side by side in their middle: each is verified first, of %s',
    async (_, ids) => {
      const held = latch()
      let dead = false
      const targets = ids.map(id =>
        scripted(id, {
          steps: { done: {}, back: {}, next: {}, lost: {} },
          phases: {
            code: {
              seq: [sideBySide(id, ['done', 'back', 'lost'], { limit: 3 }), step(`${id}/next`)],
            },
          },
          apply: async (_, act) => {
            await Promise.race([held.opened, untilStopped(act.signal)])
          },
          verify: step => {
            if (step.id.endsWith('done')) return { is: 'done', why: 'it took effect' }
            if (step.id.endsWith('lost') && dead) return { is: 'unknown', why: 'no route to host' }
            return { is: 'not-done', why: 'it is down' }
          },
        }),
      )
      const byId = Object.fromEntries(targets.map((t, i) => [ids[i], t.target]))
      const run = await rollback({ systems: {}, targets: byId })
      await run.begin()
      await until(async () => (await run.of('step-begun')).length === 3 * ids.length)
      await run.die(async engine => {
        dead = true
        await engine.signal('r1', '$cancel', { by: 'ann' }, 'cancel')
      })
      expect((await run.settled()).state).toBe('aborted')
      held.open()
      expect(targets.flatMap(t => t.applied)).toEqual([])
      const each = (verb: string) => ids.map(id => `${id}/${verb}`).sort()
      const told = async (type: string) => (await run.of(type)).map(e => String(e['step'])).sort()
      expect(await told('step-done')).toEqual(each('done'))
      expect(await told('step-failed')).toEqual([...each('back'), ...each('lost')].sort())
      for (const { why, left } of await run.of('step-failed')) {
        expect(why).toMatch(/^left as it is, for the run was aborted: (it is down|no route to host)$/)
        expect(left).toMatchObject({ begun: true })
      }
      // Nothing more was begun.
      expect(await run.of('step-begun')).toHaveLength(3 * ids.length)
    },
  )

  it('is heard between two tries of a step, which is not applied again', async () => {
    const app = scripted('app', {
      steps: { a: { retries: 5 } },
      phases: { code: step('app/a') },
      apply: () => {
        tries++
        throw new Error('no route to host')
      },
    })
    let tries = 0
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    await until(async () => (await run.types()).includes('step-retry'))
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
    expect(tries).toBeLessThan(4)
    expect((await run.of('step-failed'))[0]?.['why']).toMatch(
      /left as it is, for the run was aborted: no route to host/,
    )
  })

  it.each([
    ['goes on with the next try', '$resume', 'waiting', 2],
    ['is left as it is', '$cancel', 'aborted', 1],
  ])('after a pause between two tries of a step, which %s', async (_, signal, state, tries) => {
    let tried = 0
    const app = scripted('app', {
      steps: { a: { retries: 1 } },
      phases: { code: step('app/a') },
      apply: async () => {
        if (++tried === 1) await run.signal('$pause')
        throw new Error('no route to host')
      },
    })
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    expect((await run.settled()).state).toBe('paused')
    expect(tried).toBe(1)
    await run.signal(signal)
    await until(async () => (await run.settled()).state === state)
    expect(tried).toBe(tries)
  })

  it('is heard while all is looked at once more, at the end', async () => {
    const app = scripted('app', { steps: { a: {} }, phases: { code: step('app/a') } })
    const run = await rollback(
      { systems: {}, targets: { app: app.target } },
      { world: world => ({ ...world, unproven: async () => ({ found: ['app: its pods restart'], mute: [] }) }) },
    )
    await run.begin()
    await until(async () => (await run.types()).includes('end-found'))
    await run.signal('$cancel')
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied).toEqual(['app/a'])
    expect((await run.of('end-found'))[0]).toEqual({ found: ['app: its pods restart'] })
    expect(await run.output()).toMatchObject({
      why: 'it was aborted: all steps are done, but looked at once more it is not all on A: app: its pods restart',
    })
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

  it('counts though it comes while a failed gate asks whether users are safe', async () => {
    const traffic = scripted('traffic', {
      ...usersAway(),
      steps: {
        drain: { args: { undoes: ['traffic/return'] } },
        return: { args: { undoes: ['traffic/drain'] } },
        away: { args: { undoes: ['traffic/return'] } },
      },
      safe: ['traffic/away'],
      verify: ({ id }) => (id === 'traffic/away' ? { is: 'unknown', why: 'balancer is down' } : undefined),
    })
    const run = await rollback({
      systems: {},
      targets: { traffic: traffic.target },
      gates: { healthy: () => fail },
      watch: { gates: ['healthy'], forMs: 1000 },
    })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'step', step: 'traffic/away' })
    await run.signal('$cancel')
    await until(async () => (await run.of('asked')).length === 2)
    // It ends; only whether users are safe is still for somebody to say.
    expect(await run.asked()).toMatchObject({ about: 'step', step: 'traffic/away' })
    await run.answer('done')
    expect((await run.settled()).state).toBe('aborted')
    expect(await run.of('asked')).toHaveLength(2)
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
