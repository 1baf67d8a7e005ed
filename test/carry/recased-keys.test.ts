import { describe, expect, it } from 'vitest'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const { systems } = carrySystems()

/** On PostgreSQL other letters are another key. */
describe.each(systems.filter(s => s.name !== 'PostgreSQL'))(
  '$name: a user who changes the letters of a key',
  system => {
    it('changes the same row, of however many', { skip: system.why !== null }, async () => {
      const lite = system.name === 'SQLite'
      const type = lite ? 'varchar(30) COLLATE NOCASE' : 'varchar(30)'
      const numbers = `WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 900) SELECT`
      const [k, w] = lite ? [`'key' || i`, `'m' || v`] : [`concat('key', i)`, `concat('m', v)`]
      for (const key of ['k', 'k, v']) {
        const back = {
          base: [
            `CREATE TABLE t (k ${type} NOT NULL, v int NOT NULL, PRIMARY KEY (${key}))${lite ? '' : ' COLLATE utf8mb4_general_ci'}`,
            `INSERT INTO t ${numbers} ${k}, i FROM s`,
          ],
          up: ['ALTER TABLE t ADD COLUMN w varchar(20)', `UPDATE t SET w = ${w}`],
          writes: ['UPDATE t SET k = upper(k)', `UPDATE t SET w = 'mine' WHERE v % 2 = 0`],
        }
        await using world = await forward(await system.make(), back)
        expect((await replayed(world)).parts).toMatchObject([{ table: 't', back: 450, conflicts: 0 }])
      }
    })

    it('changes the same row: what the migration had left in it is known', { skip: system.why !== null }, async () => {
      const lite = system.name === 'SQLite'
      const back = {
        base: [
          lite
            ? 'CREATE TABLE t (k varchar(30) COLLATE NOCASE NOT NULL PRIMARY KEY, v varchar(20))'
            : 'CREATE TABLE t (k varchar(30) NOT NULL PRIMARY KEY, v varchar(20)) COLLATE utf8mb4_general_ci',
          `INSERT INTO t VALUES ('ann', '1'), ('bob', '2'), ('cid', '3'), ('dan', '4')`,
        ],
        up: ['ALTER TABLE t ADD COLUMN w varchar(20)', `UPDATE t SET w = ${lite ? `'m' || v` : `concat('m', v)`}`],
        writes: [
          `UPDATE t SET k = 'Ann' WHERE k = 'ann'`,
          `UPDATE t SET k = 'Bob', w = 'mine' WHERE k = 'bob'`,
          `UPDATE t SET w = 'own' WHERE k = 'cid'`,
        ],
      }
      await using world = await forward(await system.make(), back)
      const { parts } = await replayed(world)
      expect(parts).toMatchObject([{ table: 't', back: 2, conflicts: 0 }])
      expect(await held(world, 't')).toEqual(['Ann 1 m1', 'Bob 2 mine', 'cid 3 own', 'dan 4 m4'])
    })
  },
)
