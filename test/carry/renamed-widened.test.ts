import { describe, expect, it } from 'vitest'
import { type CarryOptions, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { played, type World } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { held } from '../support/rolled-forward.ts'

const { systems } = carrySystems()

const BASE = [
  'CREATE TABLE members (id int NOT NULL PRIMARY KEY, name varchar(20), note varchar(20))',
  `INSERT INTO members VALUES (1, 'ann', 'n1'), (2, 'bob', 'n2'), (3, 'cid', 'n3'), (4, 'dan', 'n4')`,
]
const WRITES = [
  `UPDATE accounts SET name = 'ann lee' WHERE id = 1`,
  `INSERT INTO accounts (id, name, tier) VALUES (5, 'eve', 2)`,
  'DELETE FROM accounts WHERE id = 4',
]
const RENAMED = { was: { table: 'members', column: null }, now: { table: 'accounts', column: null } }
const WIDENED = ['ALTER TABLE members RENAME TO accounts', 'ALTER TABLE accounts ADD COLUMN tier int DEFAULT 1']
/** What is in a text nobody reads statements from. */
const UNREAD = '-- costs 1 $\n'

/** What is told, by what is said. */
async function carried(world: World, said: Partial<CarryOptions> = {}) {
  await using source = await sourceOf(world)
  const { proof, plan } = await carryForward(source, { ...NOTHING_SAID, ...said }, job)
  expect(proof.ok).toBe(true)
  return { doubts: source.doubts, tables: plan.tables.map(t => [t.table, t.theirs]) }
}

describe.each(systems)('$name: a table that was renamed and got one more column', ({ name, why, make }) => {
  const back = async (up: readonly string[], writes: readonly string[] = WRITES) => {
    const release = up.map((sql, i) => ({ name: `00${i + 2}_x`, up: sql, down: null }))
    const world = await played(await make(), { base: BASE, release, early: [], meanwhile: [], told: true, writes })
    await restored(world)
    return world
  }
  const skip = why !== null

  it('is known by the statements of its migrations', { skip }, async () => {
    await using world = await back(WIDENED)
    expect(await carried(world)).toMatchObject({ doubts: [], tables: [['members', 'accounts']] })
    expect(await held(world, 'members')).toEqual(['1 ann lee n1', '2 bob n2', '3 cid n3', '5 eve '])
  })

  it('and a column of it that was renamed by its content', { skip }, async () => {
    const column = name === 'MariaDB' ? 'CHANGE note remark varchar(20)' : 'RENAME COLUMN note TO remark'
    const writes = [...WRITES, `UPDATE accounts SET remark = 'vip' WHERE id = 2`]
    await using world = await back([...WIDENED, `ALTER TABLE accounts ${column}`], writes)
    expect(await carried(world)).toMatchObject({ doubts: [], tables: [['members', 'accounts']] })
    expect(await held(world, 'members')).toEqual(['1 ann lee n1', '2 bob vip', '3 cid n3', '5 eve '])
  })

  // PostgreSQL knows both by its own ids.
  const blind = name === 'PostgreSQL' ? [] : [UNREAD]
  it.skipIf(skip).for(blind)(
    'is a doubt where nobody reads these, and comes by a word, with its columns',
    async unread => {
      const column = name === 'MariaDB' ? 'CHANGE note remark varchar(20)' : 'RENAME COLUMN note TO remark'
      const writes = [...WRITES, `UPDATE accounts SET remark = 'vip' WHERE id = 2`]
      await using world = await back(
        [`${unread}${WIDENED[0]}`, WIDENED[1] ?? '', `ALTER TABLE accounts ${column}`],
        writes,
      )
      const doubt =
        'accounts may be what members was at the release, and nothing proves it; if so: --renamed members=accounts'
      expect(await carried(world)).toEqual({ doubts: [doubt], tables: [] })
      expect(await held(world, 'members')).toEqual(['1 ann n1', '2 bob n2', '3 cid n3', '4 dan n4'])
      expect((await carried(world, { renames: [RENAMED] })).tables).toEqual([['members', 'accounts']])
      const now = await held(world, 'members')
      expect(now.slice(0, 2)).toEqual(['1 ann lee n1', '2 bob vip'])
    },
  )
})
