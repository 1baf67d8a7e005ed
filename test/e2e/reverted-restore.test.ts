import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../support/command-line.ts'

const CONFIG = `environment: shop
components:
  db: { adapter: sqlite, settings: { path: shop.db, writers: none, compatible: never } }
`
const GOOD = `CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER NOT NULL, customer TEXT);
  INSERT INTO orders (total, customer) VALUES (10, 'ann'), (25, 'bob');
  CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
  INSERT INTO knex_migrations (name, batch) VALUES ('001_orders', 1)`
const NEXT = `ALTER TABLE orders ADD COLUMN coupon TEXT;
  INSERT INTO knex_migrations (name, batch) VALUES ('002_coupon', 2);
  INSERT INTO orders (total, customer, coupon) VALUES (12, 'eve', 'TEN')`

let dir: string
let line: CommandLine

const sql = (text: string): void => {
  const db = new DatabaseSync(join(dir, 'shop.db'))
  db.exec(text)
  db.close()
}
const orders = (): string[] => {
  const db = new DatabaseSync(join(dir, 'shop.db'))
  const rows = db.prepare('SELECT * FROM orders ORDER BY id').all()
  db.close()
  return rows.map(row => Object.values(row).join(' '))
}
const restore = ['--yes', '--loss-window', '1h']

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-reverted-'))
  line = commandLine(dir)
  await writeFile(join(dir, 'backout.yaml'), CONFIG)
  sql(GOOD)
  const captured = await line.backout(['capture', 'v1', '--known-good'])
  expect(captured.code, captured.stderr).toBe(0)
  sql(NEXT)
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('C13, C16: a restore is reverted', () => {
  it('by the backup that its run made, and what came since is carried', async () => {
    const back = await line.backout(['run', ...restore])
    expect(back.code, back.stderr).toBe(0)
    expect(back.stdout).toContain('To go back to where it started: backout revert ')
    expect(orders()).toEqual(['1 10 ann', '2 25 bob', '3 12 eve'])
    sql(`INSERT INTO orders (total, customer) VALUES (7, 'kim'); UPDATE orders SET customer = 'Bob' WHERE id = 2`)
    const again = await line.backout(['revert', ...restore])
    expect(again.code, again.stderr).toBe(0)
    const said = again.stdout.replaceAll(/\s+/g, ' ')
    expect(said).toMatch(/shop\.db was taken back since 20\S+Z: what differs in rows of then/)
    // Bob's name may be what going back made of it.
    expect(said).toMatch(/Waits for your word: 1 row of db changed/)
    expect(orders()).toEqual(['1 10 ann ', '2 25 bob ', '3 12 eve TEN', '4 7 kim '])
  })

  it('and takes nothing away that was not carried back then', async () => {
    // Nothing but the restore itself tells that what is gone is not what users took away.
    sql('ALTER TABLE orders DROP COLUMN coupon; DELETE FROM knex_migrations WHERE id = 2')
    const on = CONFIG.replace('never }', 'never, rungs: [restore] }')
    await writeFile(join(dir, 'backout.yaml'), on.replace('[restore]', '[restore], carryForward: off'))
    expect((await line.backout(['run', ...restore])).code).toBe(0)
    expect(orders()).toEqual(['1 10 ann', '2 25 bob'])
    await writeFile(join(dir, 'backout.yaml'), on)
    const again = await line.backout(['revert', ...restore])
    expect(again.code, again.stderr).toBe(0)
    expect(orders()).toEqual(['1 10 ann', '2 25 bob', '3 12 eve'])
  })

  it('also after an emergency, which does not prove it', async () => {
    expect((await line.backout(['run', '--emergency', ...restore])).code).toBe(0)
    const again = await line.backout(['revert', ...restore])
    expect(again.code, again.stderr).toBe(0)
    expect(again.stdout.replaceAll(/\s+/g, ' ')).toContain('was never proven -> loading it proves it')
    expect(orders()).toEqual(['1 10 ann ', '2 25 bob ', '3 12 eve TEN'])
  })

  it('not where that backup is gone, which is said', async () => {
    expect((await line.backout(['run', ...restore])).code).toBe(0)
    const own = (await line.json<{ reason: string; dir: string }[]>(['backups', 'list'])).find(
      b => b.reason === 'pre-rollback',
    )
    await rm(own?.dir ?? 'no such backup', { recursive: true })
    const again = await line.backout(['revert', ...restore])
    expect(again.code).toBe(3)
    expect(again.stdout.replaceAll(/\s+/g, ' ')).toMatch(/The run r\S+ made no backup of shop\.db that is there/)
    expect(orders()).toEqual(['1 10 ann', '2 25 bob', '3 12 eve'])
  })
})
