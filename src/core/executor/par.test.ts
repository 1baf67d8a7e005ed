import { describe, expect, it } from 'vitest'
import { latch, rollback, until } from '../../../test/support/rollback.ts'
import { type Script, type Scripted, scripted, sideBySide, stepOf, usersAway } from '../../../test/support/scripted.ts'
import type { Node } from '../contract.ts'
import { toJson } from '../json.ts'
import type { Plan } from '../plan.ts'

const HOSTS = ['web-1', 'web-2', 'web-3', 'web-4']
const ids = (...verbs: string[]) => verbs.map(verb => `app/${verb}`)

function fleet(bad: readonly string[], maxFailures: number, more: Partial<Script> = {}): Scripted {
  return scripted('app', {
    steps: Object.fromEntries(HOSTS.map(host => [host, { retries: 0 }])),
    phases: { code: sideBySide('app', HOSTS, { limit: 2, maxFailures }) },
    apply: ({ id }) => {
      if (bad.some(host => id === `app/${host}`)) throw new Error(`${id.slice(4)} is full`)
    },
    ...more,
  })
}

async function over(app: Scripted, more: Partial<Parameters<typeof rollback>[0]> = {}) {
  const run = await rollback({ systems: {}, targets: { app: app.target }, ...more })
  await run.begin()
  return run
}

describe('C7: failures side by side', () => {
  it('go on within what is tolerated, and are listed', async () => {
    const app = fleet(['web-2'], 1)
    const run = await over(app)
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied.toSorted()).toEqual(ids('web-1', 'web-3', 'web-4'))
    expect((await run.output()).fenced).toEqual(['app/web-2'])
    expect(await run.of('tolerated')).toMatchObject([{ what: 'app/web-2' }])
  })

  it('stop the rest once there are too many, and name every one', async () => {
    const app = fleet(['web-1', 'web-2'], 1)
    const run = await over(app)
    expect((await run.settled()).state).toBe('waiting')
    expect(app.applied).not.toContain('app/web-4')
    const { step, why } = await run.asked()
    const said = `${step}: ${why}`
    for (const host of ['web-1', 'web-2']) expect(said).toContain(`app/${host}: ${host} is full`)
    await run.answer('stop')
    expect((await run.settled()).state).toBe('failed')
  })

  it('of several components at once are all said', async () => {
    const broken = (id: string) =>
      scripted(id, {
        steps: { go: {} },
        phases: { code: { step: `${id}/go` } },
        apply: () => {
          throw new Error(`${id} is broken`)
        },
      }).target
    const run = await rollback({ systems: {}, targets: { a: broken('a'), b: broken('b'), c: broken('c') } })
    await run.begin()
    expect((await run.settled()).state).toBe('waiting')
    const { step, why } = await run.asked()
    // Each is named once.
    const said = `${step}: ${why}`
    for (const id of ['a', 'b', 'c']) expect(said.split(`${id}/go: ${id} is broken`)).toHaveLength(2)
  })

  it('are as strict as the strictest of them', async () => {
    const gate = (name: string, then: 'ask' | 'stop'): Node => ({ gate: name, forMs: 0, onFail: { apply: [], then } })
    const app = scripted('app', {
      steps: { go: {} },
      phases: {
        code: {
          par: [
            { id: 'one', after: [], node: gate('soft', 'ask') },
            { id: 'two', after: [], node: gate('hard', 'stop') },
          ],
          limit: 2,
          maxFailures: 0,
        },
        flags: { step: 'app/go' },
      },
    })
    const bad = () => ({ ok: false, value: 0, ms: 1, text: 'bad' })
    const run = await over(app, { gates: { soft: bad, hard: bad } })
    expect((await run.settled()).state).toBe('failed')
    expect(app.applied).toEqual([])
  })

  it('count what comes after them: within what is tolerated it is left out and listed', async () => {
    const after = (maxFailures: number): Script['phases'] => ({
      code: {
        par: HOSTS.map((host, i) => ({ id: host, after: HOSTS.slice(0, i).slice(-1), node: { step: `app/${host}` } })),
        limit: 4,
        maxFailures,
      },
    })
    const two = fleet(['web-3'], 0, { phases: after(2) })
    const run = await over(two)
    expect((await run.settled()).state).toBe('succeeded')
    expect(two.applied).toEqual(ids('web-1', 'web-2'))
    expect((await run.output()).fenced).toEqual(['app/web-3', 'web-4'])
    const one = await over(fleet(['web-3'], 0, { phases: after(1) }))
    expect((await one.settled()).state).toBe('waiting')
    expect((await one.asked()).why).toMatch(/web-3 is full.*web-4: it was not begun/)
  })

  it('are tolerated in a nested par, and listed from there', async () => {
    const inner = sideBySide('app', ['web-1', 'web-2'], { maxFailures: 1 })
    const par: Node = {
      par: [
        { id: 'east', after: [], node: inner },
        { id: 'west', after: [], node: sideBySide('app', ['web-3', 'web-4'], { maxFailures: 0 }) },
      ],
      limit: 2,
      maxFailures: 0,
    }
    const app = fleet(['web-2'], 0, { phases: { code: par } })
    const run = await over(app)
    expect((await run.settled()).state).toBe('succeeded')
    expect((await run.output()).fenced).toEqual(['app/web-2'])
  })
})

describe('C16: a person decides inside a par', () => {
  it('skips one step, and all the others are done once', async () => {
    const app = fleet(['web-2'], 0)
    const run = await over(app)
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ step: 'app/web-2' })
    await run.answer('skip')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied.toSorted()).toEqual(ids('web-1', 'web-3', 'web-4'))
    expect((await run.output()).skipped).toEqual(['app/web-2'])
  })

  it('answers a step that nobody can tell of while the others go on', async () => {
    const app = fleet([], 0, {
      verify: ({ id }) => (id === 'app/web-1' ? { is: 'unknown', why: 'unreachable' } : undefined),
    })
    const run = await over(app)
    await until(() => app.applied.length === 4)
    expect((await run.settled()).state).toBe('waiting')
    await run.die()
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('done')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toHaveLength(4)
  })

  it('aborts: what runs ends, nothing more begins, users are left safe', async () => {
    const held = latch()
    const traffic = scripted('traffic', usersAway())
    const app = fleet([], 0, { apply: () => held.opened })
    const run = await over(app, { targets: { app: app.target, traffic: traffic.target } })
    await until(async () => (await run.of('step-begun')).length === 3)
    await run.signal('$cancel')
    held.open()
    expect((await run.settled()).state).toBe('aborted')
    expect(app.applied.toSorted()).toEqual(ids('web-1', 'web-2'))
    expect([...traffic.there]).toEqual(['traffic/drain'])
  })
})

describe('C12: the fall to the next rung', () => {
  const rungs = [
    { id: 'set', tier: 'platform' as const, title: 'set it' },
    { id: 'redeploy', tier: 'release' as const, title: 'deploy it again' },
    { id: 'restore', tier: 'restore' as const, title: 'restore it' },
  ]
  /** Three parts of one rung, the second of which fails while `bad` names the rung. */
  const ladder = (bad: string[]) =>
    scripted('app', {
      steps: {},
      phases: {},
      rungs,
      propose: ({ rung }) => {
        const verbs = ['one', 'two', 'three'].map(part => `${rung}-${part}`)
        const inner = sideBySide('app', verbs.slice(1), { limit: 1 })
        const first = verbs[0] ?? ''
        return {
          steps: verbs.map(verb => stepOf('app', verb)),
          phases: {
            code: {
              par: [
                { id: 'first', after: [], node: { step: `app/${first}` } },
                { id: 'rest', after: ['first'], node: inner },
              ],
              limit: 2,
              maxFailures: 0,
            },
          },
        }
      },
      apply: ({ id }) => {
        if (bad.some(rung => id === `app/${rung}-two`)) throw new Error(`${id} cannot be done`)
      },
    })

  it('happens in the middle of nested pars, by policy, without a word where the envelope allows it', async () => {
    const app = ladder(['set'])
    const other = scripted('other', { steps: { go: {} }, phases: { config: { step: 'other/go' } } })
    const run = await over(app, { targets: { app: app.target, other: other.target }, onFailure: 'take' })
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied).toEqual(['set-one', 'redeploy-one', 'redeploy-two', 'redeploy-three'].map(v => `app/${v}`))
    expect(other.applied).toEqual(['other/go'])
    const [successor] = await run.of('plan-successor')
    expect(successor).toMatchObject({
      parent: run.plan.hash,
      exclude: [{ component: 'app', rung: 'set' }],
      outside: [],
    })
  })

  it('never takes a restore without a word, and fails where that is refused', async () => {
    const app = ladder(['set', 'redeploy'])
    const run = await over(app, { onFailure: 'take' })
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'approval', why: 'app would be taken back by "restore"' })
    expect(app.applied).not.toContain('app/restore-one')
    await run.answer('stop')
    expect((await run.settled()).state).toBe('failed')
    expect(app.applied).not.toContain('app/restore-one')
  })

  it('leaves users safe where no rung is left', async () => {
    const app = ladder(['set', 'redeploy', 'restore'])
    const traffic = scripted('traffic', usersAway())
    const run = await over(app, { targets: { app: app.target, traffic: traffic.target }, onFailure: 'take' })
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('approve')
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'failure', answers: ['retry', 'skip', 'stop'] })
    await run.answer('stop')
    expect((await run.settled()).state).toBe('failed')
    expect([...traffic.there]).toEqual(['traffic/drain'])
  })

  it('leaves users safe where it cannot even be planned', async () => {
    const app = ladder(['set'])
    const traffic = scripted('traffic', usersAway())
    const run = await rollback(
      { systems: {}, targets: { app: app.target, traffic: traffic.target }, onFailure: 'take' },
      {
        world: world => ({
          ...world,
          replan: async (request, signal) => {
            if (request.successor) throw new Error('the capture is gone')
            return world.replan(request, signal)
          },
        }),
      },
    )
    await run.begin()
    expect((await run.settled()).state).toBe('failed')
    expect((await run.output()).why).toContain('no further rung could be taken')
    expect(await run.of('plan-successor')).toMatchObject([{ blockers: ['the capture is gone'] }])
    expect([...traffic.there]).toEqual(['traffic/drain'])
  })

  it('survives a process that dies while the successor waits for its approval', async () => {
    const app = ladder(['set', 'redeploy'])
    const run = await over(app, { onFailure: 'take' })
    expect((await run.settled()).state).toBe('waiting')
    await run.die()
    expect((await run.settled()).state).toBe('waiting')
    await run.answer('approve')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied.filter(id => id.startsWith('app/restore'))).toHaveLength(3)
  })
})

describe('A6: a plan that is not what it says', () => {
  it('is not run: its steps were changed, its hash was not', async () => {
    const app = scripted('app', { steps: { go: {}, evil: {} }, phases: { code: { step: 'app/go' } } })
    const run = await rollback(
      { systems: {}, targets: { app: app.target } },
      { change: plan => ({ ...plan, phases: [{ phase: 'code', node: { step: 'app/evil' }, estimateMs: 0 }] }) as Plan },
    )
    await run.begin()
    expect((await run.settled()).state).toBe('failed')
    expect(app.applied).toEqual([])
  })

  it('is not run where a step is missing in it', async () => {
    const app = scripted('app', { steps: { go: {} }, phases: { code: { step: 'app/gone' } } })
    const run = await over(app)
    expect((await run.settled()).state).toBe('failed')
    expect(toJson((await run.output()).why)).toContain('the plan has no such step')
  })
})
