import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { config } from './config.ts'
import { haproxy } from './index.ts'
import { between } from './weights.ts'

describe('weights', () => {
  const ready = (weight: number) => ({ admin: 'ready' as const, weight })
  it('are as fine as 0 to 256 allows, and keep the relation between servers', () => {
    const goal = { a: ready(1), b: ready(2), m: ready(0) }
    const from = { a: { admin: 'drain' as const, weight: 1 }, b: { admin: 'drain' as const, weight: 2 }, m: ready(100) }
    expect(between(from, goal, 10)).toEqual({ a: ready(9), b: ready(19), m: ready(256) })
    expect(between(from, goal, 50)).toEqual({ a: ready(85), b: ready(171), m: ready(256) })
    expect(between(from, goal, 75)).toEqual({ a: ready(128), b: ready(256), m: ready(128) })
  })
})

it('has a page whose example is valid', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../docs/adapters/haproxy.md'), 'utf8')
  const example = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '') as {
    components: { lb: { adapter: string; settings: unknown } }
  }
  expect(example.components.lb.adapter).toBe(haproxy.kind)
  expect(config.safeParse(example.components.lb.settings).error).toBeUndefined()
})
