import { spawnSync } from 'node:child_process'
import { played } from '../src/adapters/mysql/test/merge.ts'
import { type Mariadb, mariadb, noMariadb } from '../test/support/mariadb.ts'
import { CARRIED, carried, notCarried } from './support/carrying.ts'
import { against, findDifferences, memory, printing, ROUNDS, ROWS, told, tool } from './support/databases.ts'
import { inFolder, interleave, timed } from './support/measure.ts'
import { notHere, type Row } from './support/row.ts'
import { type Access, subjectOf } from './support/subjects.ts'

const WHAT = `fingerprint of a MariaDB table of ${told(ROWS)} rows of 200 bytes, 8 columns, 64 bits a column`
const DIFF = `1,000 scattered rows of it that differ, found between two databases of MariaDB`
const PEERS = ['pt-table-checksum', 'pt-table-sync']

const TABLE = `CREATE TABLE t (id int PRIMARY KEY, big bigint NOT NULL, amount decimal(10,2), ok tinyint, at datetime, code char(32),
  share double, name varchar(120)) ENGINE=InnoDB CHARSET=utf8mb4`
const FILL = (from: number, to: number) =>
  `INSERT INTO t SELECT seq, seq * 7, (seq % 1000) / 1, seq % 2, '2020-01-01' + INTERVAL seq SECOND, md5(seq), seq / 7e0,
    concat('customer number ', seq, ' with some padding text to make the row about two hundred bytes') FROM seq_${from}_to_${to}`

/** What pt-table-checksum ends with where nobody replicates the server. */
const NO_REPLICAS = 8

/** MariaDB beside the tools of Percona, on one server, in one run. */
export async function bench(): Promise<Row[]> {
  const missing = noMariadb()
  if (missing !== null) {
    return [
      notHere(WHAT, 'at most 1/2', missing),
      notHere(DIFF, 'at most 1/7', missing),
      notCarried('MariaDB', missing),
    ]
  }
  const server = await mariadb(['--innodb-buffer-pool-size=1G', '--log-bin', '--server-id=1', '--binlog-format=ROW'])
  try {
    await server.sql(
      'CREATE DATABASE bench CHARACTER SET utf8mb4',
      'USE bench',
      TABLE,
      FILL(1, ROWS),
      'ANALYZE TABLE t',
    )
    const copy = ['CREATE TABLE t LIKE bench.t', 'INSERT INTO t SELECT * FROM bench.t']
    for (const name of ['live', 'other']) await server.sql(`CREATE DATABASE ${name}`, `USE ${name}`, ...copy)
    await server.sql(`UPDATE other.t SET amount = amount + 1 WHERE id % ${ROWS / 1000} = 0`)
    return await inFolder(dir => measured(server, dir))
  } finally {
    await server.dispose()
  }
}

async function measured(server: Mariadb, dir: string): Promise<Row[]> {
  const writes = [FILL(CARRIED + 1, CARRIED * 2)]
  const empty = { early: [], release: [], meanwhile: [], after: [], told: true }
  const merge = await played(server, { ...empty, base: [TABLE, FILL(1, CARRIED)], writes })
  const access: Access = { kind: 'mysql', socket: server.socket, merge: merge.names }
  const { ours } = merge.names
  // What a deletion leaves behind is none of a restore's.
  const restore = () =>
    server.sql(
      `DROP TABLE IF EXISTS ${ours}.backout_carried`,
      `DELETE FROM ${ours}.t WHERE id > ${CARRIED}`,
      'SET GLOBAL innodb_max_purge_lag_wait = 0',
    )
  try {
    return [
      ...(await besidePeers(server, access)),
      await carried('MariaDB', await subjectOf(access).source(dir), dir, restore),
      await memory('MariaDB', access, ['fingerprint', 'dump', 'proof', 'diff', 'carry'], dir),
    ]
  } finally {
    await merge.dispose()
  }
}

async function besidePeers(server: Mariadb, access: Access): Promise<Row[]> {
  const without = PEERS.filter(name => spawnSync(name, ['--version']).error !== undefined)
  if (without.length > 0) {
    const reason = `${without.join(', ')} of percona-toolkit not installed`
    return [notHere(WHAT, 'at most 1/2', reason), notHere(DIFF, 'at most 1/7', reason)]
  }
  const { engine, live, images } = subjectOf(access)
  const login = [`--socket=${server.socket}`, '--user=root']
  const checksum = ['pt-table-checksum', ...login, '--databases=bench', '--no-check-binlog-format', '--quiet']
  const print = await printing(engine)
  const prints = await interleave(ROUNDS, {
    ours: () => timed(print),
    theirs: () => timed(() => tool(checksum, { codes: [0, NO_REPLICAS] })),
    count: () => timed(() => server.sql('SELECT count(*) FROM bench.t')),
  })
  const dsn = `S=${server.socket},u=root`
  const sync = ['pt-table-sync', '--print', `${dsn},D=bench,t=t`, `${dsn},D=other,t=t`]
  const diffs = await interleave(ROUNDS, {
    ours: () => timed(() => findDifferences(live, images)),
    theirs: () => timed(() => tool(sync, { codes: [0, 2] })),
  })
  return [
    against(WHAT, prints.ours, 'pt-table-checksum, 32 bits a row', prints.theirs, { text: 'at most 1/2', most: 1 / 2 }),
    against(WHAT, prints.ours, 'SELECT count(*)', prints.count),
    against(DIFF, diffs.ours, 'pt-table-sync --print', diffs.theirs, { text: 'at most 1/7', most: 1 / 7 }),
  ]
}
