import { expect, it } from 'vitest'
import { fail, pass } from '../../../test/support/memory-world.ts'
import { latch, rollback, until, untilStopped } from '../../../test/support/rollback.ts'
import { type Script, scripted } from '../../../test/support/scripted.ts'
import type { Node } from '../contract.ts'

async function alone(script: Script) {
  const app = scripted('app', script)
  const run = await rollback({ systems: {}, targets: { app: app.target } })
  await run.begin()
  return { ...run, app }
}

it('tells what it noted in this pass from what it noted before it was undone', async () => {
  const seen: unknown[] = []
  let held = latch()
  let broken = true
  const run = await alone({
    steps: { go: {}, then: {} },
    phases: { code: { seq: [{ step: 'app/go' }, { step: 'app/then' }] } },
    apply: async (step, act) => {
      if (step.id === 'app/then') {
        if (broken) throw new Error('not yet')
        return
      }
      seen.push(act.handle, act.earlier)
      await act.note({ job: seen.length })
      seen.push(act.earlier)
      if (!broken) await Promise.race([held.opened, untilStopped(act.signal)])
    },
    verify: ({ id }, act) => {
      if (id === 'app/go') seen.push(`asked: ${act.earlier}`)
      return undefined
    },
  })
  expect((await run.settled()).state).toBe('waiting')
  expect(seen.splice(0)).toEqual([null, false, false, 'asked: false'])
  broken = false
  run.app.there.delete('app/go')
  held = latch()
  await run.answer('retry')
  await until(() => seen.length === 4)
  expect(seen.splice(0)).toEqual(['asked: true', { job: 2 }, true, false])
  await run.die()
  await until(() => seen.length === 4)
  expect(seen.splice(0)).toEqual(['asked: false', { job: 3 }, false, false])
  held.open()
  expect((await run.settled()).state).toBe('succeeded')
})

/** Two balancers, of which the first hangs when users are to go away. */
async function twoBalancers(old: boolean) {
  const went: string[] = []
  const held = latch()
  const balancer = (id: string) =>
    scripted(id, {
      steps: { drain: { args: { undoes: [`${id}/return`] } }, return: {}, away: {} },
      phases: { drain: { step: `${id}/drain` }, return: { step: `${id}/return` } },
      safe: [`${id}/away`],
      apply: async (step, act) => {
        if (step.id === 'lb1/away' && !old) await Promise.race([held.opened, untilStopped(act.signal)])
        if (step.id.endsWith('/away')) went.push(step.id)
      },
    })
  const targets = { lb1: balancer('lb1').target, lb2: balancer('lb2').target }
  const watch = { gates: ['healthy'], forMs: 1000 }
  const run = await rollback({ systems: {}, targets, watch, gates: { healthy: () => fail } }, { old })
  await run.begin()
  return { run, went, held }
}

it('M: a balancer that hangs keeps no users of another one on a release that fails, an abort neither', async () => {
  const { run, went, held } = await twoBalancers(false)
  await until(() => went.includes('lb2/away'))
  expect(went).not.toContain('lb1/away')
  await run.die(engine => engine.signal('r1', '$cancel', { by: 'ann' }, 'cancel'))
  held.open()
  expect((await run.output()).state).toBe('aborted')
  expect((await run.output()).unsafe).toBeUndefined()
  expect(went.toSorted()).toEqual(['lb1/away', 'lb2/away'])
})

it('goes on with a run of an older Backout in the order in which it began', async () => {
  const { run, went } = await twoBalancers(true)
  expect((await run.settled()).state).toBe('waiting')
  await run.die()
  expect((await run.settled()).state).toBe('waiting')
  expect(went.toSorted()).toEqual(['lb1/away', 'lb2/away'])
})

it.each([
  ['asked again at the next share of users', false, ['ok', 'ok', 'ok'], 3],
  ['skipped all over the phase in a run of an older Backout', true, ['ok'], 1],
] as const)('Q: a gate that was skipped is %s', async (_, old, skipped, asked) => {
  const shares = ['10', '50', '100']
  const gate = { gate: 'ok', forMs: 0, onFail: { apply: [], then: 'ask' as const } }
  const lb = scripted('lb', {
    steps: Object.fromEntries(shares.map(share => [share, {}])),
    phases: { return: { seq: shares.flatMap(share => [{ step: `lb/${share}` }, gate]) } },
  })
  const run = await rollback({ systems: {}, targets: { lb: lb.target }, gates: { ok: () => fail } }, { old })
  await run.begin()
  for (let i = 1; i <= asked; i++) {
    await until(async () => (await run.of('asked')).length === i)
    expect(lb.applied).toEqual(shares.slice(0, i).map(share => `lb/${share}`))
    await run.answer('skip')
  }
  expect((await run.output()).skipped).toEqual(skipped)
  expect(lb.applied).toHaveLength(3)
})

it.each(['killed', 'paused'] as const)(
  'D7: a gate that fails once, asked again because the run was %s in a batch, is none of the failures that the batch tolerates',
  async how => {
    let failures = 0
    const held = latch()
    const gate: Node = { gate: 'healthy', forMs: 0, onFail: { apply: [], then: 'ask' } }
    const batch = (...hosts: string[]): Node => {
      const par = hosts.map(id => ({
        id,
        after: [],
        node: { seq: [{ step: `app/${id}-a` }, { step: `app/${id}-b` }] },
      }))
      return { par, limit: 1, maxFailures: 1 }
    }
    const hosts = ['web-1', 'web-2', 'web-3', 'web-4']
    const steps = hosts.flatMap(host => [`${host}-a`, `${host}-b`])
    const fenced: string[] = []
    const app = scripted('app', {
      steps: Object.fromEntries(steps.map(id => [id, { onUnknown: 'fence' }])),
      phases: { code: { seq: [batch('web-1'), gate, batch('web-2', 'web-3'), gate, batch('web-4')], maxFailures: 1 } },
      apply: ({ id }, act) =>
        id === 'app/web-2-a' ? Promise.race([held.opened, untilStopped(act.signal)]) : undefined,
      fence: async ({ id }) => void fenced.push(id),
    })
    const gates = { healthy: () => (failures-- > 0 ? fail : pass) }
    const run = await rollback({ systems: {}, targets: { app: app.target }, gates })
    await run.begin()
    await until(async () => (await run.of('step-begun')).some(e => e['step'] === 'app/web-2-a'))
    failures = 1
    if (how === 'killed') await run.die()
    else {
      await run.signal('$pause')
      held.open()
      await until(async () => (await run.settled()).state === 'paused')
      await run.signal('$resume')
    }
    held.open()
    expect((await run.settled()).state).toBe('waiting')
    expect(await run.asked()).toMatchObject({ about: 'gate', step: 'healthy' })
    expect(app.applied).toEqual(['app/web-1-a', 'app/web-1-b', 'app/web-2-a'])
    await run.answer('retry')
    expect((await run.settled()).state).toBe('succeeded')
    expect(app.applied.toSorted()).toEqual(steps.map(id => `app/${id}`))
    expect((await run.output()).fenced).toEqual([])
    expect(fenced).toEqual([])
  },
)
