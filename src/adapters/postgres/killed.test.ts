import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../../../test/support/postgres.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { backUp, engineOf, look, never } from './test/support.ts'

const missing = noPostgres()
let server: PostgresServer

beforeAll(async () => {
  if (missing === null) server = await postgresServer()
})
afterAll(() => server?.dispose())

/** Writes of loading and swapping. */
const WRITES = 7

describe.skipIf(missing !== null)(
  `C16: a restore of PostgreSQL that is killed${missing === null ? '' : ` (${missing})`}`,
  () => {
    it('is taken up and finished, wherever it was killed, and nothing is left over', async () => {
      await server.sql('CREATE DATABASE shop')
      await server.sql(
        `CREATE TABLE orders (id serial PRIMARY KEY, what text); INSERT INTO orders (what) SELECT 'o' || i FROM generate_series(1, 3000) i`,
        'shop',
      )
      const engine = engineOf(server, 'shop')
      const { backup, read } = await backUp(engine)
      const dir = await mkdtemp(join(tmpdir(), 'killed-'))
      let [issued, killed] = [3000, 0]
      for (let at = 1; at <= WRITES; at++) {
        const mark = `kill-${at}`
        await server.sql(
          `SELECT nextval('orders_id_seq') FROM generate_series(1, 50); INSERT INTO orders (what) VALUES ('since')`,
          'shop',
        )
        issued += 51
        const left = await look(engine)
        const file = join(dir, mark)
        await writeFile(file, JSON.stringify({ settings: server.settings('shop'), backup, mark }))
        if ((await run(file, at)) === null) killed++
        // Whatever it did: the old content or the backup is there, whole.
        const between = await look(engine)
        const same = [left, read].map(({ data }) => compareFingerprints(data, between.data).length)
        expect(Math.min(...same), `killed at write ${at}`).toBe(0)
        expect(await run(file, 0), `taken up after write ${at}`).toBe(0)
        expect(compareFingerprints(read.data, (await look(engine)).data)).toEqual([])
        const kept = await engine.kept(mark, never)
        expect(kept, `kept after write ${at}`).not.toBeNull()
        expect(await server.sql(`SELECT nextval('orders_id_seq')::int AS n`, 'shop')).toEqual([{ n: ++issued }])
        const others = await server.sql(`SELECT datname FROM pg_database WHERE datname LIKE 'backout\\_swap%'`)
        expect(others).toEqual([])
      }
    })
  },
)

/** Its exit code; null: killed. */
async function run(file: string, at: number): Promise<number | null> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'killed.fixture.ts'), file, String(at)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code
}
