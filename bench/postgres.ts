import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { played } from '../src/adapters/postgres/test/merge.ts'
import type { Backup } from '../src/core/contract.ts'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../test/support/postgres.ts'
import { CARRIED, carried, notCarried } from './support/carrying.ts'
import {
  against,
  dumped,
  findDifferences,
  memory,
  printing,
  prove,
  ROUNDS,
  ROWS,
  told,
  tool,
} from './support/databases.ts'
import { inFolder, interleave, timed } from './support/measure.ts'
import { notHere, type Row } from './support/row.ts'
import { type Access, subjectOf } from './support/subjects.ts'

const WHAT = `fingerprint of a PostgreSQL table of ${told(ROWS)} rows of 200 bytes, 8 columns`

const VALUES = (
  from: number,
  to: number,
) => `SELECT i::int AS id, i * 7::bigint AS big, (i % 1000)::numeric(10, 2) AS amount, i % 2 = 0 AS ok,
    timestamptz '2020-01-01Z' + i * interval '1 s' AS at, md5(i::text) AS code, i / 7.0::float8 AS share,
    'customer number ' || i || ' with some padding text to make the row about two hundred bytes' AS name
  FROM generate_series(${from}, ${to}) i`
const TABLE = (rows: number) => [`CREATE TABLE t AS ${VALUES(1, rows)}`, 'ALTER TABLE t ADD PRIMARY KEY (id)']

/** PostgreSQL beside its own tools, on one server, in one run. */
export async function bench(): Promise<Row[]> {
  const missing = noPostgres()
  if (missing !== null) return [notHere(WHAT, null, missing), notCarried('PostgreSQL', missing)]
  const server = await postgresServer(['max_wal_size=4GB'])
  try {
    await server.sql('CREATE DATABASE bench')
    await server.sql([...TABLE(ROWS), 'VACUUM ANALYZE t'], 'bench')
    await server.sql(['CREATE DATABASE other TEMPLATE bench', 'CREATE DATABASE live TEMPLATE bench'])
    const change = (table: string) => `UPDATE ${table} SET amount = amount + 1 WHERE id % ${ROWS / 1000} = 0`
    await server.sql([change('t'), 'VACUUM ANALYZE t'], 'other')
    await server.sql(['CREATE TABLE u AS SELECT * FROM t', change('u'), 'VACUUM ANALYZE u'], 'live')
    return await inFolder(dir => measured(server, dir))
  } finally {
    await server.dispose()
  }
}

async function measured(server: PostgresServer, dir: string): Promise<Row[]> {
  const writes = [`INSERT INTO t ${VALUES(CARRIED + 1, CARRIED * 2)}`]
  const merge = await played(server, { base: TABLE(CARRIED), release: [], writes, after: [], told: true })
  const access: Access = { kind: 'postgres', settings: server.settings(''), merge: merge.names }
  const restore = () =>
    server.sql(
      [`DELETE FROM t WHERE id > ${CARRIED}`, 'DROP TABLE IF EXISTS backout_carried', 'VACUUM ANALYZE t'],
      merge.ours,
    )
  try {
    return [
      ...(await reads(server, access)),
      ...(await copies(server, access, dir)),
      await differences(server, access),
      await carried('PostgreSQL', await subjectOf(access).source(dir), dir, restore),
      await memory('PostgreSQL', access, ['fingerprint', 'dump', 'proof', 'diff', 'carry'], dir),
    ]
  } finally {
    await merge.dispose()
  }
}

async function reads(server: PostgresServer, access: Access): Promise<Row[]> {
  const client = await server.connect('bench')
  const nowhere = ['-Fc', '-Z0', '--no-sync', '--file=/dev/null', 'bench']
  const print = await printing(subjectOf(access).engine)
  const took = await interleave(ROUNDS, {
    print: () => timed(print),
    dump: () => timed(() => run(server, 'pg_dump', nowhere)),
    count: () => timed(() => client.query('SELECT count(*) FROM t')),
  })
  await client.end()
  const third = { text: 'at most 1/3', most: 1 / 3 }
  return [
    against(WHAT, took.print, 'pg_dump -Fc -Z0 to nowhere', took.dump, third),
    against(WHAT, took.print, 'SELECT count(*)', took.count, { text: 'at most 9x', most: 9 }),
  ]
}

async function copies(server: PostgresServer, access: Access, dir: string): Promise<Row[]> {
  const { engine } = subjectOf(access)
  let backup: Backup | null = null
  const [own, plain] = [join(dir, 'own'), join(dir, 'plain.dump')]
  const ours = async () => {
    await rm(own, { recursive: true, force: true })
    await mkdir(own)
    backup = await dumped(engine, own)
  }
  const theirs = () => run(server, 'pg_dump', ['-Fc', '-Z0', `--file=${plain}`, 'bench'])
  const dumps = await interleave(ROUNDS, { ours: () => timed(ours), theirs: () => timed(theirs) })
  const restored = async () => {
    await theirs()
    await server.sql('CREATE DATABASE restored')
    await run(server, 'pg_restore', ['--dbname=restored', plain])
    await server.sql('DROP DATABASE restored')
  }
  const proofs = await interleave(ROUNDS, {
    ours: () => timed(async () => prove(engine, backup as Backup)),
    theirs: () => timed(restored),
  })
  const whole = 'dump of that table, packed by zstd, with its roles and what it covers'
  const proof = { text: 'at most 1.1x', most: 1.1 }
  return [
    against(whole, dumps.ours, 'pg_dump -Fc -Z0 to a file, not packed', dumps.theirs),
    against('proof: restore beside and fingerprint', proofs.ours, 'pg_dump and pg_restore', proofs.theirs, proof),
  ]
}

async function differences(server: PostgresServer, access: Access): Promise<Row> {
  const { live, images } = subjectOf(access)
  const client = await server.connect('live')
  const both = '(SELECT * FROM t EXCEPT ALL SELECT * FROM u) UNION ALL (SELECT * FROM u EXCEPT ALL SELECT * FROM t)'
  const took = await interleave(ROUNDS, {
    ours: () => timed(() => findDifferences(live, images)),
    theirs: () => timed(() => client.query(both)),
  })
  await client.end()
  const what = '1,000 scattered rows of it that differ, found between two databases'
  const third = { text: 'at most 1/3', most: 1 / 3 }
  return against(what, took.ours, 'EXCEPT ALL both ways, in one database', took.theirs, third)
}

function run(server: PostgresServer, name: string, args: readonly string[]): Promise<void> {
  const env = { PGHOST: server.host, PGPORT: String(server.port), PGUSER: 'postgres', PGPASSWORD: PASSWORD }
  return tool([join(String(server.settings('bench')['tools']), name), ...args], { env })
}
