import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/core/contract.ts'
import { carriesForward } from '../../src/data/carry/open.ts'
import { type Decision, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { keepSaid } from '../../src/data/carry/state.ts'
import { carryForward, conflictsIn, type OpenedSource } from '../../src/data/carry/step.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import type { RungStory } from '../rungs/story.ts'
import { onMariadb, onPostgres, onSqlite } from '../rungs/systems.ts'
import { carriedOut, played, proposed, signal, type World } from '../rungs/world.ts'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'

const LIMIT = 120_000
const job = { signal, guard() {}, progress() {} }
let postgres: PostgresServer
let maria: Mariadb

beforeAll(async () => {
  if (noPostgres() === null) postgres = await postgresServer()
  if (noMariadb() === null) maria = await mariadb()
})
afterAll(async () => {
  await postgres?.dispose()
  await maria?.dispose()
})

const SYSTEMS = [
  { name: 'SQLite', why: null, make: () => onSqlite() },
  { name: 'PostgreSQL', why: noPostgres(), make: () => onPostgres(postgres) },
  { name: 'MariaDB', why: noMariadb(), make: () => onMariadb(maria) },
]

function story(up: string, base: readonly string[], writes: readonly string[]): RungStory {
  return { base, release: [{ name: '002_x', up, down: null }], early: [], meanwhile: [], told: true, writes }
}

/** Opens what the run `back` left, as `backout data` does. */
async function sourceOf(world: World): Promise<OpenedSource & AsyncDisposable> {
  const target = await world.open()
  if (!carriesForward(target)) throw new Error('it carries nothing forward')
  const source = await target.carrying('back', world.pin.backup ?? '', job)
  const close = async () => {
    await source[Symbol.asyncDispose]()
    await target[Symbol.asyncDispose]()
  }
  return { ...source, [Symbol.asyncDispose]: close }
}

async function said(world: World, ...decisions: Decision[]) {
  await using source = await sourceOf(world)
  const words = { ...NOTHING_SAID, decisions }
  await keepSaid(source.dir, words)
  return await carryForward(source, words, job)
}

/** All steps of a restore but for carrying; that one is answered. */
async function restored(world: World): Promise<Step> {
  const steps = ordered(await proposed(world, 'restore'))
  for (const step of steps.filter(s => !s.id.endsWith('/carry'))) {
    await using target = await world.open()
    await target.apply(step, stepAct(step, 'back'))
  }
  return steps.find(s => s.id.endsWith('/carry')) as Step
}

const applied = async (world: World, step: Step, attempt: number) => {
  await using target = await world.open()
  await target.apply(step, { ...stepAct(step, 'back'), attempt })
}
const verdict = async (world: World, step: Step) => {
  await using target = await world.open()
  return (await target.verify(step, stepAct(step, 'back'))).is
}

describe.for(SYSTEMS)('what $name refuses by itself', ({ name, why, make }) => {
  const CHECKED = story(
    'CREATE TABLE looser (id int PRIMARY KEY, total int); INSERT INTO looser SELECT * FROM orders; DROP TABLE orders; ALTER TABLE looser RENAME TO orders',
    [
      'CREATE TABLE orders (id int PRIMARY KEY, total int, CONSTRAINT above CHECK (total > 0))',
      'INSERT INTO orders VALUES (1, 10)',
    ],
    ['INSERT INTO orders VALUES (2, -5), (3, 5), (4, -7)'],
  )
  const dropped = (sql: string): RungStory => ({ ...CHECKED, release: [{ name: '002_x', up: sql, down: null }] })

  it.skipIf(why !== null)(
    'is listed, holds nothing up, and is settled by a word or another value',
    { timeout: LIMIT },
    async () => {
      const system = await make()
      const drop = 'ALTER TABLE orders DROP CONSTRAINT above'
      await using world = await played(system, name === 'SQLite' ? CHECKED : dropped(drop))
      const proposal = await proposed(world, 'restore')
      // Each step is asked afterwards what became of it, and has to be done.
      await carriedOut(world, proposal, 'back')
      const step = ordered(proposal).find(s => s.id.endsWith('/carry')) as Step
      const orders = async () => (await world.dump())['orders']?.map(row => `${row['id']} ${row['total']}`).sort()
      expect(await orders()).toEqual(['1 10', '3 5'])
      const left = async (...words: Decision[]) => (await said(world, ...words)).left[0]
      const two: Decision = { table: 'orders', kind: 'check', key: { id: '2' }, take: 'theirs', set: { total: '-6' } }
      expect(await left(two)).toMatchObject({ conflicts: { check: 2 } })
      // A person's own value was refused too: that holds nothing up either.
      expect(await verdict(world, step)).toBe('done')
      const words: Decision[] = [
        { kind: 'check', take: 'ours' },
        { ...two, set: { total: '6' } },
      ]
      expect(await left(...words)).toMatchObject({ conflicts: {}, settled: 1 })
      expect(await orders()).toEqual(['1 10', '2 6', '3 5'])
      if (name !== 'MariaDB') return
      // The rules of ours may be others now.
      expect(await world.run([drop])).toEqual([true])
      expect([conflictsIn((await said(world)).left), await orders()]).toEqual([0, ['1 10', '2 6', '3 5', '4 -7']])
    },
  )
})

describe.skipIf(noMariadb() !== null)('what was not borne out on MariaDB', () => {
  const STOCK = story(
    'DROP TRIGGER t',
    [
      'CREATE TABLE a_sale (id int PRIMARY KEY, s int)',
      'CREATE TABLE z_stock (id int PRIMARY KEY, n int)',
      'CREATE TRIGGER t AFTER UPDATE ON z_stock FOR EACH ROW UPDATE a_sale SET s = s + 1000 WHERE id = NEW.id',
      'INSERT INTO a_sale VALUES (1, 5), (2, 6)',
      'INSERT INTO z_stock VALUES (1, 100), (2, 100)',
    ],
    ['UPDATE z_stock SET n = 90', 'UPDATE a_sale SET s = 7 WHERE id = 1'],
  )

  it('stays so however often it is tried, until a person takes it as it is', { timeout: LIMIT }, async () => {
    await using world = await played(await onMariadb(maria), STOCK)
    const step = await restored(world)
    for (const attempt of [1, 2, 1]) {
      await expect(applied(world, step, attempt)).rejects.toMatchObject({ code: 'carry_unproven' })
      expect(await verdict(world, step)).toBe('not-done')
    }
    const sales = async () => (await world.dump())['a_sale']?.map(row => row['s'])
    expect(await sales()).toEqual(['1007', '1006'])
    await world.run(['UPDATE a_sale SET s = s - 1000'])
    await using source = await sourceOf(world)
    const outcome = await carryForward(source, NOTHING_SAID, job, { accepted: { by: 'eva', reason: 'mended by hand' } })
    expect([outcome.proof.ok, await sales()]).toEqual([true, ['7', '6']])
    expect(await verdict(world, step)).toBe('done')
  })
})
