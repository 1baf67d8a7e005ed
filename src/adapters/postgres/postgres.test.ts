import { afterAll, beforeAll, describe } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { postgres } from './index.ts'
import { APP, makeShop } from './test/shop.ts'

const missing = noPostgres()
let server: PostgresServer

describe.skipIf(missing !== null)(`on a real server${missing === null ? '' : ` (${missing})`}`, () => {
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  conformance('postgres', {
    adapter: postgres,
    // `leave` changes nothing by definition, so there is nothing to walk.
    rungs: ['migrate-down', 'restore'],
    make: async () => {
      const [shop, other] = [await makeShop(server), await makeShop(server)]
      return {
        open: () => shop.open(),
        openOther: () => other.open(),
        upgrade: () => shop.upgrade(),
        serves: async () => {
          const [row] = await shop.sql(`SELECT (SELECT count(*) FROM pg_tables WHERE tablename = 'coupons')
            + (SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'discount') AS n`)
          return ({ 0: 'A', 2: 'B' } as const)[Number(row?.['n']) as 0 | 2] ?? 'other'
        },
        dependents: APP,
        secrets: [PASSWORD],
        dispose: async () => {
          await shop.dispose()
          await other.dispose()
        },
      }
    },
  })
})
