import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memoryBackups } from '../../../test/conformance/stores.ts'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { toJson } from '../../core/json.ts'
import type { Job } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'

const why = noMariadb()
const job: Job = { signal: AbortSignal.timeout(120_000), guard() {}, progress() {} }

describe.skipIf(why !== null)(`MariaDB with a server for proofs${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let live: Mariadb
  let other: Mariadb
  beforeAll(async () => {
    ;[live, other] = await Promise.all([mariadb(), mariadb()])
    await live.sql('CREATE DATABASE shop', 'CREATE TABLE shop.orders (id int PRIMARY KEY) ENGINE=InnoDB')
    await live.sql('INSERT INTO shop.orders VALUES (1), (2)')
  })
  afterAll(() => Promise.all([live?.dispose(), other?.dispose()]))

  it('A2, C14: proves there, and loads beside the database what is merged from, where nothing has to be copied', async () => {
    const scratch = { socket: other.socket, user: 'root' }
    const settings = mysqlSettings.parse({ socket: live.socket, user: 'root', database: 'shop', scratch })
    const engine = mysqlEngine(settings, '/')
    const draft = await memoryBackups().begin({ component: 'db', reason: 'capture', release: 'good' })
    const { dumped } = await engine.dump(draft.dir, job, async () => null)
    const backup = await draft.seal(toJson({ dump: dumped }))
    const copies = async () => {
      const on = (server: Mariadb) => server.sql(`SHOW DATABASES LIKE 'shop\\_backout\\_try\\_%'`)
      return (await Promise.all([live, other].map(on))).map(rows => rows.length)
    }
    await using proof = await engine.beside(backup, 'scratch', 'm', job)
    expect(await copies()).toEqual([0, 1])
    await proof.drop()
    await using base = await engine.beside(backup, 'merge', 'm', job)
    expect(await copies()).toEqual([1, 0])
    const merging = await engine.merging({ base, theirs: base, migrated: null }, job)
    const rows = await merging.query(`SELECT count(*) AS n FROM ${merging.table('base', 'orders')}`)
    expect(Number(rows[0]?.['n'])).toBe(2)
    await merging[Symbol.asyncDispose]()
    await base.drop()
    expect(await copies()).toEqual([0, 0])
  })
})
