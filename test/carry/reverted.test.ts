import { describe, expect, it } from 'vitest'
import { stepAct } from '../conformance/walk.ts'
import { blockers, carriedOut, played, proposed, signal, type World } from '../rungs/world.ts'
import { carrySystems, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems } = carrySystems()

async function departed(world: World, run: string) {
  await using target = await world.open()
  const release = `departure-${run}`
  const act = { ...stepAct(), purpose: 'departure' as const, release }
  return { release, pin: await target.capture(await target.observe(signal), act) }
}

describe.for(systems)('a restore on $name', ({ why, make }) => {
  const base = ['CREATE TABLE orders (id int PRIMARY KEY, total int)', 'INSERT INTO orders VALUES (1, 10), (2, 20)']
  const up = 'ALTER TABLE orders ADD COLUMN coupon varchar(9)'
  const writes = [`UPDATE orders SET coupon = 'TEN' WHERE id = 1`, `INSERT INTO orders VALUES (3, 30, 'OFF')`]

  it.skipIf(why !== null)('can be taken back to where the run began', { timeout: LIMIT }, async () => {
    await using world = await played(await make(), story(up, base, writes))
    const to = await departed(world, 'back')
    await carriedOut(world, await proposed(world, 'restore'), 'back')
    await world.run(['INSERT INTO orders VALUES (4, 40)'])
    const back = await proposed(world, 'restore', to)
    expect(blockers(back)).toEqual([])
    await carriedOut(world, back, 'again')
    const rows = (await world.dump())['orders']?.map(row => Object.values(row).join(' ').replaceAll("'", ''))
    expect(rows).toEqual(['1 10 TEN', '2 20 ', '3 30 OFF', '4 40 '])
  })
})
