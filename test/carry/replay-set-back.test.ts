import { describe, expect, it } from 'vitest'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { played, type World } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'
import { forward, held, replayed } from '../support/rolled-forward.ts'

const LIMIT = 120_000
const { systems: SYSTEMS } = carrySystems()

/** By table and kind, as "back, done, left to the migration, conflicts". */
async function counts(world: World): Promise<Record<string, string>> {
  const { parts } = await replayed(world)
  return Object.fromEntries(
    parts.map(p => [`${p.table} ${p.kind ?? ''}`.trim(), [p.back, p.done, p.seeded, p.conflicts].join(' ')]),
  )
}

const BASE = [
  'CREATE TABLE users (id int NOT NULL PRIMARY KEY, name varchar(20))',
  `INSERT INTO users VALUES (1, 'ann'), (2, 'bob'), (3, 'cid'), (4, 'dan')`,
]
const NEWS = [
  'ALTER TABLE users ADD COLUMN news int DEFAULT 0 NOT NULL',
  'ALTER TABLE users ADD COLUMN st varchar(20)',
  `UPDATE users SET news = 1, st = 'on'`,
]
const PLANS = [
  'CREATE TABLE plans (id int NOT NULL PRIMARY KEY, up int, name varchar(20), FOREIGN KEY (up) REFERENCES plans (id))',
  'CREATE TABLE subs (id int NOT NULL PRIMARY KEY, plan int, FOREIGN KEY (plan) REFERENCES plans (id))',
  `INSERT INTO plans VALUES (1, NULL, 'basic'), (2, NULL, 'pro'), (3, NULL, 'old'), (4, 3, 'older'), (5, NULL, 'kept'), (6, NULL, 'mended')`,
]

describe.for(SYSTEMS)('what users took back of what the migration had done, on $name', ({ name, why, make }) => {
  const skipped = { timeout: LIMIT, skip: why !== null }

  it('comes back where cells were set to the default or to nothing again', skipped, async () => {
    const writes = [
      'UPDATE users SET news = 0, st = NULL WHERE id = 2',
      'UPDATE users SET st = NULL WHERE id = 3',
      `INSERT INTO users VALUES (5, 'eve', 0, NULL)`,
    ]
    await using world = await forward(await make(), { base: BASE, up: NEWS, writes })
    // Somebody wrote there since.
    await world.run([`UPDATE users SET st = 'mine' WHERE id = 3`])
    expect(await counts(world)).toEqual({ users: '1 0 2 1' })
    expect(await held(world, 'users')).toEqual(['1 ann 1 on', '2 bob 0 ', '3 cid 1 mine', '4 dan 1 on', '5 eve 1 on'])
    await world.run(['UPDATE users SET news = 1 WHERE id = 2'])
    expect(await counts(world)).toEqual({ users: '0 1 2 1' })
  })

  it('is counted for what users wrote, and not for what the migration did', skipped, async () => {
    const release = [...NEWS, ...PLANS].map((sql, i) => ({ name: `00${i + 2}_x`, up: sql, down: null }))
    const writes = [
      'UPDATE users SET news = 0 WHERE id = 2',
      'UPDATE users SET st = NULL WHERE id IN (2, 3)',
      'DELETE FROM plans WHERE id = 2',
      `INSERT INTO plans VALUES (9, NULL, 'own')`,
    ]
    await using world = await played(await make(), {
      base: BASE,
      release,
      early: [],
      meanwhile: [],
      told: true,
      writes,
    })
    await restored(world)
    await using source = await sourceOf(world)
    const { plan, archive } = await carryForward(source, NOTHING_SAID, job)
    // What the migration had left, and whose rows they are, is kept of the two alone that users wrote to.
    const kept = archive.parts.flatMap(p => (p.table === 'users' ? [`${p.what} ${p.lines}`] : []))
    expect(kept).toEqual(['cells 2', 'filled 2', 'whose 4'])
    expect(plan.archived).toEqual([
      { table: 'plans', column: null, count: 1 },
      { table: 'plans', column: null, count: 1, deleted: true },
      { table: 'subs', column: null, count: 0 },
      { table: 'users', column: 'news', count: 1 },
      { table: 'users', column: 'st', count: 2 },
    ])
  })

  it('goes again where rows were deleted, and nobody has need of them', skipped, async () => {
    const writes = [
      `UPDATE plans SET name = 'mine' WHERE id = 6`,
      'DELETE FROM plans WHERE id IN (2, 4, 5)',
      'DELETE FROM plans WHERE id = 3',
    ]
    await using world = await forward(await make(), { base: BASE, up: PLANS, writes })
    await world.run(['INSERT INTO subs VALUES (1, 5)', `UPDATE plans SET name = 'other' WHERE id = 2`])
    const found = { plans: '1 0 1 0', subs: '0 0 0 0', 'plans deleted': '2 0 0 2' }
    expect(await counts(world)).toEqual(found)
    expect(await held(world, 'plans')).toEqual(['1  basic', '2  other', '5  kept', '6  mine'])
    expect((await replayed(world)).parts.map(p => p.why)).toEqual(
      expect.arrayContaining(['1 are others now; 1 are referred to']),
    )
    await world.run(['DELETE FROM subs'])
    expect(await counts(world)).toEqual({ plans: '0 1 1 0', subs: '0 0 0 0', 'plans deleted': '1 2 0 1' })
    // Once: what came under the number since is another one's.
    await world.run([`INSERT INTO plans VALUES (5, NULL, 'kept')`])
    expect(await counts(world)).toEqual({ plans: '0 1 1 0', subs: '0 0 0 0', 'plans deleted': '0 3 0 1' })
    expect(await held(world, 'plans')).toEqual(['1  basic', '2  other', '5  kept', '6  mine'])
  })
  it('is users’ own in columns that no migration wrote, whenever they did', skipped, async () => {
    const up = [
      'ALTER TABLE users ADD COLUMN coupon varchar(20)',
      'ALTER TABLE users ADD COLUMN rank1 int DEFAULT 7',
      'ALTER TABLE users ALTER COLUMN rank1 DROP DEFAULT',
      'ALTER TABLE users ADD COLUMN st varchar(20)',
      `UPDATE users SET st = 'on'`,
    ].filter(sql => name !== 'SQLite' || !sql.includes('DROP DEFAULT'))
    const meanwhile = [
      `UPDATE users SET coupon = 'TEN', rank1 = 8 WHERE id = 2`,
      `UPDATE users SET st = 'mine' WHERE id = 4`,
    ]
    const writes = [`UPDATE users SET coupon = 'FIVE' WHERE id = 1`]
    await using world = await forward(await make(), { base: BASE, up, meanwhile, writes })
    // Of what a migration did write nobody can tell: it is counted as it was right after migrating.
    expect(await counts(world)).toEqual({ users: '2 0 2 0' })
    expect(await held(world, 'users')).toEqual(['1 ann FIVE 7 on', '2 bob TEN 8 on', '3 cid  7 on', '4 dan  7 on'])
  })
})
