import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { engineOf, imageAt } from '../src/adapters/postgres/test/support.ts'
import type { Backup } from '../src/core/contract.ts'
import { toJson } from '../src/core/json.ts'
import type { Engine, Job, Staged } from '../src/data/engine.ts'
import { runLocal } from '../src/exec/local.ts'
import { noPostgres, PASSWORD, type PostgresServer, postgresServer } from '../test/support/postgres.ts'
import { inFolder, interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, type Row, times } from './support/row.ts'

const ROUNDS = Number(process.env['BACKOUT_BENCH_ROUNDS'] ?? 5)
const ROWS = Number(process.env['BACKOUT_BENCH_ROWS'] ?? 1_000_000)
const WHAT = 'fingerprint of a PostgreSQL table of 1,000,000 rows of 200 bytes, 8 columns'

const TABLE = `CREATE TABLE t AS SELECT i::int AS id, i * 7::bigint AS big, (i % 1000)::numeric(10, 2) AS amount, i % 2 = 0 AS ok,
    timestamptz '2020-01-01Z' + i * interval '1 s' AS at, md5(i::text) AS code, i / 7.0::float8 AS share,
    'customer number ' || i || ' with some padding text to make the row about two hundred bytes' AS name
  FROM generate_series(1, ${ROWS}) i`

const job: Job = { signal: new AbortController().signal, guard: () => {}, progress: () => {} }

const STAGED: Staged = {
  names: { ours: 't', theirs: 't', base: 't', migrated: null },
  key: ['id'],
  columns: ['id', 'big', 'amount', 'ok', 'at', 'code', 'share', 'name'].map(c => ({
    ours: c,
    theirs: c,
    base: c,
    migrated: null,
  })),
}

/** PostgreSQL beside its own tools, on one server, in one run. */
export async function bench(): Promise<Row[]> {
  const missing = noPostgres()
  if (missing !== null) return [notHere(WHAT, null, missing)]
  const server = await postgresServer(['max_wal_size=4GB'])
  try {
    await server.sql('CREATE DATABASE bench')
    await server.sql([TABLE, 'ALTER TABLE t ADD PRIMARY KEY (id)', 'VACUUM ANALYZE t'], 'bench')
    return await inFolder(async dir => [
      ...(await reads(server)),
      ...(await copies(server, dir)),
      ...(await merges(server)),
    ])
  } finally {
    await server.dispose()
  }
}

async function reads(server: PostgresServer): Promise<Row[]> {
  const engine = engineOf(server, 'bench')
  const client = await server.connect('bench')
  const schema = await engine.reading(job.signal, db => db.schema())
  const took = await interleave(ROUNDS, {
    print: () => timed(() => engine.reading(job.signal, db => db.fingerprint(schema))),
    dump: () => timed(() => tool(server, 'pg_dump', ['-Fc', '-Z0', '--no-sync', '--file=/dev/null', 'bench'])),
    count: () => timed(() => client.query('SELECT count(*) FROM t')),
  })
  await client.end()
  return [
    row(WHAT, took.print, 'pg_dump -Fc -Z0 to nowhere', took.dump, 1 / 3, 'at most 1/3'),
    row(WHAT, took.print, 'SELECT count(*)', took.count, 9, 'at most 9x'),
  ]
}

async function copies(server: PostgresServer, dir: string): Promise<Row[]> {
  const engine = engineOf(server, 'bench')
  const schema = await engine.reading(job.signal, db => db.schema())
  let backup: Backup | null = null
  const own = join(dir, 'own')
  const plain = join(dir, 'plain.dump')
  const ours = async () => {
    await rm(own, { recursive: true, force: true })
    await mkdir(own)
    backup = await dumped(engine, own)
  }
  const theirs = () => tool(server, 'pg_dump', ['-Fc', '-Z0', `--file=${plain}`, 'bench'])
  const dumps = await interleave(ROUNDS, { ours: () => timed(ours), theirs: () => timed(theirs) })
  const proofs = await interleave(Math.min(ROUNDS, 3), {
    ours: () =>
      timed(async () => {
        if (backup === null) throw new Error('nothing was dumped')
        const beside = await engine.beside(backup, 'scratch', 'bench', job)
        await beside.reading(job.signal, db => db.fingerprint(schema))
        await beside.drop()
      }),
    theirs: () =>
      timed(async () => {
        await theirs()
        await server.sql('CREATE DATABASE restored')
        await tool(server, 'pg_restore', ['--dbname=restored', plain])
        await server.sql('DROP DATABASE restored')
      }),
  })
  return [
    row(
      'dump of that table, packed by zstd, with its roles and what it covers',
      dumps.ours,
      'pg_dump -Fc -Z0 to a file, not packed',
      dumps.theirs,
      null,
    ),
    row(
      'proof: restore beside and fingerprint',
      proofs.ours,
      'pg_dump and pg_restore',
      proofs.theirs,
      1.1,
      'at most 1.1x',
    ),
  ]
}

async function dumped(engine: Engine, dir: string): Promise<Backup> {
  const { dumped } = await engine.dump(dir, job, async () => null)
  const about = {
    component: 'db',
    reason: 'capture',
    release: null,
    idem: null,
    createdAt: '',
    bytes: 0,
    files: [],
    proof: null,
  } as const
  return { ...about, id: 'bench', dir, facts: toJson({ dump: dumped }) }
}

async function merges(server: PostgresServer): Promise<Row[]> {
  await server.sql(['CREATE DATABASE other TEMPLATE bench', 'CREATE DATABASE live TEMPLATE bench'])
  await server.sql([`UPDATE t SET amount = amount + 1 WHERE id % ${ROWS / 1000} = 0`, 'VACUUM ANALYZE t'], 'other')
  await server.sql(
    [
      'CREATE TABLE u AS SELECT * FROM t',
      `UPDATE u SET amount = amount + 1 WHERE id % ${ROWS / 1000} = 0`,
      'VACUUM ANALYZE u',
    ],
    'live',
  )
  const images = { base: imageAt(server, 'bench'), theirs: imageAt(server, 'other'), migrated: null }
  const engine = engineOf(server, 'live')
  const client = await server.connect('live')
  const took = await interleave(Math.min(ROUNDS, 3), {
    ours: () =>
      timed(async () => {
        await using merger = await engine.merging(images, job)
        await merger.stage(STAGED)
        const [t, b] = [merger.table('theirs', 't'), merger.table('base', 't')]
        const found = await merger.query(
          `SELECT count(*)::int AS n FROM ${t} t JOIN ${b} b USING (id) WHERE ${engine.dialect.differs('t.amount', 'b.amount')}`,
        )
        if (found[0]?.['n'] !== 1000) throw new Error(`found ${String(found[0]?.['n'])} rows`)
      }),
    theirs: () =>
      timed(() =>
        client.query(
          '(SELECT * FROM t EXCEPT ALL SELECT * FROM u) UNION ALL (SELECT * FROM u EXCEPT ALL SELECT * FROM t)',
        ),
      ),
  })
  await client.end()
  return [
    row(
      '1,000 scattered rows of it that differ, found between two databases',
      took.ours,
      'EXCEPT ALL both ways, in one database',
      took.theirs,
      1 / 3,
      'at most 1/3',
    ),
  ]
}

function row(what: string, ours: number[], name: string, theirs: number[], most: number | null, goal = ''): Row {
  const share = ratio(ours, theirs)
  return {
    what,
    backout: ms(median(ours)),
    compared: `${name}: ${ms(median(theirs))}`,
    ratio: times(share),
    goal: most === null ? null : { text: goal, met: share <= most },
  }
}

async function tool(server: PostgresServer, name: string, args: readonly string[]): Promise<void> {
  const env = { PGHOST: server.host, PGPORT: String(server.port), PGUSER: 'postgres', PGPASSWORD: PASSWORD }
  const argv = [join(String(server.settings('bench')['tools']), name), ...args]
  const { code, stderr } = await runLocal({ argv, env, limitMs: 600_000 })
  if (code !== 0) throw new Error(stderr)
}
