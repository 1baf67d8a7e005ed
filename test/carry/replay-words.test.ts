import { describe, expect, it } from 'vitest'
import { carriesForward } from '../../src/data/carry/open.ts'
import { replay } from '../../src/data/carry/replay.ts'
import { job, restored } from '../rungs/restored.ts'
import { played, type World } from '../rungs/world.ts'
import { carrySystems, said } from '../support/carry-systems.ts'

const { systems: SYSTEMS } = carrySystems()

const UP = [
  'ALTER TABLE orders ADD COLUMN status varchar(20)',
  'ALTER TABLE orders ADD COLUMN coupon varchar(20)',
  `UPDATE orders SET status = 'new'`,
]
const BASE = [
  'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, who varchar(20))',
  `INSERT INTO orders VALUES (1, 'ann'), (2, 'bob'), (3, 'eve')`,
]
const WRITES = [
  `UPDATE orders SET status = 'paid', coupon = 'TEN' WHERE id = 1`,
  `UPDATE orders SET status = 'sent' WHERE id = 2`,
]

async function putBack(world: World, ...words: string[]): Promise<{ back: number; conflicts: number }[]> {
  await using target = await world.open()
  if (!carriesForward(target)) throw new Error('it carries nothing forward')
  const { parts } = await replay(await target.replaying('back', job), job, words)
  return parts.map(({ back, conflicts }) => ({ back, conflicts }))
}

const held = async (world: World) =>
  ((await world.dump())['orders'] ?? []).map(row => Object.values(row).join(' ').replaceAll("'", '')).sort()

describe.for(SYSTEMS)('what is put back by the word of a person on $name', ({ why, make }) => {
  it('goes over what is there, and what the migration had put there does not', {
    timeout: 120_000,
    skip: why !== null,
  }, async () => {
    const release = UP.map((up, i) => ({ name: `00${i + 2}_x`, up, down: null }))
    const story = { base: BASE, release, early: [], meanwhile: [], told: true, writes: WRITES }
    await using world = await played(await make(), story)
    await restored(world)
    await said(world)
    const mine = `UPDATE orders SET status = 'mine', coupon = 'OTHER'`
    expect(await world.run([...UP, mine])).not.toContain(false)
    expect(await putBack(world)).toEqual([{ back: 0, conflicts: 2 }])
    await expect(putBack(world, 'orders.stat=theirs')).rejects.toMatchObject({ code: 'words_unknown' })
    await expect(putBack(world, 'orders=ours')).rejects.toMatchObject({ code: 'words_unknown' })
    expect(await held(world)).toEqual(['1 ann mine OTHER', '2 bob mine OTHER', '3 eve mine OTHER'])
    expect(await putBack(world, 'orders.status=theirs')).toEqual([{ back: 2, conflicts: 1 }])
    expect(await held(world)).toEqual(['1 ann paid OTHER', '2 bob sent OTHER', '3 eve mine OTHER'])
    // Put back is put back: what users write there then stays.
    await world.run([`UPDATE orders SET status = 'later' WHERE id = 2`])
    expect(await putBack(world, 'theirs')).toEqual([{ back: 1, conflicts: 0 }])
    expect(await held(world)).toEqual(['1 ann paid TEN', '2 bob later OTHER', '3 eve mine OTHER'])
  })
})
