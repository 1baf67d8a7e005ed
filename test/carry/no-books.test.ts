import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { commandLine } from '../support/command-line.ts'

const CONFIG = `environment: shop
components:
  db: { adapter: sqlite, settings: { path: shop.db, writers: none, compatible: never, rungs: [restore] } }
`

it('C14: the work of migrations that no bookkeeping tells of is not taken for that of users', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'backout-books-'))
  try {
    const line = commandLine(dir)
    await writeFile(join(dir, 'backout.yaml'), CONFIG)
    const db = new DatabaseSync(join(dir, 'shop.db'))
    const backout = async (...argv: string[]) => {
      const { code, stdout, stderr } = await line.backout(argv)
      expect(code, stderr).toBe(0)
      return stdout.replaceAll(/\s+/g, ' ')
    }
    db.exec(
      `CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, note TEXT); INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, 'b')`,
    )
    await backout('capture', 'v1', '--known-good')
    await backout('upgrade', 'begin', 'v2')
    db.exec('UPDATE orders SET total = total * 100')
    await backout('upgrade', 'migrated', 'v2')
    db.exec(`UPDATE orders SET note = 'mine' WHERE id = 1; INSERT INTO orders VALUES (3, 3000, 'c')`)
    db.close()
    await backout('upgrade', 'end', 'v2')
    const said = await backout('run', '--to', 'v1', '--yes', '--loss-window', '1h')
    expect(said).toMatch(/Waits for your word: 2 rows of db changed between the backup and the end of migrating/)
    const now = new DatabaseSync(join(dir, 'shop.db'))
    const rows = now.prepare('SELECT * FROM orders ORDER BY id').all()
    now.close()
    expect(rows.slice(0, 2).map(row => Object.values(row).join(' '))).toEqual(['1 10 mine', '2 20 b'])
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}, 60_000)
