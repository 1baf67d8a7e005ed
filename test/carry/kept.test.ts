import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import { openMerging } from '../../src/adapters/sqlite/merging.ts'
import { readSchema } from '../../src/adapters/sqlite/schema.ts'
import { archiveIn, readArchive, writeArchive } from '../../src/data/carry/archive.ts'
import { applyCarry, planCarry } from '../../src/data/carry/index.ts'
import { readLines } from '../../src/data/carry/lines.ts'
import { type CarryOptions, NOTHING_SAID, type Release } from '../../src/data/carry/options.ts'
import { replay } from '../../src/data/carry/replay.ts'
import type { ReplayedPart } from '../../src/data/carry/replay-outcome.ts'
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

const BASE = `CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, updated_at TEXT); INSERT INTO orders VALUES (1, 10, '2026-01-01T00:00:00Z'), (2, 20, '2026-01-01T00:00:00Z')`
const RELEASE = `ALTER TABLE orders ADD COLUMN discount INTEGER DEFAULT 0; ALTER TABLE orders ADD COLUMN coupon TEXT;
  CREATE TABLE reviews (id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders(id), stars REAL, photo BLOB)`

describe('what has no place in the schema of the release', () => {
  const story = {
    base: BASE,
    migration: RELEASE,
    writes: `UPDATE orders SET discount = 5 WHERE id = 1; INSERT INTO orders VALUES (3, 30, NULL, 0, 'XMAS'), (4, 40, NULL, NULL, NULL);
      INSERT INTO reviews VALUES (1, 3, 4.5, x'00ff'), (2, 1, 1, NULL)`,
  }

  async function back(merge: Merge): Promise<readonly ReplayedPart[]> {
    const db = new DatabaseSync(merge.ours, { readOnly: true })
    const schema = readSchema(db)
    db.close()
    const { component, run, dialect, dir } = merge.source
    const merging = (job: typeof JOB) => openMerging(merge.ours, 1000, null, job)
    return (await replay({ component, run, dialect, dir, schema, merging }, JOB)).parts
  }

  it('is archived, readable by its owner only, and told from what was altered', async () => {
    const merge = play(story)
    const { archive, plan } = await applyCarry(merge.source, NOTHING_SAID, JOB)
    expect(plan.archived).toEqual([
      { table: 'reviews', column: null, count: 2 },
      { table: 'orders', column: 'discount', count: 2 },
      { table: 'orders', column: 'coupon', count: 1 },
    ])
    expect(archive.parts.map(p => `${p.what} ${p.table} ${p.lines}`)).toEqual([
      'rows reviews 2',
      'cells orders 3',
      'whose orders 7',
      'quarantine null 0',
      'conflicts null 0',
    ])
    const dir = archiveIn(merge.source.dir)
    expect(new Set(readdirSync(dir).map(name => statSync(join(dir, name)).mode & 0o777))).toEqual(new Set([0o600]))
    const [first] = archive.parts
    if (first === undefined) throw new Error('nothing was archived')
    writeFileSync(join(dir, first.path), 'other')
    await expect(readLines(dir, first, () => {})).rejects.toMatchObject({ code: 'archive_altered' })
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify({ ...archive, run: 'other' }))
    await expect(readArchive(merge.source.dir)).rejects.toMatchObject({ code: 'archive_altered' })
  })

  it('goes back to its place after a later roll-forward, once, and over nothing that is there', async () => {
    const merge = play(story)
    await applyCarry(merge.source, NOTHING_SAID, JOB)
    write(
      merge.ours,
      `${RELEASE}; UPDATE orders SET discount = 9 WHERE id = 1; INSERT INTO reviews VALUES (2, 2, 5, NULL)`,
    )
    const [cells, reviews] = await back(merge)
    expect(cells).toMatchObject({ table: 'orders', columns: ['coupon', 'discount'], back: 2, conflicts: 1 })
    expect(reviews).toMatchObject({ table: 'reviews', columns: null, back: 1, conflicts: 1 })
    expect(rows(merge.ours, 'SELECT id, discount, coupon FROM orders')).toEqual([
      { id: 1, discount: 9, coupon: null },
      { id: 2, discount: 0, coupon: null },
      { id: 3, discount: 0, coupon: 'XMAS' },
      { id: 4, discount: null, coupon: null },
    ])
    expect(rows(merge.ours, 'SELECT id, order_id, stars, hex(photo) AS photo FROM reviews')).toEqual([
      { id: 1, order_id: 3, stars: 4.5, photo: '00FF' },
      { id: 2, order_id: 2, stars: 5, photo: '' },
    ])
    expect((await back(merge)).map(p => p.back)).toEqual([0, 0])
    write(merge.ours, `UPDATE orders SET discount = 0 WHERE id = 1; DELETE FROM reviews WHERE id = 2`)
    expect((await back(merge)).map(p => [p.back, p.conflicts])).toEqual([
      [1, 0],
      [1, 0],
    ])
    write(merge.ours, `DELETE FROM reviews`)
    expect((await back(merge)).map(p => [p.back, p.conflicts])).toEqual([
      [0, 0],
      [0, 0],
    ])
  })

  it('goes back once where one line is refused and nothing tells the rows apart', async () => {
    const merge = play({
      base: BASE,
      migration: 'CREATE TABLE log (a INTEGER, t TEXT)',
      writes: `INSERT INTO log VALUES (1, 'x'), (2, 'y'), (-5, 'z'), (1, 'x')`,
    })
    await applyCarry(merge.source, NOTHING_SAID, JOB)
    write(merge.ours, 'CREATE TABLE log (a INTEGER CHECK (a > 0), t TEXT)')
    const log = () =>
      rows(merge.ours, 'SELECT a, t FROM log ORDER BY a').map(row => `${String(row['a'])} ${String(row['t'])}`)
    for (const found of [
      { back: 3, done: 0, conflicts: 1 },
      ...Array.from({ length: 2 }, () => ({ back: 0, done: 3, conflicts: 1 })),
    ]) {
      expect(await back(merge)).toMatchObject([found])
      expect(log()).toEqual(['1 x', '1 x', '2 y'])
    }
    write(
      merge.ours,
      'CREATE TABLE looser (a INTEGER, t TEXT); INSERT INTO looser SELECT * FROM log; DROP TABLE log; ALTER TABLE looser RENAME TO log',
    )
    expect(await back(merge)).toMatchObject([{ back: 1, done: 3, conflicts: 0 }])
    expect(log()).toEqual(['-5 z', '1 x', '1 x', '2 y'])
  })

  it('is not hung below a stranger that has the key of what it belonged to', async () => {
    const release = `CREATE TABLE a_coupon (id INTEGER PRIMARY KEY, code TEXT);
      CREATE TABLE a_use (id INTEGER PRIMARY KEY, coupon_id INTEGER REFERENCES a_coupon(id), what TEXT);
      CREATE TABLE a_note (id INTEGER PRIMARY KEY, use_id INTEGER REFERENCES a_use(id));
      ALTER TABLE orders ADD COLUMN coupon_id INTEGER REFERENCES a_coupon(id)`
    const merge = play({
      base: BASE,
      migration: release,
      writes: `INSERT INTO a_coupon VALUES (1, 'TEN'), (2, 'TWENTY'); INSERT INTO a_use VALUES (1, 1, 'x'), (2, 2, 'y');
        INSERT INTO a_note VALUES (1, 1), (2, 2); UPDATE orders SET coupon_id = id`,
    })
    await applyCarry(merge.source, NOTHING_SAID, JOB)
    write(merge.ours, `${release}; INSERT INTO a_coupon VALUES (1, 'HUNDRED')`)
    for (const back1 of [1, 0]) {
      expect((await back(merge)).map(p => [p.table, p.back, p.conflicts])).toEqual([
        ['a_coupon', back1, 1],
        ['a_use', back1, 1],
        ['a_note', back1, 1],
        ['orders', back1, 1],
      ])
    }
    expect(rows(merge.ours, 'SELECT id, coupon_id FROM orders')).toEqual([
      { id: 1, coupon_id: null },
      { id: 2, coupon_id: 2 },
    ])
    expect(rows(merge.ours, 'SELECT id, coupon_id FROM a_use')).toEqual([{ id: 2, coupon_id: 2 }])
    expect(rows(merge.ours, 'SELECT id, use_id FROM a_note')).toEqual([{ id: 2, use_id: 2 }])
    write(merge.ours, 'DELETE FROM a_coupon WHERE id = 1')
    expect((await back(merge)).map(p => [p.back, p.conflicts])).toEqual(Array.from({ length: 4 }, () => [1, 0]))
    expect(rows(merge.ours, 'SELECT id, coupon_id FROM orders WHERE id = 1')).toEqual([{ id: 1, coupon_id: 1 }])
  })

  it('goes back in a circle, or not at all where one of it is a stranger', async () => {
    const release = `CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b(id), code TEXT UNIQUE);
      CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id), code TEXT REFERENCES a(code))`
    const merge = play({
      base: BASE,
      migration: release,
      writes: `PRAGMA foreign_keys = OFF; INSERT INTO a VALUES (1, 1, 'x'), (2, 2, 'y'); INSERT INTO b VALUES (1, 1, NULL), (2, 2, NULL), (3, NULL, 'y')`,
    })
    await applyCarry(merge.source, NOTHING_SAID, JOB)
    write(merge.ours, `${release}; INSERT INTO a VALUES (7, NULL, 'y')`)
    expect((await back(merge)).map(p => [p.table, p.back, p.conflicts])).toEqual([
      ['a', 1, 1],
      ['b', 1, 2],
    ])
    expect(rows(merge.ours, 'SELECT id, b, code FROM a')).toEqual([
      { id: 1, b: 1, code: 'x' },
      { id: 7, b: null, code: 'y' },
    ])
    expect(rows(merge.ours, 'PRAGMA foreign_key_check')).toEqual([])
    write(merge.ours, 'DELETE FROM a WHERE id = 7')
    expect((await back(merge)).map(p => [p.back, p.conflicts])).toEqual([
      [1, 0],
      [2, 0],
    ])
  })

  it('goes to a row that both sides changed, and to none that took the number of one in quarantine', async () => {
    const merge = play({
      base: `CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, buyer TEXT, made_at TEXT);
        INSERT INTO orders VALUES (1, 10, 'ann', '2026-01-01T00:00:00Z'), (2, 20, 'bob', '2026-01-02T00:00:00Z')`,
      migration: RELEASE,
      writes: `UPDATE orders SET total = 11, coupon = 'OWN' WHERE id = 1; INSERT INTO orders VALUES (3, 30, 'cid', NULL, 0, 'XMAS')`,
      after: 'UPDATE orders SET total = 12 WHERE id = 1',
    })
    const suspicion = { where: { orders: 'total = 30' }, since: null, until: null }
    const releases = [{ by: 'Eva', reason: 'seen', at: '', rows: 'clean' as const, table: null, where: null }]
    await applyCarry(merge.source, { ...NOTHING_SAID, suspicion, releases }, JOB)
    write(merge.ours, `INSERT INTO orders (total) VALUES (99); ${RELEASE}`)
    expect(await back(merge)).toMatchObject([{ table: 'orders', back: 1, conflicts: 1 }, { table: 'reviews' }])
    expect(rows(merge.ours, 'SELECT id, coupon FROM orders')).toEqual([
      { id: 1, coupon: 'OWN' },
      { id: 2, coupon: null },
      { id: 3, coupon: null },
    ])
  })

  it('stays where nobody can tell which rows were carried', async () => {
    const merge = play(story)
    write(merge.ours, RELEASE)
    await planCarry(merge.source, NOTHING_SAID, JOB, async laid => void (await writeArchive(laid, JOB)))
    await expect(back(merge)).rejects.toMatchObject({ code: 'not_carried' })
  })

  it('says what could not go back because the schema is another one', async () => {
    const merge = play(story)
    await applyCarry(merge.source, NOTHING_SAID, JOB)
    expect((await back(merge)).map(p => p.why)).toEqual(['the table is not there', 'the table has no coupon, discount'])
  })
})

describe('under suspicion of corruption', () => {
  const story = {
    base: BASE,
    writes: `INSERT INTO orders VALUES (3, -5, '2026-03-01T10:00:00Z'), (4, 40, '2026-03-01T12:00:00Z'), (5, 50, NULL); UPDATE orders SET total = 11 WHERE id = 1; DELETE FROM orders WHERE id = 2`,
  }
  const said = (more: Partial<CarryOptions>): CarryOptions => ({
    ...NOTHING_SAID,
    suspicion: { where: { orders: 'total < 0' }, since: null, until: null },
    ...more,
  })
  const word = (more: Partial<Release>): Release => ({
    by: 'Eva',
    reason: 'looked at',
    at: '2026-03-02T00:00:00Z',
    rows: 'clean',
    table: null,
    where: null,
    ...more,
  })

  it('nothing is carried; every row is kept, and those that something speaks against are told apart', async () => {
    const merge = play(story)
    const before = rows(merge.ours, 'SELECT * FROM orders')
    const { carried, proof, left, archive } = await applyCarry(merge.source, said({}), JOB)
    expect([carried, proof.ok, proof.quarantined]).toEqual([0, true, 5])
    // The row that was deleted cannot be asked, so that it is suspect.
    expect(left[0]).toMatchObject({ held: 5, suspect: 2, inserts: 0, updates: 0, deletes: 0 })
    expect(rows(merge.ours, 'SELECT * FROM orders')).toEqual(before)
    expect(archive.parts.find(p => p.what === 'quarantine')?.lines).toBe(5)
  })

  it('a named person releases what nothing speaks against, or some rows, or all', async () => {
    const merge = play(story)
    const clean = await applyCarry(merge.source, said({ releases: [word({})] }), JOB)
    expect([clean.carried, clean.proof.quarantined, clean.proof.ok]).toEqual([3, 2, true])
    const some = said({ releases: [word({}), word({ rows: 'all', table: 'orders', where: 'id = 3' })] })
    expect((await applyCarry(merge.source, some, JOB)).carried).toBe(1)
    const all = await applyCarry(merge.source, said({ releases: [word({ rows: 'all' })] }), JOB)
    expect([all.carried, all.proof.quarantined]).toEqual([1, 0])
    expect(rows(merge.ours, 'SELECT id, total FROM orders')).toEqual(rows(merge.theirs, 'SELECT id, total FROM orders'))
  })

  it('rows of a time are suspect, and rows without a time with them', async () => {
    const merge = play(story)
    const times = { where: {}, since: '2026-03-01T11:00:00.000Z', until: null }
    const plan = await planCarry(merge.source, said({ suspicion: times, releases: [word({})] }), JOB)
    // Carried: 3 and 1, which say that they are older.
    expect(plan.tables[0]).toMatchObject({ inserts: 1, updates: 1, deletes: 0, held: 3, suspect: 3 })
    const nothingSaid = { where: {}, since: null, until: null }
    const every = await planCarry(merge.source, said({ suspicion: nothingSaid, releases: [word({})] }), JOB)
    expect(every.tables[0]).toMatchObject({ held: 5, suspect: 5 })
  })
})
