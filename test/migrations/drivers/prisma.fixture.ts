import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import {
  bindMigrationAwareSqlAdapterFactory,
  ColumnTypeEnum,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
  type SqlQuery,
} from '@prisma/driver-adapter-utils'

const OF_SQLITE = { provider: 'sqlite', adapterName: '@backout/node-sqlite' } as const

/** The SQLite that Node brings, as Prisma's schema engine wants it. */
export function adapterFor(path: string) {
  const factory: SqlMigrationAwareDriverAdapterFactory = {
    ...OF_SQLITE,
    connect: async () => connect(path),
    connectToShadowDb: async () => connect(':memory:'),
  }
  return bindMigrationAwareSqlAdapterFactory(factory)
}

function connect(path: string): SqlDriverAdapter {
  const db = new DatabaseSync(path, { timeout: 2000 })
  const queryable = {
    ...OF_SQLITE,
    async queryRaw({ sql, args }: SqlQuery) {
      const statement = db.prepare(sql)
      const columns = statement.columns()
      statement.setReturnArrays(true)
      const found = statement.all(...(args as SQLInputValue[])) as unknown as unknown[][]
      const columnTypes = columns.map(({ type }, i) => {
        return typeOf(
          type,
          found.map(row => row[i]).find(value => value !== null),
        )
      })
      const rows = found.map(row => row.map((value, i) => valueOf(value, columnTypes[i])))
      return { columnNames: columns.map(column => column.name), columnTypes, rows }
    },
    executeRaw: async ({ sql, args }: SqlQuery) => Number(db.prepare(sql).run(...(args as SQLInputValue[])).changes),
  }
  return {
    ...queryable,
    executeScript: async script => db.exec(script),
    dispose: async () => db.close(),
    getConnectionInfo: () => ({ supportsRelationJoins: false }),
    startTransaction: async () => {
      db.exec('BEGIN')
      return {
        ...queryable,
        options: { usePhantomQuery: false },
        commit: async () => db.exec('COMMIT'),
        rollback: async () => db.exec('ROLLBACK'),
      }
    },
  }
}

function typeOf(declared: string | null, value: unknown) {
  if (declared?.toUpperCase() === 'DATETIME') return ColumnTypeEnum.DateTime
  if (typeof value === 'number') return Number.isInteger(value) ? ColumnTypeEnum.Int64 : ColumnTypeEnum.Double
  return value instanceof Uint8Array ? ColumnTypeEnum.Bytes : ColumnTypeEnum.Text
}

function valueOf(value: unknown, type: number | undefined): unknown {
  const isTime = type === ColumnTypeEnum.DateTime && (typeof value === 'number' || typeof value === 'string')
  return isTime ? new Date(value).toISOString() : value
}
