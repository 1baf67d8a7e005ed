import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../support/mariadb.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { tryRung } from './rungs.ts'
import { onMariadb, onPostgres, onSqlite } from './systems.ts'
import type { System } from './world.ts'

/** Stories a rung. */
const RUNS = Number(process.env['BACKOUT_RANDOM_RUNGS'] ?? 2)
const LIMIT = { timeout: 600_000 }
/** Every rung, on stories of random schemas, releases and writes. Those that a plan refuses touch nothing. */
function rungs(make: () => Promise<System>, runs: number): void {
  it('leave: nothing is touched', LIMIT, async () => {
    expect((await tryRung('leave', make, runs)).tried).toBe(runs)
  })
  it('migrate-down: what has a place is there again, what goes was counted', LIMIT, async () => {
    expect((await tryRung('migrate-down', make, runs)).gone).toBeGreaterThan(0)
  })
  it('restore: no committed row is lost without being listed', LIMIT, async () => {
    expect((await tryRung('restore', make, runs)).gone).toBeGreaterThan(0)
  })
}

describe('C11, C13, C14: random releases on SQLite', () => {
  rungs(onSqlite, RUNS * 3)
})

const noPg = noPostgres()

describe.skipIf(noPg !== null)(
  `C11, C13, C14: random releases on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`,
  () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await postgresServer()
    })
    afterAll(() => server?.dispose())

    rungs(() => onPostgres(server), RUNS)
  },
)

const noMaria = noMariadb()

describe.skipIf(noMaria !== null)(
  `C11, C13, C14: random releases on MariaDB${noMaria === null ? '' : ` (skipped: ${noMaria})`}`,
  () => {
    let server: Mariadb
    beforeAll(async () => {
      server = await mariadb()
    })
    afterAll(() => server?.dispose())

    rungs(() => onMariadb(server), RUNS)
  },
)
