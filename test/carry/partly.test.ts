import { describe, expect, it } from 'vitest'
import type { Fact, Step } from '../../src/core/contract.ts'
import { stepAct } from '../conformance/walk.ts'
import { restored } from '../rungs/restored.ts'
import { played, type World } from '../rungs/world.ts'
import { carrySystems, said, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems } = carrySystems()

async function told(world: World, step: Step): Promise<string[]> {
  const facts: Fact[] = []
  await using target = await world.open()
  await target.apply(step, { ...stepAct(step, 'back'), tell: async fact => void facts.push(fact) })
  return facts.map(({ kind, text, data }) => `${kind}: ${text.replace(/db\w+/, 'db')} ${JSON.stringify(data)}`)
}

describe.for(systems)('a row of which some cells were carried on $name', ({ why, make }) => {
  const base = [
    'CREATE TABLE orders (id int PRIMARY KEY, total int, changed varchar(20))',
    `INSERT INTO orders VALUES (1, 25, 'then')`,
  ]
  const writes = [`UPDATE orders SET total = 2600, changed = 'now' WHERE id = 1`]

  it.skipIf(why !== null)('waits for a word like one of which none was', { timeout: LIMIT }, async () => {
    await using world = await played(await make(), story('UPDATE orders SET total = total * 100', base, writes))
    const step = await restored(world)
    expect(await told(world, step)).toEqual([
      'note: 1 row written since the release was carried into db; proven by comparing again {"carried":1,"proven":true}',
      expect.stringMatching(/^lost: 1 row of db could not be carried, or not whole: .*"waits":true/),
    ])
    expect(await world.dump()).toMatchObject({
      orders: [{ id: '1', total: '25', changed: expect.stringMatching('now') }],
    })
    const one = (await said(world)).left[0]
    expect(one).toMatchObject({ conflicts: { rewritten: 1 }, done: 0 })
    expect((await said(world, { kind: 'rewritten', take: 'ours' })).left[0]).toMatchObject({
      conflicts: {},
      settled: 1,
    })
  })
})
