import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { factsIn } from '../../src/data/flow/facts.ts'
import { writtenIn } from '../../src/data/touched.ts'
import { stepAct } from '../conformance/walk.ts'
import { onSqlite } from './systems.ts'
import { signal } from './world.ts'

const HISTORY = [
  `CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version text, description text, type text, script text,
    checksum int, installed_by text, installed_on text, execution_time int, success int)`,
  `INSERT INTO flyway_schema_history VALUES (1, '1', 'start', 'SQL', 'V1__start.sql', 1, 'me', '2026-01-01', 1, 1)`,
]
const ran = (n: number, version: string, type: string, script: string) =>
  `INSERT INTO flyway_schema_history VALUES (${n}, ${version}, 'x', '${type}', '${script}', ${n}, 'me', '2026-01-02', 1, 1)`

/** In which columns of `rates` it is taken for written by a release of Flyway that adds a column, with these files beside. */
async function touchedBy(files: Readonly<Record<string, string>>, rows: readonly string[], versioned = true) {
  const system = await onSqlite()
  const dir = await mkdtemp(join(tmpdir(), 'backout-flyway-'))
  try {
    await mkdir(join(dir, 'migrations'))
    const all = { 'V1__start.sql': '-- made', 'V2__extra.sql': 'ALTER TABLE rates ADD COLUMN extra int;', ...files }
    for (const [name, sql] of Object.entries(all)) await writeFile(join(dir, 'migrations', name), sql)
    await system.run([...HISTORY, 'CREATE TABLE rates (id int PRIMARY KEY, factor int)'])
    const { backups, vault } = stepAct()
    const more = { environment: 'test', component: `db${dir.slice(-6)}`, baseDir: dir, stateDir: join(dir, 'state') }
    await using target = await system.open({ writers: 'none' }, { ...more, backups, vault })
    await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'A' })
    const up = ['ALTER TABLE rates ADD COLUMN extra int', ran(2, `'2'`, 'SQL', 'V2__extra.sql')]
    await system.run([...(versioned ? up : []), ...rows])
    const backup = await target.migrated?.({ ...stepAct(), release: 'B', upgrade: dir, usersAway: false })
    const { touched } = (backup == null ? null : factsIn(backup, 'sqlite')) ?? {}
    return touched === undefined ? 'nobody can tell' : writtenIn(['rates'], touched)
  } finally {
    await system.dispose()
    await rm(dir, { recursive: true, force: true })
  }
}

const WRITES = 'UPDATE rates SET factor = factor * 100;'
const REPEATED = ran(3, 'NULL', 'SQL', 'R__rates.sql')

it.each<[string, Record<string, string>, string[], string[] | string]>([
  ['nothing beside', {}, [], []],
  ['a repeatable migration', { 'R__rates.sql': WRITES }, [REPEATED], ['factor']],
  ['a callback', { 'afterMigrate.sql': WRITES, 'afterMigrate.sql.conf': 'executeInTransaction=false' }, [], ['factor']],
  ['a view that is made again', { 'R__v.sql': 'CREATE OR REPLACE VIEW v AS SELECT id FROM rates' }, [], []],
  ['a callback that is a program', { 'afterMigrate.sh': 'true' }, [], 'nobody can tell'],
  ['a repeatable migration whose file is not here', {}, [REPEATED], 'nobody can tell'],
])('C14: knows what Flyway wrote with %s', async (_, files, rows, touched) =>
  expect(await touchedBy(files, rows)).toEqual(touched),
)

it('C14: knows that a repeatable migration ran where no other did', async () =>
  expect(await touchedBy({ 'R__rates.sql': WRITES }, [REPEATED], false)).toEqual(['factor']))
