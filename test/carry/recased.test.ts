import { describe, expect, it } from 'vitest'
import { restored } from '../rungs/restored.ts'
import { played } from '../rungs/world.ts'
import { carrySystems, said, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const SYSTEMS = carrySystems().systems.filter(({ name }) => name !== 'PostgreSQL')

const COLUMN = 'ALTER TABLE orders RENAME COLUMN note TO Note'
const BASE = [
  'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, total int, note varchar(40))',
  `INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')`,
]
const WRITES = [
  `UPDATE orders SET Note = 'edited' WHERE id = 1`,
  `INSERT INTO orders (id, total, Note) VALUES (4, 40, 'd')`,
]

describe.for(SYSTEMS)('C14: a name that changed its letters only, on $name', ({ name, why, make }) => {
  it('is the same one, whether anybody told or not', { timeout: LIMIT, skip: why !== null }, async () => {
    const tables = name === 'SQLite' ? ['ALTER TABLE orders RENAME TO Orders', COLUMN] : [COLUMN]
    for (const told of [true, false]) {
      const release = tables.map((up, i) => ({ name: `00${i + 2}_x`, up, down: null }))
      await using world = await played(await make(), { ...story(COLUMN, BASE, WRITES), release, told })
      await restored(world)
      const { proof, plan, left } = await said(world)
      expect([proof.problems, left.map(t => t.conflicts), plan.gone]).toEqual([[], [{}], []])
      expect(plan.archived.filter(a => a.count > 0)).toEqual([])
      expect((await world.dump())['orders']?.map(row => row['note']?.replaceAll("'", ''))).toEqual([
        'edited',
        'b',
        'c',
        'd',
      ])
    }
  })
})
