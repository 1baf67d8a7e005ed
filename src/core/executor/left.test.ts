import { describe, expect, it } from 'vitest'
import { memoryWorld } from '../../../test/support/memory-world.ts'
import { type Script, scripted, sideBySide } from '../../../test/support/scripted.ts'
import type { Node } from '../contract.ts'
import { besides, leftIn, phasesOf } from './left.ts'

/** Hosts in two batches, each of two steps, and what is done for all of them. */
const host = (name: string) => {
  const seq = ['switch', 'restart'].map(verb => ({ step: `app/${verb}/${name}` }))
  return { id: name, after: [], node: { seq } }
}
const batch = (...names: string[]): Node => ({ par: names.map(host), limit: 2, maxFailures: 1 })
const script: Script = {
  steps: Object.fromEntries(
    ['env', 'purge', ...['a', 'b', 'c', 'd'].flatMap(h => [`switch/${h}`, `restart/${h}`])].map(id => [id, {}]),
  ),
  phases: {
    config: { step: 'app/env' },
    code: { seq: [batch('a', 'b'), batch('c', 'd')] },
    cleanup: { step: 'app/purge' },
  },
}
const planned = () =>
  memoryWorld({
    systems: {},
    targets: {
      app: scripted('app', script).target,
      other: scripted('other', { steps: { a: {} }, phases: { code: sideBySide('other', ['a']) } }).target,
    },
  }).plan()

describe('what is left of a component', () => {
  it('is the host with all that was to be done there, and the rest is asked for', async () => {
    const plan = await planned()
    const [left] = leftIn([plan], ['app/switch/b'])
    if (left === undefined) throw new Error('nothing was left')
    const rest = besides(left, phasesOf(plan, 'app'))
    expect(rest).toEqual(['app/env', ...['a', 'c', 'd'].flatMap(h => [`app/switch/${h}`, `app/restart/${h}`])])
  })

  it('is what was never begun too, which is named by its item', async () => {
    const plan = await planned()
    const [left] = leftIn([plan], ['app/restart/c', 'd'])
    if (left === undefined) throw new Error('nothing was left')
    expect(besides(left, phasesOf(plan, 'app')).filter(id => /\/[cd]$/.test(id))).toEqual([])
    expect(besides(left, phasesOf(plan, 'app'))).toContain('app/restart/b')
  })

  it('is the whole phase where nothing stands beside the step, and no more than that', async () => {
    const plan = await planned()
    const of = (id: string) => leftIn([plan], [id]).map(left => besides(left, phasesOf(plan, 'app')).length)
    expect(of('app/env')).toEqual([8])
    expect(of('app/purge')).toEqual([9])
  })

  it('is of the component that the step belongs to', async () => {
    const plan = await planned()
    expect(leftIn([plan], ['other/a'])).toEqual([{ component: 'other', items: ['a'], phases: [] }])
    expect(leftIn([plan], ['well'])).toEqual([])
  })
})
