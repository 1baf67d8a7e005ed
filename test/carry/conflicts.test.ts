import { rmSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { keptImage } from '../../src/adapters/sqlite/image.ts'
import { openMerging } from '../../src/adapters/sqlite/merging.ts'
import { applyCarry } from '../../src/data/carry/index.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { Job, Merger } from '../../src/data/engine.ts'
import { carried as carry, kinds, SHOP } from '../support/carried.ts'
import { JOB, type Merge, played, rows, type Story, write } from '../support/merge.ts'

const made: string[] = []
afterEach(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true })
})

function play(story: Story): Merge {
  const merge = played(story)
  made.push(merge.dir)
  return merge
}

/** As a database whose user may not switch that off. */
async function lookingAtKeys(merger: Merger): Promise<Merger> {
  await merger.query('PRAGMA foreign_keys = ON')
  return {
    quiet: false,
    stage: table => merger.stage(table),
    bonds: () => merger.bonds(),
    highest: (image, table, column) => merger.highest(image, table, column),
    untouched: (table, types, touched, upTo) => merger.untouched(table, types, touched, upTo),
    work: (...args) => merger.work(...args),
    table: (image, name) => merger.table(image, name),
    query: (sql, values) => merger.query(sql, values),
    each: (sql, values, row) => merger.each(sql, values, row),
    run: (sql, values) => merger.run(sql, values),
    transaction: work => merger.transaction(work),
    savepoint: work => merger.savepoint(work),
    refusal: error => merger.refusal(error),
    sequences: () => merger.sequences(),
    [Symbol.asyncDispose]: () => merger[Symbol.asyncDispose](),
  }
}

describe('a conflict', () => {
  it('exists: the key is taken by another row; theirs, ours or nobody counts', async () => {
    const story = {
      base: SHOP,
      writes: `INSERT INTO orders VALUES (3, 1, 30)`,
      after: `INSERT INTO orders VALUES (3, 2, 99)`,
    }
    const merge = play(story)
    const left = await carry(merge)
    expect(kinds(left.listed)).toEqual(['orders 3 exists'])
    expect(left.listed[0]?.cells['total']).toEqual({ base: null, ours: '99', theirs: '30' })
    expect(rows(merge.ours, 'SELECT * FROM orders WHERE id = 3')).toEqual([{ id: 3, user_id: 2, total: 99 }])
    const settled = await carry(merge, { decisions: [{ kind: 'exists', take: 'theirs' }] })
    expect([settled.carried, settled.listed]).toEqual([1, []])
    expect(rows(merge.ours, 'SELECT * FROM orders WHERE id = 3')).toEqual([{ id: 3, user_id: 1, total: 30 }])
  })

  it('row-missing: what was changed is not there; theirs brings the whole row', async () => {
    const merge = play({
      base: SHOP,
      writes: `UPDATE orders SET total = 11 WHERE id = 1`,
      after: `DELETE FROM orders WHERE id = 1`,
    })
    expect(kinds((await carry(merge)).listed)).toEqual(['orders 1 row-missing'])
    await carry(merge, { decisions: [{ table: 'orders', key: { id: '1' }, take: 'theirs' }] })
    expect(rows(merge.ours, 'SELECT * FROM orders WHERE id = 1')).toEqual([{ id: 1, user_id: 1, total: 11 }])
  })

  const BOTH = {
    base: SHOP,
    writes: `UPDATE users SET name = 'Anna', age = 31 WHERE id = 1; DELETE FROM users WHERE id = 3`,
    after: `UPDATE users SET name = 'Annie' WHERE id = 1; UPDATE users SET age = 51 WHERE id = 3`,
  }

  it('changed: only the cell that both sides changed stays behind, and a row that was changed is not deleted', async () => {
    const merge = play(BOTH)
    const { listed, left } = await carry(merge)
    expect(kinds(listed)).toEqual(['users 1 changed', 'users 3 changed'])
    expect(left.find(t => t.table === 'users')).toMatchObject({ done: 1, conflicts: { changed: 2 } })
    expect(rows(merge.ours, 'SELECT name, age FROM users WHERE id IN (1, 3)')).toEqual([
      { name: 'Annie', age: 31 },
      { name: 'Cid', age: 51 },
    ])
    await carry(merge, { decisions: [{ take: 'theirs' }] })
    expect(rows(merge.ours, 'SELECT name, age FROM users')).toEqual([
      { name: 'Anna', age: 31 },
      { name: 'Bob', age: 40 },
    ])
  })

  it('changed, row by row: such a row is left as it is', async () => {
    const merge = play(BOTH)
    await carry(merge, { mode: 'row' })
    expect(rows(merge.ours, 'SELECT name, age FROM users WHERE id = 1')).toEqual([{ name: 'Annie', age: 30 }])
  })

  it('nothing is carried where only a report was asked for', async () => {
    const merge = play(BOTH)
    const { carried } = await carry(merge, { mode: 'report' })
    expect([carried, rows(merge.ours, 'SELECT name, age FROM users WHERE id = 1')]).toEqual([
      0,
      [{ name: 'Annie', age: 30 }],
    ])
  })

  it('rewritten: the migration wrote the cell anew; what it wrote itself is no edit', async () => {
    const story = {
      base: SHOP,
      migration: `UPDATE orders SET total = total * 100`,
      writes: `UPDATE orders SET total = 7 WHERE id = 1`,
    }
    const merge = play(story)
    expect(kinds((await carry(merge)).listed)).toEqual(['orders 1 rewritten', 'orders 2 ambiguous'])
    const said = play({ ...story, usersAway: true })
    expect(kinds((await carry(said)).listed)).toEqual(['orders 1 rewritten'])
    for (const { ours } of [merge, said])
      expect(rows(ours, 'SELECT total FROM orders')).toEqual([{ total: 10 }, { total: 20 }])
    const untold = play({
      ...story,
      told: false,
      writes: `${story.writes}; INSERT INTO orders VALUES (7, 1, 70); DELETE FROM users WHERE id = 3`,
    })
    const { plan, listed } = await carry(untold)
    expect(kinds(listed)).toEqual(['users 3 ambiguous', 'orders 1 ambiguous', 'orders 2 ambiguous'])
    expect(plan.notes[0]).toContain('nobody told')
    expect(plan.notes.join()).toContain('2 of 2 values of orders.total are others than at the release')
    expect(rows(untold.ours, 'SELECT total FROM orders WHERE id = 7')).toEqual([{ total: 70 }])
    const nothing = { tables: [], columns: {} }
    const read = play({ ...story, told: false })
    const users = await carry({ ...read, source: { ...read.source, untold: { touched: nothing } } })
    expect([users.carried, users.listed]).toEqual([2, []])
  })

  it('ambiguous: the migration wrote it, or a user before anybody told that it had ended', async () => {
    const merge = play({
      base: `${SHOP} CREATE TABLE bag (v TEXT); INSERT INTO bag VALUES ('a'), ('a'), ('b');`,
      migration: `UPDATE orders SET total = total * 100`,
      meanwhile: `UPDATE users SET name = 'Anna' WHERE id = 1; UPDATE users SET age = 41 WHERE id = 2;
        DELETE FROM users WHERE id = 3; DELETE FROM bag WHERE v = 'b'; INSERT INTO bag VALUES ('a')`,
      writes: `UPDATE users SET age = 31 WHERE id = 1; INSERT INTO bag VALUES ('c')`,
      after: `UPDATE users SET age = 42 WHERE id = 2; DELETE FROM orders WHERE id = 2`,
    })
    const left = await carry(merge)
    expect(left.plan.notes.join()).toContain('7 rows changed between the backup and the end of migrating')
    expect(kinds(left.listed).map(k => k.replace(/^bag .+ /, 'bag '))).toEqual([
      'bag ambiguous',
      'bag ambiguous',
      'users 1 ambiguous',
      'users 2 ambiguous',
      'users 3 ambiguous',
      'orders 1 ambiguous',
      'orders 2 ambiguous',
    ])
    expect(left.listed.find(l => l.table === 'users')?.cells).toMatchObject({
      name: { base: "'Ann'", ours: "'Ann'", theirs: "'Anna'" },
    })
    const users = () => rows(merge.ours, 'SELECT id, name, age FROM users')
    const bob = { id: 2, name: 'Bob', age: 42 }
    // What is certain of the row came.
    expect(users()).toEqual([{ id: 1, name: 'Ann', age: 31 }, bob, { id: 3, name: 'Cid', age: 50 }])
    // A word on everything is none on what may be the migration's own.
    const all = await carry(merge, { decisions: [{ take: 'theirs' }] })
    expect(kinds(all.listed)).toEqual(kinds(left.listed))
    const settled = await carry(merge, {
      decisions: [
        { kind: 'ambiguous', take: 'theirs' },
        { table: 'orders', kind: 'ambiguous', take: 'ours' },
        { table: 'users', kind: 'ambiguous', key: { id: '2' }, take: 'ours' },
      ],
    })
    expect(settled.left.map(t => [t.conflicts, t.settled])).toEqual([
      [{}, 0],
      [{}, 1],
      [{}, 2],
    ])
    expect(users()).toEqual([{ id: 1, name: 'Anna', age: 31 }, bob])
    expect(rows(merge.ours, 'SELECT total FROM orders')).toEqual([{ total: 10 }])
    expect(rows(merge.ours, 'SELECT v FROM bag ORDER BY v').map(r => r['v'])).toEqual(['a', 'a', 'a', 'c'])
  })

  it('is carried where the migration left the table alone, whenever it was written', async () => {
    const story = {
      base: `${SHOP} CREATE TABLE bag (v TEXT); INSERT INTO bag VALUES ('a'), ('a'), ('b');`,
      migration: `UPDATE orders SET total = total * 100`,
      meanwhile: `UPDATE users SET name = 'Anna' WHERE id = 1; DELETE FROM users WHERE id = 3; DELETE FROM bag WHERE v = 'b'`,
    }
    const merge = play(story)
    const alone = { ...merge, source: { ...merge.source, touched: { tables: ['orders'], columns: {} } } }
    expect(kinds((await carry(alone)).listed)).toEqual(['orders 1 ambiguous', 'orders 2 ambiguous'])
    expect(rows(merge.ours, 'SELECT id, name FROM users')).toEqual([
      { id: 1, name: 'Anna' },
      { id: 2, name: 'Bob' },
    ])
    expect(rows(merge.ours, 'SELECT v FROM bag')).toEqual([{ v: 'a' }, { v: 'a' }])
  })

  it('is told apart by cell where the migration wrote certain columns of a table, and brought and took no row', async () => {
    const story = {
      base: SHOP,
      migration: `UPDATE users SET age = age + 1 WHERE id <> 3`,
      meanwhile: `UPDATE users SET name = 'Anna' WHERE id = 1; UPDATE users SET age = 99 WHERE id = 2;
        DELETE FROM users WHERE id = 3; INSERT INTO users VALUES (4, 'dan', 'Dan', NULL)`,
      writes: `UPDATE users SET name = 'Bobby' WHERE id = 2`,
    }
    const whole = await carry(play(story))
    expect(kinds(whole.listed)).toEqual(['users 1 ambiguous', 'users 2 ambiguous', 'users 3 ambiguous'])
    const merge = play(story)
    const touched = { tables: ['users'], columns: { users: ['age'] } }
    const told = await carry({ ...merge, source: { ...merge.source, touched } })
    expect(told.proof.problems).toEqual([])
    expect(kinds(told.listed)).toEqual(['users 1 ambiguous', 'users 2 ambiguous'])
    expect(rows(merge.ours, 'SELECT id, name, age FROM users')).toEqual([
      { id: 1, name: 'Anna', age: 30 },
      { id: 2, name: 'Bobby', age: 40 },
      { id: 4, name: 'Dan', age: null },
    ])
  })

  it('unique: another row of ours has the value; a value of somebody’s own settles it', async () => {
    const merge = play({
      base: SHOP,
      writes: `INSERT INTO users VALUES (4, 'dan', 'Dan', 20)`,
      after: `INSERT INTO users VALUES (9, 'dan', 'Other', 21)`,
    })
    expect(kinds((await carry(merge)).listed)).toEqual(['users 4 unique'])
    await carry(merge, { decisions: [{ table: 'users', key: { id: '4' }, take: 'theirs', set: { email: "'dan2'" } }] })
    expect(rows(merge.ours, 'SELECT * FROM users WHERE id = 4')).toEqual([
      { id: 4, email: 'dan2', name: 'Dan', age: 20 },
    ])
  })

  it('foreign-key: what it refers to is neither in ours nor to come', async () => {
    const merge = play({
      base: SHOP,
      migration: `CREATE TABLE o (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER, total INTEGER); INSERT INTO o SELECT * FROM orders; DROP TABLE orders; ALTER TABLE o RENAME TO orders`,
      writes: `INSERT INTO orders VALUES (3, 77, 30), (4, 1, 40)`,
    })
    const { listed, carried } = await carry(merge)
    expect([kinds(listed), carried]).toEqual([['orders 3 foreign-key'], 1])
  })

  it('check: found by halving, and what came for the refused row does not come either', async () => {
    const loose = `CREATE TABLE u (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT, age INTEGER); INSERT INTO u SELECT * FROM users; PRAGMA foreign_keys = OFF; DROP TABLE users; ALTER TABLE u RENAME TO users`
    const many = Array.from({ length: 40 }, (_, i) => `(${100 + i}, 'u${i}', 'N', ${i === 17 ? -1 : 9})`).join(', ')
    const merge = play({
      base: SHOP,
      migration: loose,
      writes: `INSERT INTO users VALUES ${many}; INSERT INTO orders VALUES (5, 117, 1), (6, 118, 1)`,
    })
    const { listed, carried } = await carry(merge)
    expect([kinds(listed), carried]).toEqual([['users 117 check', 'orders 5 foreign-key'], 40])
  })

  it('not-null, type and column-gone: the schema of the release cannot hold the value', async () => {
    const base = `CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, t TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, must TEXT NOT NULL); INSERT INTO a VALUES (1, 1, 'x'); INSERT INTO b VALUES (1, 'y')`
    const migration = `CREATE TABLE a2 (id INTEGER PRIMARY KEY, n TEXT, t TEXT); INSERT INTO a2 SELECT * FROM a; DROP TABLE a; ALTER TABLE a2 RENAME TO a; ALTER TABLE b DROP COLUMN must`
    const merge = play({
      base,
      migration,
      writes: `INSERT INTO a VALUES (2, NULL, 'x'), (3, 'many', 'x'), (4, '12', 'x'); UPDATE a SET n = 'few', t = 'z' WHERE id = 1; INSERT INTO b VALUES (2)`,
    })
    const { listed } = await carry(merge)
    expect(kinds(listed)).toEqual(['a 1 type', 'a 2 not-null', 'a 3 type', 'b 2 column-gone'])
    expect(rows(merge.ours, 'SELECT id, n, typeof(n) AS is_a, t FROM a')).toEqual([
      { id: 1, n: 1, is_a: 'integer', t: 'z' },
      { id: 4, n: 12, is_a: 'integer', t: 'x' },
    ])
    await carry(merge, { decisions: [{ table: 'b', key: { id: '2' }, take: 'theirs', set: { must: "'now'" } }] })
    expect(rows(merge.ours, 'SELECT * FROM b WHERE id = 2')).toEqual([{ id: 2, must: 'now' }])
  })

  it('cascade: deleting takes rows of ours with it only where somebody said so', async () => {
    const merge = play({
      base: SHOP,
      writes: `DELETE FROM orders WHERE user_id = 1; DELETE FROM users WHERE id = 1`,
      after: `INSERT INTO orders VALUES (8, 1, 80)`,
    })
    expect(kinds((await carry(merge)).listed)).toEqual(['users 1 cascade'])
    expect(kinds((await carry(merge, { decisions: [{ take: 'theirs' }] })).listed)).toEqual(['users 1 cascade'])
    expect(rows(merge.ours, 'SELECT id FROM orders')).toEqual([{ id: 2 }, { id: 8 }])
    await carry(merge, { decisions: [{ kind: 'cascade', take: 'theirs' }] })
    expect(rows(merge.ours, 'SELECT id FROM orders')).toEqual([{ id: 2 }])
    expect(rows(merge.ours, 'SELECT id FROM users')).toEqual([{ id: 2 }, { id: 3 }])
  })
})

describe('what is carried', () => {
  it('changes places over a unique key, and takes a value that a deleted row had', async () => {
    const merge = play({
      base: SHOP,
      writes: `UPDATE users SET email = 'x' WHERE id = 1; UPDATE users SET email = 'ann' WHERE id = 2; UPDATE users SET email = 'bob' WHERE id = 1;
        DELETE FROM users WHERE id = 3; INSERT INTO users VALUES (4, 'cid', 'New', 9)`,
    })
    expect((await carry(merge)).listed).toEqual([])
    expect(rows(merge.ours, 'SELECT id, email FROM users ORDER BY id')).toEqual([
      { id: 1, email: 'bob' },
      { id: 2, email: 'ann' },
      { id: 4, email: 'cid' },
    ])
  })

  it('comes in any order of circular references, and of a table that refers to itself', async () => {
    const base = `CREATE TABLE org (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person(id)); CREATE TABLE person (id INTEGER PRIMARY KEY, org INTEGER NOT NULL REFERENCES org(id), boss INTEGER REFERENCES person(id))`
    const merge = play({
      base,
      writes: `INSERT INTO org VALUES (1, NULL); INSERT INTO person VALUES (1, 1, NULL), (2, 1, 1); UPDATE org SET owner = 2`,
    })
    expect([(await carry(merge)).carried, rows(merge.ours, 'PRAGMA foreign_key_check')]).toEqual([3, []])
  })

  it('comes where the database looks at foreign keys: first without what it refers to, then with it', async () => {
    const base = `CREATE TABLE org (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person(id)); CREATE TABLE person (id INTEGER PRIMARY KEY, org INTEGER NOT NULL REFERENCES org(id)); CREATE TABLE pet (id INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES person(id))`
    const merge = play({
      base,
      writes: `INSERT INTO org VALUES (1, NULL), (2, NULL); INSERT INTO person VALUES (1, 1), (2, 2); UPDATE org SET owner = id; INSERT INTO pet VALUES (1, 2)`,
    })
    const { source } = merge
    const looking = { ...source, merging: async (job: Job) => lookingAtKeys(await source.merging(job)) }
    const { carried, proof } = await applyCarry(looking, NOTHING_SAID, JOB)
    expect([carried, proof.problems]).toEqual([5, []])
    expect(rows(merge.ours, 'SELECT * FROM org')).toEqual([
      { id: 1, owner: 1 },
      { id: 2, owner: 2 },
    ])
  })

  it('fires no trigger, leaves the triggers there, and issues no number twice', async () => {
    const base = `${SHOP} CREATE TABLE log (line TEXT); CREATE TRIGGER logged AFTER INSERT ON orders BEGIN INSERT INTO log VALUES ('order ' || new.id); END`
    const merge = play({
      base,
      writes: `INSERT INTO orders VALUES (7, 1, 70), (8, 1, 80); DELETE FROM orders WHERE id = 8`,
    })
    await carry(merge)
    expect(rows(merge.ours, 'SELECT line FROM log ORDER BY line')).toEqual([{ line: 'order 7' }, { line: 'order 8' }])
    expect(rows(merge.ours, `SELECT name FROM sqlite_schema WHERE type = 'trigger'`)).toEqual([{ name: 'logged' }])
    expect(rows(merge.ours, `SELECT seq FROM sqlite_sequence WHERE name = 'orders'`)).toEqual([{ seq: 8 }])
  })

  it('is not carried again after ours changed it', async () => {
    const merge = play({
      base: SHOP,
      writes: `INSERT INTO orders VALUES (3, 1, 30); UPDATE users SET name = 'Anna' WHERE id = 1`,
    })
    await carry(merge)
    const { DatabaseSync } = await import('node:sqlite')
    const db = new DatabaseSync(merge.ours)
    db.exec(`DELETE FROM orders WHERE id = 3; UPDATE users SET name = 'Ann-Marie' WHERE id = 1`)
    db.close()
    const again = await carry(merge)
    expect([again.carried, again.listed, again.proof.changedSince]).toEqual([0, [], 2])
    expect(rows(merge.ours, 'SELECT count(*) AS n FROM orders WHERE id = 3')).toEqual([{ n: 0 }])
  })

  it('is followed through new names, given for them', async () => {
    const merge = play({
      base: SHOP,
      migration: `ALTER TABLE orders RENAME TO purchases; ALTER TABLE purchases RENAME COLUMN total TO cents`,
      writes: `INSERT INTO purchases VALUES (3, 1, 30); UPDATE purchases SET cents = 12 WHERE id = 1`,
      renames: [
        { was: { table: 'orders', column: null }, now: { table: 'purchases', column: null } },
        { was: { table: 'orders', column: 'total' }, now: { table: 'purchases', column: 'cents' } },
      ],
    })
    await carry(merge)
    expect(rows(merge.ours, 'SELECT id, total FROM orders')).toEqual([
      { id: 1, total: 12 },
      { id: 2, total: 20 },
      { id: 3, total: 30 },
    ])
  })
})

it('the proof finds what was written into the kept database after it was compared', async () => {
  const merge = play({ base: SHOP, writes: `INSERT INTO orders VALUES (3, 1, 30)` })
  const images = { ...merge.source.images, theirs: keptImage(merge.theirs, 1000) }
  const source = {
    ...merge.source,
    images,
    merging: (job: Job) => openMerging(merge.ours, 1000, images, job),
  }
  const late = (sql: string) => ({
    ...JOB,
    progress: ({ text }: { text: string }) => void (text.startsWith('carrying') && write(merge.theirs, sql)),
  })
  const { proof } = await applyCarry(source, NOTHING_SAID, late(`INSERT OR IGNORE INTO orders VALUES (4, 1, 40)`))
  expect(proof.problems).toEqual(['orders: 1 rows are neither carried nor listed'])
  expect((await applyCarry(source, NOTHING_SAID, JOB)).proof.problems).toEqual([])
  expect(rows(merge.ours, 'SELECT id FROM orders')).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }, { id: 4 }])
})

it('the proof fails where something else touched what it was not to touch, and where a carried row is not as it is to be', async () => {
  const merge = play({ base: SHOP, writes: `INSERT INTO orders VALUES (3, 1, 30), (4, 1, 40)` })
  const { DatabaseSync } = await import('node:sqlite')
  let meddled = false
  const job = {
    ...JOB,
    progress: ({ text }: { text: string }) => {
      if (!text.startsWith('proving') || meddled) return
      meddled = true
      const db = new DatabaseSync(merge.ours)
      db.exec(
        `UPDATE users SET name = 'Mallory' WHERE id = 2; DELETE FROM orders WHERE id = 3; UPDATE orders SET total = 41 WHERE id = 4`,
      )
      db.close()
    },
  }
  const { proof } = await applyCarry(merge.source, NOTHING_SAID, job)
  expect(proof.ok).toBe(false)
  expect(proof.problems).toEqual([
    'orders: 2 rows were carried and are not what they are to be',
    'users: 1 rows that were not to be touched are not as they were',
  ])
})
