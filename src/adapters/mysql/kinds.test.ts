import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memoryBackups } from '../../../test/conformance/stores.ts'
import { type Mariadb, mariadb, noMariadb, olderThan } from '../../../test/support/mariadb.ts'
import { toJson } from '../../core/json.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Engine, Job, Reader } from '../../data/engine.ts'
import { compareSchemas } from '../../data/schema.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { listedIn, played } from './test/merge.ts'

const why = noMariadb()
/** What an older server does not have is nothing to be skipped there. */
const since11: (name: string, work: () => Promise<void>) => void = olderThan(11, 7) === null ? it : () => {}
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

const TABLES = [
  `CREATE TABLE room (id int, since date NOT NULL, till date NOT NULL, price int, note varchar(9) WITHOUT SYSTEM VERSIONING,
     PERIOD FOR during (since, till), UNIQUE KEY id (id, during WITHOUT OVERLAPS)) WITH SYSTEM VERSIONING`,
  `CREATE TABLE stay (id int, since date, till date, PERIOD FOR during (since, till), PRIMARY KEY (id, during WITHOUT OVERLAPS))`,
]
const ROWS = [
  `INSERT INTO room VALUES (1, '2026-01-01', '2026-07-01', 100, 'a'), (2, '2026-01-01', '2026-07-01', 100, 'b')`,
  `INSERT INTO stay VALUES (1, '2026-01-01', '2026-07-01')`,
]
const NEW_TABLES = [
  `CREATE TABLE doc (id uuid DEFAULT UUID_v7() PRIMARY KEY, title varchar(40), v vector(3) NOT NULL, ip inet4,
     VECTOR INDEX near (v) M=8 DISTANCE=cosine)`,
  'CREATE TABLE late (id int PRIMARY KEY, v vector(2), ts timestamp NULL)',
  'CREATE TABLE word (w varchar(20) COLLATE utf8mb4_uca1400_as_cs PRIMARY KEY, n int)',
]
const [ONE, TWO, THREE] = [1, 2, 3].map(n => `'01890000-0000-7000-8000-00000000000${n}'`)
const NEW_ROWS = [
  `INSERT INTO doc VALUES (${ONE}, 'one', VEC_FromText('[1e-30,-0,0.33333334]'), '10.0.0.1'), (${TWO}, 'two', VEC_FromText('[1,2,16777217]'), NULL)`,
  `INSERT INTO late VALUES (1, VEC_FromText('[1,2]'), '2106-02-07 06:28:15'), (2, NULL, '2038-01-19 03:14:08')`,
  `INSERT INTO word VALUES ('a', 1), ('A', 2), ('ä', 3)`,
]

describe.skipIf(why !== null)(`MariaDB: what is rare or new${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
  })
  afterAll(() => server?.dispose())

  const engineOf = (database: string): Engine =>
    mysqlEngine(mysqlSettings.parse({ socket: server.socket, user: 'root', database }), '/')
  const both = async (db: Reader) => {
    const schema = await db.schema()
    return { schema, data: await db.fingerprint(schema) }
  }
  const look = (database: string) => engineOf(database).reading(job.signal, both)

  /** What is told of a change: of the schema, and how many columns have another content. */
  async function told(made: readonly string[], ...change: readonly string[]) {
    await server.sql('CREATE OR REPLACE DATABASE told', 'USE told', ...made)
    const one = await look('told')
    await server.sql('USE told', 'SET system_versioning_alter_history = 1', ...change)
    const two = await look('told')
    return [compareSchemas(one.schema, two.schema).map(d => d.text), compareFingerprints(one.data, two.data).length]
  }

  async function comesBack(made: readonly string[]) {
    await server.sql('CREATE OR REPLACE DATABASE kept', 'USE kept', ...made)
    const engine = engineOf('kept')
    const draft = await memoryBackups().begin({ component: 'db', reason: 'capture', release: 'good' })
    const { dumped, read } = await engine.dump(draft.dir, job, both)
    await using beside = await engine.beside(await draft.seal(toJson({ dump: dumped })), 'scratch', 'kinds', job)
    const back = await beside.reading(job.signal, both)
    expect(compareSchemas(read.schema, back.schema)).toEqual([])
    expect(compareFingerprints(read.data, back.data)).toEqual([])
    await beside.drop()
  }

  /** What users wrote beside a release that went further: that all of it is there afterwards. */
  async function carries(base: readonly string[], release: string, writes: readonly string[]) {
    const story = { base, early: [], meanwhile: [], after: [], told: true, release: [{ sql: release }], writes }
    const merge = await played(server, story)
    const outcome = await applyCarry(merge.source, NOTHING_SAID, job)
    expect([outcome.proof.problems, await listedIn(merge.source, outcome)]).toEqual([[], []])
    const [ours, theirs] = [await merge.dump('ours'), await merge.dump('theirs')]
    const kept = theirs['doc']?.map(row => Object.fromEntries(Object.entries(row).filter(([c]) => c !== 'late')))
    expect(ours).toEqual(kept === undefined ? theirs : { ...theirs, doc: kept })
    await merge.dispose()
  }

  it('A4: tells that times of a key may overlap, and which columns have a history', async () => {
    const made = [...TABLES, ...ROWS]
    expect(await told(made, 'ALTER TABLE room DROP INDEX id, ADD UNIQUE KEY id (id, till, since)')).toEqual([
      ['index room.id was changed (id, till, since without overlaps -> id, till, since)'],
      0,
    ])
    expect(
      await told(made, 'ALTER TABLE stay DROP PRIMARY KEY', 'ALTER TABLE stay ADD PRIMARY KEY (id, till, since)'),
    ).toEqual([['constraint stay is gone (times of one primary key without overlaps)'], 0])
    const [texts, values] = await told(made, 'ALTER TABLE room MODIFY note varchar(9)')
    expect([texts, values]).toEqual([[expect.stringContaining('column room.note was changed')], 0])
    await comesBack(made)
  })

  it('C14: carries rows with times, and those of tables with a history', async () => {
    await carries([...TABLES, ...ROWS], 'ALTER TABLE stay COMMENT = "new"', [
      `UPDATE room SET till = '2026-05-01' WHERE id = 1`,
      `INSERT INTO room VALUES (1, '2026-05-01', '2026-09-01', 140, 'c'), (3, '2026-05-01', '2026-09-01', 140, 'd')`,
      `DELETE FROM room WHERE id = 2`,
      `UPDATE stay SET till = '2026-02-01'`,
      `INSERT INTO stay VALUES (1, '2026-02-01', '2026-07-01')`,
    ])
  })

  since11('A4: every value of a vector and of a late time, and how vectors are measured, is told', async () => {
    const made = [...NEW_TABLES, ...NEW_ROWS]
    const changes = [
      `UPDATE doc SET v = VEC_FromText('[1e-30,0,0.33333334]') WHERE title = 'one'`,
      `UPDATE doc SET v = VEC_FromText('[1,2,16777218]') WHERE title = 'two'`,
      `UPDATE doc SET ip = '10.0.0.2' WHERE title = 'one'`,
      `UPDATE late SET ts = '2106-02-07 06:28:14' WHERE id = 1`,
      `UPDATE word SET n = IF(w = 'a', 2, IF(w = 'A', 1, n))`,
    ]
    for (const change of changes) expect([change, ...(await told(made, change))]).toEqual([change, [], 1])
    expect(await told(made, 'ALTER TABLE doc DROP INDEX near, ADD VECTOR INDEX near (v) M=9')).toEqual([
      ['index doc.near was changed (v vector m=8 distance=cosine -> v vector m=9)'],
      0,
    ])
    await comesBack(made)
  })

  since11('C14: carries vectors, late times, and words under collations of 11', async () => {
    await carries([...NEW_TABLES, ...NEW_ROWS], 'ALTER TABLE doc ADD late int', [
      `INSERT INTO doc (id, title, v) VALUES (${THREE}, 'three', VEC_FromText('[3,4,5]'))`,
      `UPDATE doc SET v = VEC_FromText('[9,-0,1e-30]'), ip = '1.2.3.4' WHERE title = 'one'`,
      'UPDATE late SET v = NULL WHERE id = 1',
      `UPDATE late SET v = VEC_FromText('[7,7]') WHERE id = 2`,
      `INSERT INTO late VALUES (3, VEC_FromText('[8,8]'), '2100-01-01')`,
      `INSERT INTO word VALUES ('Ä', 9), ('b', 4)`,
      `UPDATE word SET n = 22 WHERE w = 'A'`,
      `DELETE FROM word WHERE w = 'a'`,
    ])
  })
})
