import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import { atTerminal } from '../support/terminal.ts'

const CONFIG = `environment: shop
components:
  db: { adapter: sqlite, settings: { path: shop.db, writers: none, compatible: never } }
`
const GOOD = `CREATE TABLE orders (id INTEGER PRIMARY KEY, total NUMERIC NOT NULL, customer TEXT);
  INSERT INTO orders (total, customer) VALUES (10, 'ann'), (25, 'bob');
  CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
  INSERT INTO knex_migrations (name, batch) VALUES ('001_orders', 1)`
/** Nothing undoes it, and the old release cannot live with it: only the restore is left. */
const BAD = `ALTER TABLE orders RENAME COLUMN total TO cents; UPDATE orders SET cents = cents * 100;
  INSERT INTO knex_migrations (name, batch) VALUES ('002_cents', 2);
  INSERT INTO orders (cents, customer) VALUES (1250, 'eve'); UPDATE orders SET customer = 'Bob' WHERE id = 2`

let dir: string
let line: CommandLine

const sql = (text: string): void => {
  const db = new DatabaseSync(join(dir, 'shop.db'))
  db.exec(text)
  db.close()
}
const columns = (): string[] => {
  const db = new DatabaseSync(join(dir, 'shop.db'))
  const rows = db.prepare(`SELECT name FROM pragma_table_info('orders')`).all()
  db.close()
  return rows.map(row => String(row['name']))
}
const flat = (text: string) => text.replaceAll(/\s+/g, ' ')

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-emergency-'))
  line = commandLine(dir)
  await writeFile(join(dir, 'backout.yaml'), CONFIG)
  sql(GOOD)
  const captured = await line.backout(['capture', 'v1', '--known-good'])
  expect(captured.code, captured.stderr).toBe(0)
  sql(BAD)
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('C13, C18: an emergency in which only the restore is left', () => {
  it('at a terminal asks for one word, that of the graver question, says what it takes, and goes back', async () => {
    const wrong = atTerminal(dir, ['run', '--emergency'], 60)
    await wrong.until('to let it go:')
    expect(wrong.shown()).not.toContain('Type shop to go back')
    wrong.type('shop\r')
    expect(await wrong.ended()).toBe(7)
    expect(wrong.shown()).toContain('Not confirmed; nothing was touched.')
    expect(columns()).toContain('cents')

    const run = atTerminal(dir, ['run', '--emergency', '--reason', 'orders are wrong'], 60)
    await run.until('Type "restore db" to let it go:')
    const asked = flat(run.shown())
    expect(asked).toContain('Plan for shop: what runs -> v1, emergency')
    expect(asked).toMatch(/Left out proving the backup made right before/)
    expect(asked).toMatch(/1 row of orders \(added\), .*brought back right after the restore as far as it fits/)
    expect(asked).toMatch(
      /Restoring shop\.db takes with it what was written since 20\S+Z \([^)]+\); what fits is brought back/,
    )
    run.type('restore db\r')
    expect(await run.ended()).toBe(0)
    expect(columns()).toEqual(['id', 'total', 'customer'])
    // Eve's order has cents and no total: nothing is guessed, and that is among the last words.
    const end = flat(run.shown().slice(run.shown().indexOf('shop is back on v1')))
    expect(end).toContain('Waits for your word: 1 row of db could not be carried, or not whole: backout data status db')
    const [, report = ''] = /Report: (\S+)/.exec(end) ?? []
    const text = await readFile(report, 'utf8')
    expect(text).toContain('(emergency)')
    expect(text).toContain('typed "restore db"')
  })

  it('without a terminal names what confirms it, is confirmed by nothing less, and goes by both', async () => {
    const asked = await line.backout(['run', '--emergency'])
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining('not_confirmed') })
    expect(flat(asked.stderr)).toMatch(/run it with --yes, and --loss-window \d+m/)
    const half = await line.backout(['run', '--emergency', '--yes'])
    expect(half).toMatchObject({ code: 2, stderr: expect.stringContaining('restore_not_confirmed') })
    const short = await line.backout(['run', '--emergency', '--yes', '--loss-window', '1ms'])
    expect(short).toMatchObject({ code: 3, stderr: expect.stringContaining('loss_window_exceeded') })
    expect(columns()).toContain('cents')
    const done = await line.backout(['run', '--emergency', '--yes', '--loss-window', '1h'])
    expect(done.code, done.stderr).toBe(0)
    expect(columns()).toEqual(['id', 'total', 'customer'])
  })

  it('at a terminal asks for the name where the window was said already', async () => {
    const run = atTerminal(dir, ['run', '--emergency', '--loss-window', '1h'])
    await run.until('Type shop to go back:')
    run.type('shop\r')
    expect(await run.ended()).toBe(0)
    expect(run.shown()).not.toContain('to let it go')
    expect(columns()).toEqual(['id', 'total', 'customer'])
  })
})
