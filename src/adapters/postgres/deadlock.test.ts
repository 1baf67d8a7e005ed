import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import { played } from './test/merge.ts'
import { job } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

describe.skipIf(missing !== null)(
  `C14: customers who write to PostgreSQL meanwhile${missing === null ? '' : ` (${missing})`}`,
  () => {
    it('do not end it by a deadlock', async () => {
      const merge = await played(server, {
        base: ['CREATE TABLE t (id int PRIMARY KEY, v text)', `INSERT INTO t VALUES (1, 'a'), (2, 'b')`],
        release: [],
        writes: [`UPDATE t SET v = 'mine' WHERE id = 1`, `INSERT INTO t VALUES (3, 'c')`],
        after: [],
        told: true,
      })
      const customer = await server.connect(merge.ours)
      try {
        await customer.query(`SET deadlock_timeout = '1min'; BEGIN; UPDATE t SET v = v WHERE id = 2`)
        let met = 0
        const merging = async (given: typeof job) => {
          const merger = await merge.source.merging(given)
          const run = merger.run.bind(merger)
          const meets = async (sql: string) => {
            const rows = await run(sql)
            if (!/^UPDATE ONLY \S*"t" /.test(sql) || ++met > 1) return rows
            // The customer waits for this row, and this session for the customer's.
            void customer.query('UPDATE t SET v = v WHERE id = 1').then(() => customer.query('ROLLBACK'))
            return run('UPDATE t SET v = v WHERE id = 2')
          }
          return Object.assign(merger, { run: meets })
        }
        const source = { ...merge.source, dialect: merge.source.dialect, merging }
        const { proof, carried } = await applyCarry(source, NOTHING_SAID, job)
        expect([met, carried, proof.problems]).toEqual([2, 2, []])
      } finally {
        await customer.end()
        await merge.dispose()
      }
    })
  },
)
