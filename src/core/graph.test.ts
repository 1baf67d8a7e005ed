import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stepOf } from '../../test/support/scripted.ts'
import { estimate } from './estimate.ts'
import { Graph } from './graph.ts'

const node = (id: string, ...dependsOn: string[]) => ({ id, dependsOn })

describe('what depends on what', () => {
  it('is answered in both directions, nearest first', () => {
    const graph = new Graph([
      node('cdn', 'lb'),
      node('lb', 'app'),
      node('app', 'db', 'cache'),
      node('cache', 'db'),
      node('db'),
    ])
    expect([...graph.dependencies('lb')]).toEqual(['app', 'db', 'cache'])
    expect([...graph.dependents('db')]).toEqual(['app', 'cache', 'lb', 'cdn'])
    expect([...graph.dependencies('nobody')]).toEqual([])
    expect(graph.cycle()).toBeNull()
  })

  it('has no end to be afraid of in a circle, and the circle is named', () => {
    const graph = new Graph([node('a', 'b'), node('b', 'c'), node('c', 'b')])
    expect(graph.cycle()).toEqual(['b', 'c', 'b'])
    expect([...graph.dependencies('b')]).toEqual(['c'])
    expect(new Graph([node('a', 'a')]).cycle()).toEqual(['a', 'a'])
    expect(new Graph([node('a', 'gone')]).cycle()).toBeNull()
  })

  it('is a circle exactly where something is reached from itself', () => {
    const edges = fc.array(fc.tuple(fc.nat(6), fc.nat(6)), { maxLength: 14 })
    fc.assert(
      fc.property(edges, pairs => {
        const on = (id: number) => pairs.filter(([x]) => x === id).map(([, y]) => y)
        const reach = (id: number, seen = new Set<number>()): Set<number> => {
          for (const next of on(id)) if (!seen.has(next)) reach(next, seen.add(next))
          return seen
        }
        const circles = [0, 1, 2, 3, 4, 5, 6].some(id => reach(id).has(id))
        const graph = new Graph([0, 1, 2, 3, 4, 5, 6].map(id => node(String(id), ...on(id).map(String))))
        const cycle = graph.cycle()
        expect(cycle !== null).toBe(circles)
        for (const [i, id] of (cycle ?? []).slice(0, -1).entries())
          expect(on(Number(id))).toContain(Number(cycle?.[i + 1]))
      }),
    )
  })
})

describe('the estimate', () => {
  const step = (ms: number) => stepOf('app', `s${ms}`, { estimateMs: ms })
  const steps = new Map([1, 10, 100].map(ms => [step(ms).id, step(ms)]))
  const one = (ms: number) => ({ step: `app/s${ms}` })
  const item = (id: string, ms: number, ...after: string[]) => ({ id, after, node: one(ms) })
  const of = (n: Parameters<typeof estimate>[0]) => estimate(n, id => steps.get(id))

  it('adds up what comes one after the other, and takes the longest of what runs side by side', () => {
    expect(of({ seq: [one(1), one(10), { gate: 'g', forMs: 5, onFail: { apply: [], then: 'ask' } }] })).toBe(16)
    const par = [item('a', 100), item('b', 10), item('c', 10)]
    expect(of({ par, limit: 3, maxFailures: 0 })).toBe(100)
    expect(of({ par, limit: 1, maxFailures: 0 })).toBe(120)
    expect(of({ par: [item('a', 10), item('b', 10, 'a'), item('c', 1, 'gone')], limit: 9, maxFailures: 0 })).toBe(20)
  })

  it('of a thousand components in a chain, named in the wrong order, is the sum', () => {
    const par = Array.from({ length: 1000 }, (_, i) =>
      item(String(i), 1, ...Array.from({ length: 999 - i }, (_, j) => String(i + j + 1))),
    )
    expect(of({ par, limit: 10, maxFailures: 0 })).toBe(1000)
  })
})
