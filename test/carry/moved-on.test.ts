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
const MIGRATION = `UPDATE orders SET total = total * 100; INSERT INTO schema_migrations VALUES ('002')`

it('C14: nothing is carried into a database that was rolled forward since, but by a person’s word', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'backout-moved-on-'))
  try {
    const line = commandLine(dir)
    await writeFile(join(dir, 'backout.yaml'), CONFIG)
    const sql = (text: string) => {
      const db = new DatabaseSync(join(dir, 'shop.db'))
      db.exec(text)
      const rows = db.prepare('SELECT id, total FROM orders ORDER BY id').all()
      db.close()
      return rows.map(row => Object.values(row).join(' '))
    }
    const backout = async (...argv: string[]) => {
      const { code, stdout, stderr } = await line.backout(argv)
      return { code, said: `${stdout}${stderr}`.replaceAll(/\s+/g, ' ') }
    }
    sql(`CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('001');
      CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER); INSERT INTO orders VALUES (1, 10), (2, 20)`)
    await backout('capture', 'v1', '--known-good')
    await backout('upgrade', 'begin', 'v2')
    sql(MIGRATION)
    await backout('upgrade', 'migrated', 'v2')
    sql('INSERT INTO orders VALUES (3, 3000)')
    await backout('upgrade', 'end', 'v2')
    expect(await backout('run', '--to', 'v1', '--yes', '--loss-window', '1h')).toMatchObject({ code: 0 })
    expect(sql(MIGRATION)).toEqual(['1 1000', '2 2000'])
    const words = ['data', 'apply', '--settle', 'rewritten=theirs', '--settle', 'ambiguous=ours', '--yes']
    const refused = await backout(...words)
    expect(refused).toMatchObject({ code: 3, said: expect.stringContaining('error [database_moved_on]') })
    expect(refused.said).toContain('migrations ran in the restored database')
    expect(sql('SELECT 1')).toEqual(['1 1000', '2 2000'])
    const waits = /3 rows of db wait for a word since (\S+): backout data status db --run \1/
    const [, run = ''] = waits.exec((await backout('status')).said) ?? []
    expect(run).not.toBe('')
    // A second rollback does not make what the first one left forgotten.
    expect(await backout('run', '--to', 'v1', '--yes', '--loss-window', '2h')).toMatchObject({ code: 0 })
    expect((await backout('status')).said).toContain(`since ${run}`)
    expect((await backout('data', 'status')).said).toContain(`since ${run}`)
    expect(sql(MIGRATION)).toEqual(['1 1000', '2 2000'])
    const first = [...words, '--run', run, '--as-it-is', 'cents in both']
    expect(await backout(...first)).toMatchObject({ code: 0 })
    expect(sql('SELECT 1')).toEqual(['1 1000', '2 2000', '3 3000'])
    expect((await backout('status')).said).not.toContain(run)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}, 60_000)
