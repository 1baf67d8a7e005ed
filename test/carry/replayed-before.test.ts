import { describe, expect, it } from 'vitest'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const { systems: SYSTEMS } = carrySystems()

describe.for(SYSTEMS)('a replay on $name before a second rollback', ({ why, make }) => {
  const skipped = { timeout: 120_000, skip: why !== null }

  it('is not done once more after it, over what users did to what was put back', skipped, async () => {
    const base = [
      'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, total int)',
      'INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30)',
    ]
    const up = [
      'ALTER TABLE orders ADD COLUMN coupon varchar(20)',
      'CREATE TABLE gifts (id int NOT NULL PRIMARY KEY, what varchar(20))',
    ]
    const writes = [
      `UPDATE orders SET coupon = 'TEN' WHERE id = 1`,
      `UPDATE orders SET coupon = 'GONE' WHERE id = 3`,
      `INSERT INTO gifts VALUES (1, 'watch'), (2, 'book')`,
    ]
    await using world = await forward(await make(), { base, up, writes, later: ['DELETE FROM orders WHERE id = 3'] })
    const back = async () => (await replayed(world)).parts.map(p => `${p.table} ${p.back} ${p.done} ${p.conflicts}`)
    expect(await back()).toEqual(['gifts 2 0 0', 'orders 1 0 1'])
    await world.run(['UPDATE orders SET coupon = NULL WHERE id = 1', 'DELETE FROM gifts WHERE id = 1'])
    await restored(world, 'again')
    {
      await using source = await sourceOf(world, 'again')
      await carryForward(source, NOTHING_SAID, job)
    }
    expect(await world.run(up)).not.toContain(false)
    expect(await back()).toEqual(['gifts 0 2 0', 'orders 0 1 1'])
    expect([await held(world, 'orders'), await held(world, 'gifts')]).toEqual([['1 10 ', '2 20 '], []])
  })
})
