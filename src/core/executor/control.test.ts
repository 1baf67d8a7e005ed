import { describe, expect, it } from 'vitest'
import { fail, pass } from '../../../test/support/memory-world.ts'
import { latch, rollback, until } from '../../../test/support/rollback.ts'
import { scripted, sideBySide, usersAway } from '../../../test/support/scripted.ts'

const step = (id: string) => ({ step: id })

describe('C16: abort', () => {
  it('is not lost when the process died and another one takes over', async () => {
    const held = latch()
    const app = scripted('app', {
      steps: { a: {}, b: {} },
      phases: { code: { seq: [step('app/a'), step('app/b')] } },
      apply: async ({ id }, act) => {
        if (id === 'app/a' && app.applied.length === 0) await Promise.race([held.opened, aborted(act.signal)])
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

describe('fail closed', () => {
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
}
void sideBySide
