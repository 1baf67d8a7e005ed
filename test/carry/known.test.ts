import { describe, expect, it } from 'vitest'
import { planCarry } from '../../src/data/carry/index.ts'
import { type CarryOptions, type Decision, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { played } from '../rungs/world.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { carrySystems, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems } = carrySystems()
const RENAMED = { was: { table: 'orders', column: null }, now: { table: 'sales', column: null } }

describe.for(systems)('what a person says on $name', ({ name, why, make }) => {
  const quoted = (text: string) => (name === 'SQLite' ? `'${text.replaceAll("'", "''")}'` : text)
  const set = (values: Decision['set']): Partial<CarryOptions> => ({
    decisions: [{ table: 'users', key: { id: '4' }, take: 'theirs', set: values }],
  })
  const suspects = (where: Record<string, string>): Partial<CarryOptions> => ({
    suspicion: { where, since: null, until: null },
  })
  const WRONG: readonly [Partial<CarryOptions>, RegExp][] = [
    [
      suspects({ ordres: 'total > 1' }),
      /--suspect names ordres, which is not in the database right before the restore/,
    ],
    [
      suspects({ orders: 'total > 1' }),
      /--suspect names orders, which is not in the database right before the restore/,
    ],
    [
      {
        ...suspects({ sales: 'total > 1' }),
        releases: [{ by: 'Eva', reason: 'seen', at: '2026-01-01', rows: 'all', table: 'orders', where: null }],
      },
      /a release from quarantine names orders/,
    ],
    [
      { decisions: [{ table: 'sales', take: 'theirs' }] },
      /a decision names sales, which is not in the restored database/,
    ],
    [{ decisions: [{ table: 'users', key: { ident: '4' }, take: 'ours' }] }, /has the key \(ident\)/],
    [
      { renames: [RENAMED, { was: { table: 'users', column: 'mail' }, now: { table: 'users', column: 'n' } }] },
      /users\.mail/,
    ],
    [{ decisions: [{ take: 'theirs', set: { n: '1' } }] }, /does not say for which row/],
    [set({ emial: quoted('x') }), /names users\.emial, which is not in the restored database/],
    [set({ n: 'q' }), /gives for users\.n is no exact text/],
    [set({ n: '007' }), /gives for users\.n is no exact text/],
    ...(name === 'SQLite'
      ? ['q', "x'", '1e'].map(text => [set({ email: text }), /gives for users\.email is no exact text/] as const)
      : []),
  ].map(([words, message]) => [words as Partial<CarryOptions>, message as RegExp])

  it.skipIf(why !== null)(
    'is refused where it means nothing, before anything is written',
    { timeout: LIMIT },
    async () => {
      const base = [
        'CREATE TABLE orders (id int PRIMARY KEY, total int)',
        'CREATE TABLE users (id int PRIMARY KEY, email varchar(20), n int, CONSTRAINT one UNIQUE (email))',
        'INSERT INTO orders VALUES (1, 10)',
        `INSERT INTO users VALUES (1, 'ann', 1)`,
      ]
      const writes = ['INSERT INTO sales VALUES (2, 20)', `INSERT INTO users VALUES (4, 'bob', 3), (5, 'cid', 5)`]
      await using world = await played(await make(), story('ALTER TABLE orders RENAME TO sales', base, writes))
      await restored(world)
      await world.run([`INSERT INTO users VALUES (2, 'bob', 3)`])
      const before = await world.dump()
      await using source = await sourceOf(world)
      for (const [words, message] of WRONG) {
        const said = { ...NOTHING_SAID, renames: [RENAMED], ...words }
        await expect(carryForward(source, said, job)).rejects.toMatchObject({
          code: 'words_unknown',
          message: expect.stringMatching(message),
        })
      }
      expect(await world.dump()).toEqual(before)
      const partly = { ...NOTHING_SAID, renames: [RENAMED], ...suspects({ sales: 'total > 1' }) }
      expect((await planCarry(source, partly, job)).notes.join()).toContain('--suspect says nothing of users')
      const right = { ...NOTHING_SAID, renames: [RENAMED], ...set({ email: quoted("o'b"), n: '7' }) }
      expect((await carryForward(source, right, job)).left.map(t => t.conflicts)).toEqual([{}, {}])
      expect((await world.dump())['users']?.find(row => row['id'] === '4')).toEqual({
        id: '4',
        email: quoted("o'b"),
        n: '7',
      })
    },
  )

  it.skipIf(why !== null)('is told from what the database has after a roll-forward', { timeout: LIMIT }, async () => {
    const base = ['CREATE TABLE orders (id int PRIMARY KEY, total int)', 'INSERT INTO orders VALUES (1, 10)']
    const up = 'ALTER TABLE orders RENAME TO sales'
    await using world = await played(await make(), story(up, base, ['UPDATE sales SET total = 11']))
    await restored(world)
    const kept = { ...NOTHING_SAID, decisions: [{ table: 'orders', take: 'theirs' as const }] }
    {
      await using source = await sourceOf(world)
      expect((await planCarry(source, kept, job)).notes).toEqual(['orders was called sales right before the restore'])
    }
    await world.run([up])
    await using source = await sourceOf(world)
    await expect(planCarry(source, kept, job)).rejects.toThrow(
      /may be one that was kept, names orders, which the restored database has no more: it was rolled forward/,
    )
    expect((await planCarry(source, NOTHING_SAID, job)).notes[0]).toMatch(
      /^the restored database .* has not the schema of the release any more: it was rolled forward or changed since/,
    )
  })
})
