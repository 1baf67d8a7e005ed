import { describe, expect, it } from 'vitest'
import {
  latch,
  type Rollback,
  type RollbackOptions,
  rollback,
  until,
  untilStopped,
} from '../../../test/support/rollback.ts'
import { type Script, type Scripted, scripted, stepOf, usersAway } from '../../../test/support/scripted.ts'
import type { Loss, Verdict } from '../contract.ts'
import { BackoutError } from '../errors.ts'
import { idemOf } from './attempt.ts'

const unknown: Verdict = { is: 'unknown', why: 'connection refused' }
const running: Verdict = { is: 'running', why: 'still at it' }

type One = Rollback & { readonly app: Scripted }

/** One component with the one step `app/go`. */
async function one(script: Partial<Script> = {}, more: RollbackOptions = {}): Promise<One> {
  const app = scripted('app', { steps: { go: {} }, phases: { code: { step: 'app/go' } }, ...script })
  const run = await rollback({ systems: {}, targets: { app: app.target } }, more)
  await run.begin()
  return { ...run, app }
}

describe('C16: a step that does not end', () => {
  it('is given up on after its limit though it ignores its signal, and the target decides', async () => {
    const never = latch()
    let signal: AbortSignal | undefined
    const run = await one({
      steps: { go: { limitMs: 2000 } },
      apply: (_, act) => {
        signal = act.signal
        return never.opened
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    expect(signal?.aborted).toBe(true)
    expect((await run.asked()).why).toMatch(/app\/go did not end within 2000 ms \(asked afterwards: nothing\)/)
    never.open()
  })

  it('is done where the target says so, however late its reply', async () => {
    const never = latch()
    const run = await one({
      steps: { go: { limitMs: 1000 } },
      apply: () => {
        run.app.there.add('app/go')
        return never.opened
      },
    })
    expect((await run.settled()).state).toBe('succeeded')
    expect((await run.of('step-done'))[0]).toMatchObject({ step: 'app/go', found: false })
    never.open()
  })

  it('writes nothing after it was given up on', async () => {
    const late = latch()
    let tries = 0
    const run = await one({
      steps: { go: { limitMs: 1000, retries: 1 } },
      apply: () => (++tries === 1 ? late.opened : undefined),
    })
    expect((await run.settled()).state).toBe('succeeded')
    late.open()
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(run.app.applied).toEqual(['app/go'])
  })

  it('leaves a person to decide where even the question is never answered', async () => {
    const never = latch()
    let asked = 0
    const run = await one({
      steps: { go: { limitMs: 2000 } },
      verify: async () => {
        if (++asked === 1) await never.opened
        return undefined
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'step', why: 'it could not be asked: no answer within 30000 ms' })
    never.open()
  })

  it('is followed while it runs, and asked about once its limit is over', async () => {
    const run = await one({ steps: { go: { limitMs: 2000 } }, verify: () => running })
    expect((await run.settled()).state).toBe('waiting')
    expect((await run.asked()).why).toBe('still running after 2000 ms: still at it')
    expect(run.app.applied).toEqual(['app/go'])
  })

  it('is not begun again while it runs, even where it would be harmless', async () => {
    const run = await one({
      steps: { go: { limitMs: 1000, retries: 1, onUnknown: 'repeat' } },
      verify: async () => ((await run.types()).includes('step-retry') ? undefined : running),
    })
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.types()).toContain('step-retry')
    expect(run.app.applied).toEqual(['app/go'])
  })
})

describe('C16: a step that fails', () => {
  it('is tried again after ever longer pauses, not more often than it says', async () => {
    const at: number[] = []
    const run = await one({
      steps: { go: { retries: 3 } },
      apply: () => {
        at.push(performance.now() * 100)
        throw new Error('no route to host')
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    expect(at).toHaveLength(4)
    const pauses = at.slice(1).map((t, i) => t - (at[i] ?? 0))
    expect(pauses.map((ms, i) => ms >= ([500, 2000, 5000][i] ?? 0) * 0.9)).toEqual([true, true, true])
    expect(await run.of('step-retry')).toHaveLength(3)
    expect((await run.asked()).why).toContain('no route to host')
  })

  it('is looked at before it is tried again: what the lost reply had done is not done twice', async () => {
    let looks = 0
    const run = await one({
      steps: { go: { retries: 1 } },
      apply: () => {
        run.app.applied.push('app/go')
        run.app.there.add('app/go')
        throw new Error('socket hang up')
      },
      verify: () => (++looks === 1 ? { is: 'not-done', why: 'a replica answered that lags behind' } : undefined),
    })
    expect((await run.settled()).state).toBe('succeeded')
    expect(run.app.applied).toEqual(['app/go'])
    expect((await run.of('step-done'))[0]).toMatchObject({ found: true })
  })

  it('says what its error says is to be done', async () => {
    const full = new BackoutError({ code: 'x', what: 'web-1 is full', next: 'free space there' })
    const run = await one({ apply: () => Promise.reject(full) })
    expect((await run.settled()).state).toBe('waiting')
    const said = { why: expect.stringContaining('web-1 is full'), next: 'free space there' }
    expect([...(await run.of('step-failed')), await run.asked()]).toMatchObject([said, said])
  })

  it('may fail without a promise and without a reason', async () => {
    const app = scripted('app', { steps: { go: {} }, phases: { code: { step: 'app/go' } } })
    const target = {
      ...app.target,
      apply: () => {
        throw undefined as unknown as Error
      },
    }
    const run = await rollback({ systems: {}, targets: { app: target } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    expect((await run.asked()).why).toContain('it failed without saying why')
  })

  it('is asked about where its component can no longer be opened', async () => {
    let gone = true
    const run = await one(
      {},
      {
        world: world => ({
          ...world,
          target: async id => {
            if (gone) throw new Error('its key file is gone')
            return world.target(id)
          },
        }),
      },
    )
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'failure', why: 'app cannot be opened: its key file is gone' })
    gone = false
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
  })
})

describe('C16: a step that nobody can tell of', () => {
  it('is never done because the question failed', async () => {
    let broken = true
    const run = await one({
      verify: () => {
        if (broken) throw new Error('certificate expired')
        return undefined
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'step', answers: ['done', 'not-done', 'look', 'skip'] })
    broken = false
    await run.answer('not-done')
    expect((await run.settled()).state).toBe('succeeded')
    expect(run.app.applied).toEqual(['app/go', 'app/go'])
  })

  it.each([
    ['done', ['app/go']],
    ['not-done', ['app/go', 'app/go']],
  ] as const)('is asked about again by its target at a word, which says %s by then', async (_, applied) => {
    let silent = true
    const run = await one({
      verify: () => {
        if (silent) return unknown
        const is = run.app.applied.length < applied.length ? 'not-done' : 'done'
        return { is, why: 'it answers again' }
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('look')
    expect((await run.settled()).state).toBe('waiting')
    expect(run.app.applied).toEqual(['app/go'])
    silent = false
    await run.answer('look')
    expect((await run.settled()).state).toBe('succeeded')
    expect(run.app.applied).toEqual(applied)
  })

  it('is applied again where that is harmless, as often as it says and no more', async () => {
    const run = await one({ steps: { go: { onUnknown: 'repeat', retries: 2 } }, verify: () => unknown })
    expect((await run.settled()).state).toBe('waiting')
    expect(run.app.applied).toEqual(['app/go', 'app/go', 'app/go'])
    expect(await run.asked()).toMatchObject({ about: 'failure', why: 'connection refused' })
  })

  it('C7: is kept from users, listed, and counts as a failure', async () => {
    const fenced: string[] = []
    const run = await one({
      steps: { go: { onUnknown: 'fence' } },
      verify: () => unknown,
      fence: async (step, act) => {
        act.guard()
        fenced.push(`${step.id} ${JSON.stringify(act.handle)}`)
      },
      apply: (_, act) => act.note({ unit: 'u1' }),
    })
    expect((await run.settled()).state).toBe('waiting')
    expect(fenced).toEqual(['app/go {"unit":"u1"}'])
    expect((await run.asked()).why).toBe('connection refused; kept away from users')
    expect(await run.of('fenced')).toMatchObject([{ step: 'app/go', fenced: true }])
  })

  it.each([
    ['has no fence', undefined, 'its adapter has no fence'],
    ['has a fence that fails', () => Promise.reject(new Error('balancer is down')), 'balancer is down'],
  ])('says so where its target %s', async (_, fence, why) => {
    const script: Partial<Script> = { steps: { go: { onUnknown: 'fence' } }, verify: () => unknown }
    const run = await one(fence === undefined ? script : { ...script, fence })
    expect((await run.settled()).state).toBe('waiting')
    expect((await run.asked()).why).toBe(`connection refused; could not be kept away from users: ${why}`)
    expect(await run.of('fenced')).toMatchObject([{ fenced: false, fence: why }])
  })
})

describe('A6: a step that a person spoke for', () => {
  it('has a name at its end, so that nobody takes its time for a measured one', async () => {
    const run = await one({ verify: () => ({ is: 'unknown', why: 'connection refused' }) })
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('done')
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.of('step-done')).toMatchObject([{ found: false, by: 'ann' }])
  })
})

describe('C11: a step that would lose more than was accepted', () => {
  const loss = (count: number): Loss[] => [{ what: 'orders.discount', count, unit: 'values', since: null, note: '' }]

  it('touches nothing, waits for a word, and goes on with it', async () => {
    let now = 100
    const run = await one({
      loss: loss(100),
      steps: { go: { recheck: true, destructive: true } },
      apply: (_, act) => {
        if (act.accepts(loss(now))) return
        throw new BackoutError({ code: 'loss_not_accepted', what: `${now} values would be lost` })
      },
    })
    expect((await run.settled()).state).toBe('succeeded')
    now = 111
    const more = await one({
      loss: loss(100),
      apply: (_, act) => {
        if (act.accepts(loss(now))) return
        throw new BackoutError({ code: 'loss_not_accepted', what: `${now} values would be lost` })
      },
    })
    expect((await more.settled()).state).toBe('waiting')
    expect(more.app.applied).toEqual([])
    expect(await more.asked()).toMatchObject({
      answers: ['accept', 'skip'],
      loss: loss(111),
      why: '111 values would be lost',
    })
    now = 112
    await more.answer('accept')
    expect((await more.settled()).state).toBe('waiting')
    expect((await more.asked()).why).toBe('112 values would be lost')
    await more.answer('accept')
    expect((await more.settled()).state).toBe('succeeded')
    expect(more.app.applied).toEqual(['app/go'])
  })

  it('can be skipped, and the run goes on without it', async () => {
    const run = await one({
      steps: { go: {}, next: {} },
      phases: { data: { step: 'app/go' }, code: { step: 'app/next' } },
      apply: (step, act) => {
        if (step.id === 'app/next' || act.accepts(loss(1))) return
        throw new BackoutError({ code: 'loss_not_accepted', what: 'a value would be lost' })
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('skip')
    expect((await run.settled()).state).toBe('succeeded')
    expect(run.app.applied).toEqual(['app/next'])
    expect((await run.of('step-skipped'))[0]).toMatchObject({ step: 'app/go', why: 'ann said so: looked' })
  })
})

describe('C16: what a step is given', () => {
  it('has one mark over attempts, passes and processes, and no other step has it', async () => {
    const marks = new Set<string>()
    const held = latch()
    let tries = 0
    const run = await one({
      steps: { go: { retries: 1 } },
      apply: (_, act) => {
        marks.add(act.idem)
        if (++tries === 1) throw new Error('once')
        return tries === 2 ? Promise.race([held.opened, untilStopped(act.signal)]) : undefined
      },
    })
    await until(() => tries === 2)
    await run.die()
    expect((await run.settled()).state).toBe('succeeded')
    expect(tries).toBe(3)
    expect([...marks]).toHaveLength(1)
    expect([...marks][0]).toMatch(/^r1\.[A-Za-z0-9._-]+$/)
    expect(new Set(['a/b.c', 'a.b/c', 'a/b/c', 'a/b c', 'a/b_c'].map(id => idemOf('r1', id))).size).toBe(5)
  })

  it('keeps what it noted, over processes too', async () => {
    const seen: unknown[] = []
    const held = latch()
    const run = await one({
      apply: async (_, act) => {
        seen.push(act.handle)
        await act.note({ job: seen.length })
        seen.push(act.handle)
        if (seen.length === 2) await Promise.race([held.opened, untilStopped(act.signal)])
      },
    })
    await until(() => seen.length === 2)
    await run.die()
    expect((await run.settled()).state).toBe('succeeded')
    expect(seen).toEqual([null, { job: 1 }, { job: 1 }, { job: 3 }])
  })

  it('C14: finds the backup that the run made before it changed anything, from whatever plan and process', async () => {
    const found: (string | undefined)[] = []
    const made: string[] = []
    const ways = ['down', 'restore'] as const
    const db = scripted('db', {
      steps: {},
      phases: {},
      rungs: ways.map(id => ({ id, tier: 'module', title: id })),
      propose: ({ rung }) => ({
        steps: [stepOf('db', `save-${rung}`), stepOf('db', rung)],
        phases: { backup: { step: `db/save-${rung}` }, data: { step: `db/${rung}` } },
      }),
      async apply(step, act) {
        if (step.id.startsWith('db/save')) {
          const others = [
            { component: 'db', reason: 'capture', idem: `${act.idem}.x` },
            { component: 'db2', reason: 'pre-rollback', idem: act.idem },
            { component: 'db', reason: 'pre-rollback', idem: 'r11.db.save' },
            { component: 'db', reason: 'pre-rollback' },
          ] as const
          for (const about of others) await (await act.backups.begin({ release: null, ...about })).seal(null)
          found.push((await act.preRollback())?.id)
          const about = { component: 'db', reason: 'pre-rollback', release: null, idem: act.idem } as const
          made.push((await (await act.backups.begin(about)).seal(null)).id)
        }
        found.push((await act.preRollback())?.id)
        if (step.id === 'db/down') throw new Error('the down script is broken')
      },
    })
    const run = await rollback({ systems: {}, targets: { db: db.target }, onFailure: 'take' })
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(made).toHaveLength(2)
    const [first] = made
    expect(found).toEqual([undefined, first, first, first, first, first])
  })

  it('can leave users safe only by steps that are there: a failure of that is in the reason', async () => {
    const traffic = scripted('traffic', {
      ...usersAway(),
      steps: { drain: { args: { undoes: ['traffic/return'] } }, return: {}, away: {} },
      safe: ['traffic/away'],
      apply: step => {
        if (step.id === 'traffic/away') throw new Error('balancer is down')
      },
    })
    const app = scripted('app', {
      steps: { go: {} },
      phases: { code: { step: 'app/go' } },
      apply: () => {
        throw new Error('image gone')
      },
    })
    const run = await rollback({
      systems: {},
      targets: { traffic: traffic.target, app: app.target },
      onFailure: 'stop',
    })
    await run.begin()
    expect((await run.settled()).state).toBe('failed')
    expect((await run.output()).unsafe).toEqual([expect.stringContaining('balancer is down')])
    expect((await run.output()).why).toMatch(
      /image gone.*; users could not be brought to safety: traffic\/away: balancer/,
    )
  })
})
