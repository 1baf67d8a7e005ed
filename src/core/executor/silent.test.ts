import { describe, expect, it } from 'vitest'
import { latch, type RollbackOptions, rollback, until } from '../../../test/support/rollback.ts'
import { type Script, scripted } from '../../../test/support/scripted.ts'
import type { Verdict } from '../contract.ts'
import type { World } from './world.ts'

const unknown: Verdict = { is: 'unknown', why: 'connection refused' }

/** One component with the one step `app/go`. */
async function one(script: Partial<Script>, more: RollbackOptions = {}) {
  const app = scripted('app', { steps: { go: {} }, phases: { code: { step: 'app/go' } }, ...script })
  const run = await rollback({ systems: {}, targets: { app: app.target } }, more)
  await run.begin()
  return { ...run, app }
}

describe('C16: what does not answer at all', () => {
  it('a component that never opens: it is asked about after a while', async () => {
    const never = latch()
    const world = (w: World): World => ({
      ...w,
      target: async () => never.opened.then(() => Promise.reject(new Error('too late'))),
    })
    const run = await one({ steps: { go: { limitMs: 1000 } } }, { world })
    expect((await run.settled()).state).toBe('waiting')
    expect((await run.asked()).why).toContain('app cannot be opened: no answer within 30000 ms')
    expect(run.app.applied).toEqual([])
  })

  it('a system that starts anew: it is looked at again for a while before a person is asked', async () => {
    let [applied, asked] = [0, 0]
    const run = await one({
      steps: { go: {} },
      apply: () => {
        applied++
        run.app.there.add('app/go')
        throw new Error('server closed the connection unexpectedly')
      },
      verify: () => {
        if (++asked <= 3) throw new Error('the database system is starting up')
        return undefined
      },
    })
    expect((await run.settled()).state).toBe('succeeded')
    expect([applied, asked]).toEqual([1, 4])
  })

  it.each([
    ['of a step that asks', 'ask', 0],
    ['of one that is harmless twice', 'repeat', 1],
  ] as const)(
    'a system that starts anew, whose adapter says that nothing answered, %s',
    async (_, onUnknown, retries) => {
      let [applied, asked] = [0, 0]
      const run = await one({
        steps: { go: { onUnknown, retries } },
        apply: () => {
          if (++applied > 1) return void run.app.there.add('app/go')
          throw new Error('server closed the connection unexpectedly')
        },
        verify: () => (++asked <= 4 ? { ...unknown, unheard: true } : undefined),
      })
      // Where it is not harmless twice, the target has told by now that nothing was done, and it failed.
      expect((await run.settled()).state).toBe(onUnknown === 'repeat' ? 'succeeded' : 'waiting')
      if (onUnknown === 'ask') expect((await run.asked()).why).toContain('closed the connection')
      expect([applied, asked]).toEqual(onUnknown === 'repeat' ? [2, 7] : [1, 5])
    },
  )

  it('a fence: the step counts as failed, and the fence writes nothing after it was given up on', async () => {
    const held = latch()
    let wrote: unknown = 'nothing yet'
    const run = await one({
      steps: { go: { limitMs: 1000, onUnknown: 'fence' } },
      verify: () => unknown,
      fence: async (_, act) => {
        await held.opened
        try {
          act.guard()
          wrote = 'something'
        } catch (error) {
          wrote = (error as Error).message
        }
      },
    })
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.of('fenced')).toMatchObject([{ fenced: false, fence: 'no answer within 1000 ms' }])
    held.open()
    await until(() => wrote !== 'nothing yet')
    expect(wrote).toBe('no answer within 1000 ms')
  })

  it('a step, while this process lets go: it is waited for, but not for ever', async () => {
    const never = latch()
    let begun = false
    const run = await one({
      apply: () => {
        begun = true
        return never.opened
      },
    })
    await until(() => begun)
    await run.close()
    expect(await run.types()).not.toContain('step-done')
  })
})
