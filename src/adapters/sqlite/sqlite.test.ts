import { conformance } from '../../../test/conformance/suite.ts'
import { sqlite } from './index.ts'
import { APP, makeShop } from './test/shop.ts'

for (const journal of ['wal', 'delete']) {
  conformance(`sqlite in ${journal} mode`, {
    adapter: sqlite,
    // `leave` changes nothing by definition, so there is nothing to walk: see leave.test.ts.
    rungs: journal === 'wal' ? ['migrate-down', 'restore'] : ['restore'],
    make: async () => {
      const shop = await makeShop(journal)
      const other = await makeShop(journal)
      return {
        open: () => shop.open(),
        openOther: () => other.open(),
        upgrade: async () => shop.upgrade(),
        serves: async () => {
          const tables = shop.sql(`SELECT name FROM sqlite_schema WHERE name = 'coupons'`).length
          const columns = shop.sql(`SELECT name FROM pragma_table_info('orders') WHERE name = 'discount'`).length
          return tables + columns === 0 ? 'A' : tables + columns === 2 ? 'B' : 'other'
        },
        dependents: APP,
        dispose: async () => {
          await shop.dispose()
          await other.dispose()
        },
      }
    },
  })
}
