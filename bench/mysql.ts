import { spawnSync } from 'node:child_process'
import { mysqlSettings } from '../src/adapters/mysql/config.ts'
import { dialect } from '../src/adapters/mysql/dialect.ts'
import { mysqlEngine } from '../src/adapters/mysql/engine.ts'
import { imageOf } from '../src/adapters/mysql/image.ts'
import { MysqlMerger } from '../src/adapters/mysql/merging.ts'
import { connect, WRITE_MODE } from '../src/adapters/mysql/session.ts'
import type { Job, Staged } from '../src/data/engine.ts'
import { runLocal } from '../src/exec/local.ts'
import { type Mariadb, mariadb, noMariadb } from '../test/support/mariadb.ts'
import { interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, type Row, times } from './support/row.ts'

const ROUNDS = 3
const ROWS = 1_000_000
const WHAT = 'fingerprint of a MariaDB table of 1,000,000 rows of 200 bytes, 8 columns, 64 bits a column'
const DIFF = '1,000 scattered rows of it that differ, found between two databases of MariaDB'
const PEERS = ['pt-table-checksum', 'pt-table-sync']

const TABLE = [
  `CREATE TABLE t (id int PRIMARY KEY, big bigint NOT NULL, amount decimal(10,2), ok tinyint, at datetime, code char(32),
    share double, name varchar(120)) ENGINE=InnoDB CHARSET=utf8mb4`,
  `INSERT INTO t SELECT seq, seq * 7, (seq % 1000) / 1, seq % 2, '2020-01-01' + INTERVAL seq SECOND, md5(seq), seq / 7e0,
    concat('customer number ', seq, ' with some padding text to make the row about two hundred bytes') FROM seq_1_to_${ROWS}`,
]

/** What pt-table-checksum ends with where nobody replicates the server. */
const NO_REPLICAS = 8

const job: Job = { signal: new AbortController().signal, guard: () => {}, progress: () => {} }

/** MariaDB beside the tools of Percona, on one server, in one run. */
export async function bench(): Promise<Row[]> {
  const without = PEERS.filter(tool => spawnSync(tool, ['--version']).error !== undefined)
  const missing =
    noMariadb() ?? (without.length === 0 ? null : `${without.join(', ')} of percona-toolkit not installed`)
  if (missing !== null) return [notHere(WHAT, 'at most 1/2', missing), notHere(DIFF, 'at most 1/7', missing)]
  const server = await mariadb(['--innodb-buffer-pool-size=1G', '--log-bin', '--server-id=1', '--binlog-format=ROW'])
  try {
    await server.sql('CREATE DATABASE bench CHARACTER SET utf8mb4', 'USE bench', ...TABLE, 'ANALYZE TABLE t')
    return [...(await prints(server)), ...(await differences(server))]
  } finally {
    await server.dispose()
  }
}

const settingsOf = (server: Mariadb, database: string) =>
  mysqlSettings.parse({ socket: server.socket, user: 'root', database })

async function prints(server: Mariadb): Promise<Row[]> {
  const engine = mysqlEngine(settingsOf(server, 'bench'), '/')
  const schema = await engine.reading(job.signal, db => db.schema())
  const checksum = ['pt-table-checksum', ...at(server), '--databases=bench', '--no-check-binlog-format', '--quiet']
  const took = await interleave(ROUNDS, {
    ours: () => timed(() => engine.reading(job.signal, db => db.fingerprint(schema))),
    theirs: () => timed(() => tool(checksum, [0, NO_REPLICAS])),
    count: () => timed(() => server.sql('SELECT count(*) FROM bench.t')),
  })
  return [
    row(WHAT, took.ours, 'pt-table-checksum, 32 bits a row', took.theirs, { text: 'at most 1/2', most: 1 / 2 }),
    row(WHAT, took.ours, 'SELECT count(*)', took.count, null),
  ]
}

async function differences(server: Mariadb): Promise<Row[]> {
  const copy = ['CREATE TABLE t LIKE bench.t', 'INSERT INTO t SELECT * FROM bench.t']
  for (const name of ['live', 'other']) await server.sql(`CREATE DATABASE ${name}`, `USE ${name}`, ...copy)
  await server.sql(`UPDATE other.t SET amount = amount + 1 WHERE id % ${ROWS / 1000} = 0`)
  const access = {
    server: settingsOf(server, 'live'),
    baseDir: '/',
    connectLimit: 5_000,
    busyLimit: 2_000,
    own: new Set<number>(),
  }
  const images = { base: imageOf(access, 'bench'), theirs: imageOf(access, 'other'), migrated: null }
  const socket = `S=${server.socket},u=root`
  const sync = ['pt-table-sync', '--print', `${socket},D=bench,t=t`, `${socket},D=other,t=t`]
  const took = await interleave(ROUNDS, {
    ours: () =>
      timed(async () => {
        const db = await connect(access, 'live', job.signal, WRITE_MODE)
        await using merger = new MysqlMerger(db, access, 'live', images, job)
        await merger.stage(STAGED)
        const [t, b] = [merger.table('theirs', 't'), merger.table('base', 't')]
        const differs = dialect.differs('t.amount', 'b.amount')
        const [found] = await merger.query(`SELECT count(*) AS n FROM ${t} t JOIN ${b} b USING (id) WHERE ${differs}`)
        if (Number(found?.['n']) !== 1000) throw new Error(`found ${String(found?.['n'])} rows`)
      }),
    theirs: () => timed(() => tool(sync, [0, 2])),
  })
  return [row(DIFF, took.ours, 'pt-table-sync --print', took.theirs, { text: 'at most 1/7', most: 1 / 7 })]
}

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

const at = (server: Mariadb) => [`--socket=${server.socket}`, '--user=root']

async function tool(argv: readonly string[], codes: readonly number[]): Promise<void> {
  const { code, stdout, stderr } = await runLocal({ argv, limitMs: 600_000 })
  if (!codes.includes(code)) throw new Error(`${argv[0]} ended with ${code}: ${stderr}${stdout.slice(-500)}`)
}

function row(
  what: string,
  ours: number[],
  name: string,
  theirs: number[],
  goal: { text: string; most: number } | null,
): Row {
  const share = ratio(ours, theirs)
  return {
    what,
    backout: ms(median(ours)),
    compared: `${name}: ${ms(median(theirs))}`,
    ratio: times(share),
    goal: goal === null ? null : { text: goal.text, met: share <= goal.most },
  }
}
