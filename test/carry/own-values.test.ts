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

/** Columns of which a value is shown in more than it takes by itself. */
const FILLED: Partial<Record<keyof typeof COUNTS, readonly (readonly [string, string])[]>> = {
  MariaDB: [
    ['bit(3)', '05'],
    ['bit(12)', '0FFF'],
    ['int(5) zerofill', '00003'],
  ],
  PostgreSQL: [['numeric(10,2)', '3.00']],
}

describe.for(systems)('a value of one’s own on $name', ({ name, why, make }) => {
  const text = (value: string) => (name === 'SQLite' ? `'${value}'` : value)

  it.skipIf(why !== null)('comes into a row that is there, whatever counts its key', { timeout: LIMIT }, async () => {
    const filled = FILLED[name] ?? []
    const more = filled.map(([type], i) => `, c${i} ${type}`).join('')
    const base = [
      `CREATE TABLE orders (id ${COUNTS[name]}, status varchar(9), note varchar(9)${more})`,
      `INSERT INTO orders (status) VALUES ('new'), ('new')`,
    ]
    const writes = [`UPDATE orders SET status = 'paid', note = 'mine'`]
    await using world = await played(await make(), story('ALTER TABLE orders ADD COLUMN x int', base, writes))
    await restored(world)
    await world.run([`UPDATE orders SET status = 'gone'`])
    expect((await said(world)).left[0]?.conflicts).toEqual({ changed: 2 })
    const values = filled.map(([, value], i) => [`c${i}`, value] as const)
    const set = { status: text('sent'), ...Object.fromEntries(values) }
    const { left, proof } = await said(world, { table: 'orders', key: { id: '1' }, take: 'theirs', set })
    expect([left[0]?.conflicts, proof.problems]).toEqual([{ changed: 1 }, []])
    const rows = (await world.dump())['orders'] ?? []
    expect(rows.map(row => [row['id'], row['status'], row['note']].join(' ').replaceAll("'", ''))).toEqual([
      '1 sent mine',
      '2 gone mine',
    ])
    expect(values.map(([column]) => rows[0]?.[column])).toEqual(values.map(([, value]) => value))
  })
})
