import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CarryPlan } from '../../src/data/carry/plan.ts'
import type { KeptOutcome } from '../../src/data/carry/state.ts'
import { takeLock } from '../../src/engine/sqlite/lock.ts'
import { rows, write } from '../support/merge.ts'
import { atTerminal } from '../support/terminal.ts'
import { makeToy, type Toy } from '../support/toy.ts'

/** What it writes can be read: nothing of what was there. So nobody has to tell when it had ended. */
const RELEASE = `ALTER TABLE orders RENAME COLUMN mail TO contact; ALTER TABLE orders ADD COLUMN discount INTEGER;
  CREATE TABLE reviews (id INTEGER PRIMARY KEY, stars INTEGER)`

let toy: Toy
const file = () => join(toy.folder, 'shop.db')

beforeEach(async () => {
  toy = await makeToy()
  await toy.write(
    'backout.yaml',
    `environment: shop
components:
  db:
    adapter: sqlite
    settings: { path: shop.db, writers: none, rungs: [restore], carryForward: "off", migrations: { upScripts: "up/{name}.sql" } }
`,
  )
  mkdirSync(join(toy.folder, 'up'))
  await toy.write('up/002_reviews.sql', RELEASE)
  write(
    file(),
    `CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
     CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users(id), total INTEGER, mail TEXT);
     INSERT INTO users VALUES (1, 'ann@example.org'); INSERT INTO orders VALUES (1, 1, 10, 'ann@example.org'), (2, 1, 20, 'old@example.org');
     CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
     INSERT INTO knex_migrations VALUES (1, '001_shop', 1, '2026-01-01')`,
  )
  await said(['capture', 'v1', '--known-good'])
  write(file(), `${RELEASE}; INSERT INTO knex_migrations VALUES (2, '002_reviews', 2, '2026-01-02')`)
  write(
    file(),
    `INSERT INTO users VALUES (2, 'bob@example.org'); INSERT INTO orders VALUES (3, 2, 30, 'bob@example.org', 5);
     UPDATE orders SET total = 21 WHERE id = 2; DELETE FROM orders WHERE id = 1; INSERT INTO reviews VALUES (1, 5)`,
  )
  await said(['run', '--yes', '--loss-window', '1h'])
}, 60_000)
afterEach(() => toy[Symbol.asyncDispose]())

async function said(argv: readonly string[], code = 0): Promise<string> {
  const answer = await toy.backout(argv)
  expect({ ...answer, code: answer.code }, answer.stderr).toMatchObject({ code })
  return answer.stdout
}

describe('the word that confirms a restore', () => {
  const versions = () => rows(file(), 'SELECT total FROM orders WHERE id = 2')

  it('C13: is typed at a terminal, where the window is named; another one is no', async () => {
    write(file(), 'UPDATE orders SET total = 22 WHERE id = 2')
    for (const [word, code] of [
      ['yes', 7],
      ['restore db', 0],
    ] as const) {
      const run = atTerminal(toy.folder, ['run', '--to', 'v1'])
      await run.until('Type shop to go back:')
      run.type('shop\r')
      await run.until('Type "restore db" to let it go:')
      expect(run.shown().replaceAll(/\s+/g, ' ')).toMatch(/takes with it what was written since 20\d\d-\S+Z/)
      run.type(`${word}\r`)
      expect(await run.ended(), run.shown()).toBe(code)
      expect(versions()).toEqual([{ total: code === 0 ? 20 : 22 }])
    }
  })
})

describe('data that was written between the release and a restore', () => {
  it('says of a file of words that is no YAML where that is', async () => {
    await toy.write('words.yaml', '- { table: orders, take: ours\n')
    const answer = await toy.backout(['data', 'apply', '--yes', '--settle', 'words.yaml'])
    expect(answer).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/words_unknown.*words\.yaml is no YAML: .*line/s),
    })
  }, 60_000)

  it('C14: is planned, carried, proven, and told; a second time there is nothing to do', async () => {
    expect(rows(file(), 'SELECT count(*) AS n FROM users')).toEqual([{ n: 1 }])
    const before = rows(file(), 'SELECT * FROM orders')
    const plan = await toy.json<CarryPlan>(['data', 'plan'])
    expect(plan.tables.map(t => [t.table, t.inserts, t.updates, t.deletes])).toEqual([
      ['users', 1, 0, 0],
      ['orders', 1, 1, 1],
    ])
    expect(rows(file(), 'SELECT * FROM orders')).toEqual(before)
    expect(await said(['data', 'apply', '--plan', plan.hash.slice(0, 12)])).toContain(
      '4 rows were carried forward. Proven',
    )
    expect(rows(file(), 'SELECT * FROM orders')).toEqual([
      { id: 2, user_id: 1, total: 21, mail: 'old@example.org' },
      { id: 3, user_id: 2, total: 30, mail: 'bob@example.org' },
    ])
    const again = await toy.json<{ carried: number }>(['data', 'apply', '--yes'])
    expect(again.carried).toBe(0)
    const status = await toy.json<{ last: KeptOutcome }>(['data', 'status', 'db'])
    expect(status.last.proof).toMatchObject({ ok: true, carried: 4, listed: 0 })
    expect(await said(['audit', 'verify'])).not.toBe('')
  }, 60_000)

  it('says, also as migrations end, that nothing tells what they wrote where nothing is ever carried', async () => {
    const plan = (await said(['data', 'status'], 5)).replaceAll(/\s+/g, ' ')
    expect(plan).toContain('carryForward is off, so that nothing was kept when the migrations had ended')
    expect(plan).not.toContain('nobody told')
    await said(['upgrade', 'begin', 'v2'])
    write(file(), `${RELEASE}; INSERT INTO knex_migrations VALUES (2, '002_reviews', 2, '2026-01-02')`)
    expect(await said(['upgrade', 'migrated', 'v2'])).toMatch(/^ {2}db: carryForward is off, so nothing is kept/m)
  }, 60_000)

  it('is named by status as long as it waits, once there may be a place for it again', async () => {
    const archived = /2 archived values are not all put back since r\S+: backout data replay db --run r/
    const status = async () => (await said(['status'])).replaceAll(/\s+/g, ' ')
    const waiting = async () => (await toy.json<{ waiting?: unknown }>(['status'])).waiting
    await said(['data', 'apply', '--yes'])
    expect(await status()).not.toMatch(/not all put back/)
    await said(['upgrade', 'begin', 'v2'])
    write(file(), `${RELEASE}; INSERT INTO knex_migrations VALUES (2, '002_reviews', 2, '2026-01-02')`)
    expect([await status(), await waiting()]).toEqual([expect.not.stringMatching(/not all put back/), undefined])
    await said(['upgrade', 'migrated', 'v2'])
    expect([await status(), await waiting()]).toEqual([
      expect.stringMatching(archived),
      [expect.objectContaining({ component: 'db', archived: 2 })],
    ])
    await said(['data', 'replay'])
    expect([await status(), await waiting()]).toEqual([expect.not.stringMatching(/not all put back/), undefined])
  }, 60_000)

  it('is compared by one process at a time: what they read lies beside the database under one name', async () => {
    const lock = takeLock(join(toy.folder, '.backout', 'locks'), 'shop-data', 'r1')
    const refused = await toy.backout(['data', 'status'])
    expect(refused).toMatchObject({ code: 8, stderr: expect.stringContaining(`process ${process.pid}`) })
    lock.release()
    await said(['data', 'status'], 5)
    await said(['data', 'plan'])
  })

  it('shows conflicts without what stands in them, settles them, and refuses another plan', async () => {
    write(file(), `UPDATE orders SET total = 99 WHERE id = 2; INSERT INTO users VALUES (7, 'bob@example.org')`)
    const plan = await said(['data', 'plan'])
    expect(plan).toContain('1 unique')
    expect(plan).toContain('orders id 2: update, changed')
    expect(plan).toContain('total: at the release ***, ours ***, theirs ***')
    expect(plan).not.toContain('bob@example.org')
    expect(await said(['data', 'plan', '--values'])).toContain('total: at the release 20, ours 99, theirs 21')
    expect((await toy.backout(['data', 'apply', '--plan', 'abc'])).code).toBe(4)
    await toy.write(
      'words.yaml',
      `- { table: users, key: { id: "2" }, take: theirs, set: { email: "'bob2@example.org'" } }\n`,
    )
    await said(['data', 'apply', '--yes', '--settle', 'changed=theirs', 'words.yaml'], 5)
    // What refers to the user waited for it: it comes with the next try.
    await said(['data', 'apply', '--yes'])
    expect(rows(file(), 'SELECT id, total FROM orders')).toEqual([
      { id: 2, total: 21 },
      { id: 3, total: 30 },
    ])
    expect((await toy.backout(['data', 'plan', '--settle', 'maybe'])).stderr).toContain('error [words_unknown]')
  }, 60_000)

  it('stays in quarantine where it may be corrupt, until a named person releases it', async () => {
    await said(['data', 'apply', '--yes', '--corruption', '--suspect', 'orders=total > 25'], 5)
    expect(rows(file(), 'SELECT count(*) AS n FROM users')).toEqual([{ n: 1 }])
    const released = await said(['data', 'release', '--by', 'Eva Doe', '--reason', 'checked with finance'])
    expect(released).toContain('2 rows are released by the word of Eva Doe; 2 stay')
    await said(['data', 'apply', '--yes'], 5)
    expect(rows(file(), 'SELECT id, total FROM orders')).toEqual([
      { id: 1, total: 10 },
      { id: 2, total: 21 },
    ])
    const db = new DatabaseSync(join(toy.folder, '.backout', 'journal.db'), { readOnly: true })
    const events = JSON.stringify(db.prepare('SELECT * FROM events').all())
    db.close()
    expect(events).toContain('data-released')
    expect(events).toContain('checked with finance')
  }, 60_000)

  it('goes back to its place after a roll-forward, as far as the schema of the release had none', async () => {
    write(file(), 'UPDATE orders SET total = 99 WHERE id = 2')
    await said(['data', 'apply', '--yes'], 5)
    write(
      file(),
      `ALTER TABLE orders RENAME COLUMN mail TO contact; ALTER TABLE orders ADD COLUMN discount INTEGER; CREATE TABLE reviews (id INTEGER PRIMARY KEY, stars INTEGER)`,
    )
    await said(['upgrade', 'begin', 'v3', '--from', 'v1'])
    const early = await toy.backout(['data', 'replay'])
    expect(early).toMatchObject({ code: 3, stderr: expect.stringMatching(/migrations_untold.*upgrade migrated v3/s) })
    expect(rows(file(), 'SELECT * FROM reviews')).toEqual([])
    await said(['upgrade', 'migrated', 'v3'])
    const told = await said(['data', 'replay'])
    expect(told).toContain('1 back')
    expect(told).toMatch(/orders: total +1 changed +--settle orders:changed=theirs/)
    expect(told).toMatch(/See them: zstd -dc \S+\/archive\/conflicts\.ndjson\.zst/)
    expect(await said(['data', 'replay', '--settle', 'orders:changed=theirs'])).toMatch(
      /orders: total \(changed\) +1 back/,
    )
    expect(rows(file(), 'SELECT total FROM orders WHERE id = 2')).toEqual([{ total: 21 }])
    expect(rows(file(), 'SELECT discount FROM orders WHERE id = 3')).toEqual([{ discount: 5 }])
    expect(rows(file(), 'SELECT * FROM reviews')).toEqual([{ id: 1, stars: 5 }])
  }, 60_000)
})
