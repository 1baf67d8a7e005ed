import { describe, expect, it } from 'vitest'
import { restored } from '../rungs/restored.ts'
import { played } from '../rungs/world.ts'
import { carrySystems, said, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems } = carrySystems()
/** As each system is told to count, in the strictest way. */
const COUNTS = {
  SQLite: 'INTEGER PRIMARY KEY AUTOINCREMENT',
  PostgreSQL: 'int GENERATED ALWAYS AS IDENTITY PRIMARY KEY',
  MariaDB: 'int NOT NULL AUTO_INCREMENT PRIMARY KEY',
}

describe.for(systems)('a value of one’s own on $name', ({ name, why, make }) => {
  const text = (value: string) => (name === 'SQLite' ? `'${value}'` : value)

  it.skipIf(why !== null)('comes into a row that is there, whatever counts its key', { timeout: LIMIT }, async () => {
    const base = [
      `CREATE TABLE orders (id ${COUNTS[name]}, status varchar(9), note varchar(9))`,
      `INSERT INTO orders (status) VALUES ('new'), ('new')`,
    ]
    const writes = [`UPDATE orders SET status = 'paid', note = 'mine'`]
    await using world = await played(await make(), story('ALTER TABLE orders ADD COLUMN x int', base, writes))
    await restored(world)
    await world.run([`UPDATE orders SET status = 'gone'`])
    expect((await said(world)).left[0]?.conflicts).toEqual({ changed: 2 })
    const set = { status: text('sent') }
    const { left, proof } = await said(world, { table: 'orders', key: { id: '1' }, take: 'theirs', set })
    expect([left[0]?.conflicts, proof.problems]).toEqual([{ changed: 1 }, []])
    expect((await world.dump())['orders']?.map(row => Object.values(row).join(' ').replaceAll("'", ''))).toEqual([
      '1 sent mine',
      '2 gone mine',
    ])
  })
})
