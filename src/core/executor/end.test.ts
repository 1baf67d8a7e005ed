import { describe, expect, it } from 'vitest'
import type { MemorySystem } from '../../../test/conformance/memory.ts'
import { rollback } from '../../../test/support/rollback.ts'
import { type Script, scripted, sideBySide, usersAway } from '../../../test/support/scripted.ts'

const system = (name: string): MemorySystem => ({ name, version: 'B', applied: {} })

describe('what a run says at its end', () => {
  it('is what is there then: a component that went back to the bad release meanwhile is named, and nothing is verified', async () => {
    const [web, worker] = [system('web'), system('worker')]
    worker.onApply = async () => void (web.version = 'B')
    const run = await rollback({ systems: { web, worker }, dependsOn: { worker: ['web'] } })
    await run.begin()
    expect((await run.settled()).state).toBe('failed')
    expect((await run.output()).why).toBe('all steps are done, but looked at once more it is not all on A: web: B')
  })

  it('is looked at again before it is said, for what was just put there may need a moment', async () => {
    const web = system('web')
    let looks = 0
    const run = await rollback(
      { systems: { web } },
      {
        world: world => ({
          ...world,
          unproven: async (request, signal) => {
            if (++looks === 1) throw new Error('the API is busy')
            return looks === 2 ? { found: ['web: 1 of 2 pods'], mute: [] } : world.unproven(request, signal)
          },
        }),
      },
    )
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(looks).toBe(3)
  })

  it.each([
    ['as long as it may be', 60_000, 'succeeded'],
    ['no longer', 15_000, 'failed'],
  ])('waits for what is on its way by itself %s', async (_, mayTakeMs, state) => {
    let looks = 0
    const unproven = async () =>
      ++looks === 6 ? { found: [], mute: [] } : { found: ['web: 1 of 2'], mute: [], mayTakeMs }
    const run = await rollback({ systems: { web: system('web') } }, { world: w => ({ ...w, unproven }) })
    await run.begin()
    expect((await run.settled()).state).toBe(state)
    expect(looks).toBe(state === 'succeeded' ? 6 : 4)
    expect(await run.of('end-found')).toEqual([{ found: ['web: 1 of 2'] }])
  })

  it('waits for all of the time that is left of what is on its way, which gets less meanwhile', async () => {
    const left = [60, 59, 55, 45, 35, 25, 15, 5]
    let looks = 0
    const unproven = async () => {
      const mayTakeMs = (left[looks++] ?? 0) * 1000
      return mayTakeMs === 0 ? { found: [], mute: [] } : { found: ['web: 1 of 2'], mute: [], mayTakeMs }
    }
    const run = await rollback({ systems: { web: system('web') } }, { world: w => ({ ...w, unproven }) })
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(looks).toBe(left.length + 1)
  })

  it('is success where somebody wanted more of the release meanwhile, and that is told', async () => {
    const more = [{ component: 'web', text: 'web has more of it: 6 pods' }]
    const world = { unproven: async () => ({ found: [], mute: [], more }) }
    const run = await rollback({ systems: { web: system('web') } }, { world: w => ({ ...w, ...world }) })
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(await run.of('fact')).toMatchObject([{ step: 'end', component: 'web', text: 'web has more of it: 6 pods' }])
  })

  it('is no success where nobody can tell', async () => {
    const world = { unproven: () => Promise.reject(new Error('the API is gone')) }
    const run = await rollback({ systems: { web: system('web') } }, { world: w => ({ ...w, ...world }) })
    await run.begin()
    expect((await run.settled()).state).toBe('failed')
    expect((await run.output()).why).toContain('it could not be looked at again: the API is gone')
  })

  it('names what a person went on without, wherever it stood', async () => {
    const script: Script = {
      steps: { one: {}, two: {} },
      phases: {
        code: {
          par: ['one', 'two'].map(id => ({ id, after: [], node: { step: `app/${id}` } })),
          limit: 2,
          maxFailures: 0,
        },
      },
      verify: step => (step.id === 'app/two' ? { is: 'unknown', why: 'no answer' } : undefined),
    }
    const run = await rollback({ systems: {}, targets: { app: scripted('app', script).target } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('skip')
    expect(await run.output()).toMatchObject({ state: 'succeeded', skipped: ['app/two'] })
  })

  it.each([
    ['a host beside the one that was skipped', 'app/web-1'],
    ['a step of another phase', 'app/env'],
  ])('names %s that is bad again, where its component cannot say what is to do', async (_, gone) => {
    const script: Script = {
      steps: { env: {}, 'web-1': {}, 'web-2': {}, last: {} },
      phases: {
        config: { step: 'app/env' },
        code: sideBySide('app', ['web-1', 'web-2']),
        cleanup: { step: 'app/last' },
      },
      verify: step => (step.id === 'app/web-2' ? { is: 'unknown', why: 'no answer' } : undefined),
      apply: step => void (step.id === 'app/last' && app.there.delete(gone)),
    }
    const app = scripted('app', script)
    const run = await rollback({ systems: {}, targets: { app: app.target } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('skip')
    expect((await run.settled()).state).toBe('failed')
    const { why, skipped } = await run.output()
    expect(skipped).toEqual(['app/web-2'])
    expect(why).toContain(`app: "${gone.slice(4)}" does not hold any more: `)
    expect(why).not.toContain('web-2" does not hold')
  })
})

describe('what sent users away and stopped writers', () => {
  /** A database that is saved and replaced while an app is stopped; `when` is called by each of its steps. */
  async function restoring(when: (step: string) => void) {
    const there = { running: true, away: false }
    const app = scripted('app', {
      steps: { stop: {}, go: { args: { undoes: ['app/stop'] } } },
      phases: { stop: { step: 'app/stop' }, code: { step: 'app/go' } },
      apply: step => void (there.running = step.id === 'app/go'),
      verify: step =>
        step.id === 'app/stop'
          ? { is: there.running ? 'not-done' : 'done', why: there.running ? 'it runs' : '' }
          : undefined,
    })
    const seen: string[] = []
    const db = scripted('db', {
      steps: { save: {}, load: {}, swap: { destructive: true } },
      phases: { backup: { step: 'db/save' }, data: { seq: [{ step: 'db/load' }, { step: 'db/swap' }] } },
      apply: step => {
        seen.push(`${step.id} ${there.running ? 'beside a writer' : 'alone'}`)
        when(step.id)
      },
    })
    const traffic = scripted('traffic', usersAway())
    const run = await rollback({ systems: {}, targets: { app: app.target, db: db.target, traffic: traffic.target } })
    return { run, seen, app, there, traffic }
  }

  it.each(['db/save', 'db/load'])('is seen to again where a writer came back after %s', async after => {
    const { run, seen, app, there } = await restoring(step => {
      if (step === after) there.running = true
    })
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(seen).toEqual(['db/save alone', 'db/load alone', 'db/swap alone'])
    expect(app.applied).toEqual(['app/stop', 'app/stop', 'app/go'])
    expect(await run.of('fact')).toMatchObject([
      { step: 'app/stop', kind: 'side-effect', text: '"stop" does not hold any more: it runs; it is seen to again' },
    ])
  })

  it('is seen to again where users were given back meanwhile', async () => {
    const { run, traffic } = await restoring(step => {
      if (step === 'db/save') traffic.there.delete('traffic/drain')
    })
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect(traffic.applied).toEqual(['traffic/drain', 'traffic/drain', 'traffic/return'])
  })

  it('is asked and left alone where it holds', async () => {
    const { run, app, traffic } = await restoring(() => {})
    await run.begin()
    expect((await run.settled()).state).toBe('succeeded')
    expect([...app.applied, ...traffic.applied]).toEqual(['app/stop', 'app/go', 'traffic/drain', 'traffic/return'])
    expect(await run.of('fact')).toEqual([])
  })
})
