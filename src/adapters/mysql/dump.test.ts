import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { createConnection } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import type { Backup } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import { Secret } from '../../core/secret.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Dumped, Job, Reader } from '../../data/engine.ts'
import { compareSchemas } from '../../data/schema.ts'
import { mysqlSettings } from './config.ts'
import { DUMP, dump } from './dump.ts'
import { explained } from './errors.ts'
import { fitted, load } from './image.ts'
import { connect } from './session.ts'
import { zooFor } from './zoo.fixture.ts'

const why = noMariadb()
const PASSWORD = 'p4ss"w\\ord \'$x'

describe.skipIf(why !== null)(`A1, A2: a dump of MariaDB${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  let dir: string
  const job = (signal = AbortSignal.timeout(60_000)): Job => ({ signal, guard() {}, progress() {} })
  const settingsFor = (database: string, more: object = {}) =>
    mysqlSettings.parse({ socket: server.socket, user: 'app', password: PASSWORD, database, busyLimit: '1s', ...more })
  const accessOf = (settings: ReturnType<typeof settingsFor>) => ({
    server: settings,
    baseDir: '/',
    connectLimit: settings.connectLimit,
    busyLimit: settings.busyLimit,
    own: new Set<number>(),
  })
  const both = async (db: Reader) => {
    const schema = await db.schema()
    return { schema, data: await db.fingerprint(schema) }
  }
  const dumping = async (database: string, more: object = {}, on = job()) => {
    const settings = settingsFor(database, more)
    const { dumped, read } = await dump(settings, accessOf(settings), dir, on, both)
    return { settings, read, backup: backupOf(dumped) }
  }
  const backupOf = (dumped: Dumped): Backup =>
    ({ id: 'b1', dir, facts: toJson({ dump: dumped }), component: 'db' }) as unknown as Backup
  const back = async (settings: ReturnType<typeof settingsFor>, backup: Backup, name: string, on = job()) => {
    const image = await load(settings, accessOf(settings), name, backup, on)
    return { image, read: await image.reading(on.signal, both) }
  }

  beforeAll(async () => {
    server = await mariadb()
    await server.sql(
      'CREATE DATABASE zoo CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci',
      'USE zoo',
      ...(await zooFor(server)),
      "CREATE USER app IDENTIFIED BY 'p4ss\"w\\\\ord \\'$x'",
      'GRANT ALL ON *.* TO app',
    )
  })
  afterAll(async () => server?.dispose())
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-mysql-'))
  })
  afterEach(async () => rm(dir, { recursive: true, force: true }))

  it('gives back everything of the zoo, to the last bit', async () => {
    const { settings, read, backup } = await dumping('zoo')
    const restored = await back(settings, backup, 'zoo_backout_try_1')
    expect(compareSchemas(read.schema, restored.read.schema)).toEqual([])
    expect(compareFingerprints(read.data, restored.read.data)).toEqual([])
    expect(Object.keys(read.schema.others)).toEqual(
      expect.arrayContaining([
        'event nightly',
        'function slug',
        'procedure tidy',
        'sequence order_no',
        'default collation',
      ]),
    )
    const [next] = await server.sql('USE zoo_backout_try_1', 'SELECT NEXTVAL(order_no) AS n')
    expect(Number(next?.['n'])).toBe(1050)
  })

  it('takes a table whose numbers come from a sequence, and says what loading it needs', async () => {
    await server.sql(
      'CREATE OR REPLACE DATABASE counted',
      'USE counted',
      'CREATE SEQUENCE inv',
      'CREATE TABLE i (n bigint PRIMARY KEY DEFAULT (NEXTVAL(inv)), t text)',
      "INSERT INTO i (t) VALUES ('a'), ('b')",
    )
    const { settings, read, backup } = await dumping('counted')
    const restored = await back(settings, backup, 'counted_backout_try_1')
    expect(compareSchemas(read.schema, restored.read.schema)).toEqual([])
    expect(compareFingerprints(read.data, restored.read.data)).toEqual([])
    expect(JSON.stringify(backup.facts)).toContain('i.n: a server without')
    await restored.image.drop()
    await server.sql('DROP TABLE counted.i', 'DROP SEQUENCE counted.inv')
    const why = expect.stringContaining(`'counted.inv' doesn't exist`)
    await expect(back(settings, backup, 'counted_backout_try_1')).rejects.toMatchObject({ code: 'backup_damaged', why })
  })

  it('is of one instant while others write, and of the same one as the fingerprint', async () => {
    await server.sql(
      'CREATE DATABASE busy',
      'USE busy',
      'CREATE TABLE a (id int AUTO_INCREMENT PRIMARY KEY, pad varchar(200)) ENGINE=InnoDB',
      'CREATE TABLE b LIKE a',
      `INSERT INTO a (pad) SELECT REPEAT('x', 200) FROM seq_1_to_20000`,
    )
    const stop = new AbortController()
    let rounds = 0
    const writer = (async () => {
      while (!stop.signal.aborted) {
        await server.sql(
          'USE busy',
          'BEGIN',
          "INSERT INTO a (pad) VALUES ('w')",
          "INSERT INTO b (pad) VALUES ('w')",
          'COMMIT',
        )
        rounds++
      }
    })()
    const { settings, read, backup } = await dumping('busy')
    stop.abort()
    await writer
    const restored = await back(settings, backup, 'busy_backout_try_1')
    expect(rounds).toBeGreaterThan(1)
    expect(compareFingerprints(read.data, restored.read.data)).toEqual([])
    expect(Number(read.data.tables['a']?.rows) - 20_000).toBe(read.data.tables['b']?.rows)
  })

  it('needs no right over the whole server', async () => {
    await server.sql(
      "CREATE USER reader IDENTIFIED BY 'secret-word'",
      'GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON zoo.* TO reader',
      'GRANT SELECT, SHOW VIEW, TRIGGER ON busy.* TO reader',
      'GRANT SELECT ON mysql.proc TO reader',
    )
    const as = { user: 'reader', password: new Secret('x', 'secret-word') }
    expect((await dumping('zoo', as)).read.data.tables['numbers']?.rows).toBe(5)
    await expect(dumping('busy', as)).rejects.toMatchObject({ code: 'database_denied' })
  })

  it('says that the password is wrong, without it', async () => {
    const failed = await dumping('zoo', { password: new Secret('x', 'not-the-word') }).catch((e: unknown) => e)
    expect(failed).toMatchObject({ code: 'database_denied', next: expect.stringContaining('password') })
    expect((failed as { why: string }).why).not.toContain('not-the-word')
  })

  it('says that there is no such database, and that nobody answers', async () => {
    await expect(dumping('nowhere')).rejects.toMatchObject({ code: 'database_missing' })
    const gone = { socket: undefined, host: '127.0.0.1', port: 1 }
    await expect(dumping('zoo', gone)).rejects.toMatchObject({ code: 'database_unreachable' })
  })

  it('says who holds a lock that it waits for', async () => {
    const link = await createConnection({ socketPath: server.socket, user: 'root', database: 'zoo' })
    await link.query('BEGIN')
    await link.query("UPDATE log SET what = 'x'")
    await link.query("INSERT INTO log (what) VALUES ('open')")
    const failed = await dumping('zoo', { dump: { lock: 'never' } }).catch((e: unknown) => e)
    await link.end()
    expect(failed).toMatchObject({
      code: 'database_busy',
      why: expect.stringContaining(`session ${link.threadId} of root`),
    })
  })

  it('refuses a tool that is missing, older than the server, or of another system', async () => {
    const tools = await mkdtemp(join(tmpdir(), 'backout-tools-'))
    await expect(dumping('zoo', { tools })).rejects.toMatchObject({ code: 'tool_missing' })
    const says = (line: string) =>
      writeFile(join(tools, 'mariadb-dump'), `#!/bin/sh\necho '${line}'\n`, { mode: 0o755 })
    await says('mariadb-dump  Ver 10.19 Distrib 10.4.1-MariaDB, for Linux (x86_64)')
    await expect(dumping('zoo', { tools })).rejects.toMatchObject({
      code: 'tool_too_old',
      next: expect.stringMatching(/^install mariadb-dump 1\d\.\d+ or newer/),
    })
    await says('mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)')
    await expect(dumping('zoo', { tools })).rejects.toMatchObject({ code: 'tool_missing' })
    const real = execFileSync('sh', ['-c', 'command -v mariadb-dump'], { encoding: 'utf8' }).trim()
    const slow = `case "$*" in *--version*) exec ${real} "$@" ;; esac
      ${real} "$@" > ${tools}/whole && head -c -8 ${tools}/whole && sleep 0.5 && tail -c 8 ${tools}/whole`
    await writeFile(join(tools, 'mariadb-dump'), `#!/bin/sh\n${slow}\n`, { mode: 0o755 })
    // Its last words come in two pieces.
    expect((await dumping('zoo', { tools })).backup.facts).toMatchObject({
      dump: { made: expect.any(String) as string },
    })
    await rm(tools, { recursive: true })
  })

  it('fails where the disk of the backups is full', async () => {
    await symlink('/dev/full', join(dir, DUMP))
    await expect(dumping('busy')).rejects.toMatchObject({
      code: 'backup_failed',
      next: expect.stringContaining('free space'),
    })
  })

  it('lets go of a statement at work when it is told to stop', async () => {
    const stop = new AbortController()
    await using session = await connect(accessOf(settingsFor('zoo')), 'zoo', stop.signal)
    setTimeout(() => stop.abort(new Error('enough')), 100)
    await expect(session.query('SELECT SLEEP(60)')).rejects.toThrow('enough')
  })

  it('shows no password to who lists processes, and ends when it is told to', async () => {
    // More than a pipe holds: throttled, the dump tool is there until it is told to end.
    await server.sql(
      'CREATE DATABASE wide',
      'USE wide',
      'CREATE TABLE t (id int PRIMARY KEY, v longtext)',
      "INSERT INTO t SELECT seq, repeat('x', 10000) FROM seq_1_to_100",
    )
    const stop = new AbortController()
    const seen: string[] = []
    const look = setInterval(() => {
      seen.push(...commandLines().filter(line => line.includes(server.socket)))
      if (seen.some(line => line.includes('mariadb-dump'))) stop.abort(new Error('enough'))
    }, 20)
    const dumped = dumping('wide', { dump: { throttle: '1KB' } }, job(stop.signal))
    await expect(dumped.finally(() => clearInterval(look))).rejects.toThrow('enough')
    expect(seen.filter(line => line.includes('mariadb-dump')).length).toBeGreaterThan(0)
    expect(seen.filter(line => line.includes(PASSWORD))).toEqual([])
    expect(commandLines().filter(line => line.includes(server.socket) && line.includes('mariadb-dump'))).toEqual([])
  })

  it('is not loaded where it is cut or altered, and nothing of it stays', async () => {
    const { settings, backup } = await dumping('busy')
    const whole = await readFile(join(dir, DUMP))
    const middle = Math.floor(whole.length / 2)
    await truncate(join(dir, DUMP), middle)
    await expect(back(settings, backup, 'busy_backout_try_2')).rejects.toMatchObject({ code: 'backup_damaged' })
    whole.writeUInt8(whole.readUInt8(middle) ^ 0xff, middle)
    await writeFile(join(dir, DUMP), whole)
    await expect(back(settings, backup, 'busy_backout_try_2')).rejects.toMatchObject({ code: 'backup_damaged' })
    await writeFile(join(dir, DUMP), zstdCompressSync('CREATE TABLE broken (;\n-- Dump completed\n'))
    const refused = await back(settings, backup, 'busy_backout_try_2').catch((e: unknown) => e)
    expect(refused).toMatchObject({ code: 'backup_damaged', why: expect.stringContaining('ERROR 1064') })
    await writeFile(join(dir, DUMP), zstdCompressSync('CREATE TABLE only_one (id int);\n'))
    await expect(back(settings, backup, 'busy_backout_try_2')).rejects.toMatchObject({ why: 'its end is missing' })
    expect(await server.sql(`SHOW DATABASES LIKE 'busy\\_backout\\_try\\_2'`)).toEqual([])
  })

  it('that is refused says why, and no row of it', async () => {
    const { settings, backup } = await dumping('busy')
    const people = Array.from({ length: 20_000 }, (_, i) => `(${i % 19_999},'ann${i}@self')`).join(',\n')
    const text = `CREATE TABLE people (id int PRIMARY KEY, mail text);\nINSERT INTO people VALUES\n${people};\n-- Dump completed\n`
    await writeFile(join(dir, DUMP), zstdCompressSync(text))
    const refused = await back(settings, backup, 'busy_backout_try_5').catch((e: unknown) => e)
    const why = `ERROR 1062 (23000) at line 2: Duplicate entry '***' for key 'PRIMARY'`
    expect(refused).toMatchObject({ code: 'backup_damaged', why })
    await writeFile(join(dir, DUMP), zstdCompressSync(text.replace(/;\n--/, `'\n--`)))
    const broken = await back(settings, backup, 'busy_backout_try_5').catch((e: unknown) => e)
    expect(broken).toMatchObject({ code: 'backup_damaged', why: expect.stringMatching(/^ERROR \d+/) })
    expect((broken as { why: string }).why).not.toContain('@self')
  })

  it('replaces what an earlier try left, and nothing that is not its own', async () => {
    const { settings, read, backup } = await dumping('zoo')
    await server.sql('CREATE DATABASE zoo_backout_try_3', 'CREATE TABLE zoo_backout_try_3.precious (id int)')
    const refused = await back(settings, backup, 'zoo_backout_try_3').catch((e: unknown) => e)
    expect(refused).toMatchObject({ code: 'database_exists', message: expect.stringContaining('zoo_backout_try_3') })
    await server.sql('DROP TABLE zoo_backout_try_3.precious')
    await back(settings, backup, 'zoo_backout_try_3')
    await server.sql('DROP TABLE zoo_backout_try_3.numbers')
    const again = await back(settings, backup, 'zoo_backout_try_3')
    expect(compareFingerprints(read.data, again.read.data)).toEqual([])
    await again.image.drop()
    expect(await server.sql(`SHOW DATABASES LIKE 'zoo\\_backout\\_try\\_3'`)).toEqual([])
  })

  it('says that the server went away in the middle of a dump, or of loading one', async () => {
    const whenBegun = (then: () => void): Job => {
      let first = true
      return {
        ...job(),
        progress({ done }) {
          if (first && done !== undefined) then()
          first &&= done === undefined
        },
      }
    }
    const dumped = dumping(
      'busy',
      { dump: { throttle: '100KB' } },
      whenBegun(() => void server.kill()),
    )
    await expect(dumped).rejects.toMatchObject({ code: expect.stringMatching(/backup_failed|database_unreachable/) })
    await server.start()
    await server.sql('USE busy', `INSERT INTO a (pad) SELECT REPEAT('y', 200) FROM seq_1_to_100000`)
    await rm(dir, { recursive: true })
    await mkdir(dir)
    const { settings, read, backup } = await dumping('busy')
    const loading = back(
      settings,
      backup,
      'busy_backout_try_4',
      whenBegun(() => void server.kill()),
    )
    await expect(loading).rejects.toMatchObject({ code: 'database_unreachable' })
    await server.start()
    const again = await back(settings, backup, 'busy_backout_try_4')
    expect(compareFingerprints(read.data, again.read.data)).toEqual([])
  })
})

describe('what is loaded of a dump', () => {
  it('has lost the first line that older clients do not know, and keeps dates that no calendar has', () => {
    const head = `/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n`
    const loose = head.replace('ON_ZERO', 'ON_ZERO,ALLOW_INVALID_DATES')
    for (const first of [
      '/*!999999\\- enable the sandbox mode */\n',
      '/*M!999999\\- enable the sandbox mode */ \n',
      '',
    ]) {
      expect(fitted(Buffer.from(`${first}-- MariaDB dump\n${head}`)).toString()).toBe(`-- MariaDB dump\n${loose}`)
    }
  })
})

describe('an error of the server', () => {
  it.each([
    [{ errno: 1021 }, 'disk_full'],
    [{ errno: 3, message: 'Error writing file \'/x\' (Errcode: 28 "No space left on device")' }, 'disk_full'],
    [{ errno: 1712 }, 'database_damaged'],
    [{ code: 'ECONNREFUSED' }, 'database_unreachable'],
    [{ code: 'SELF_SIGNED_CERT_IN_CHAIN' }, 'database_unreachable'],
    [{ errno: 1227, code: 'ER_SPECIFIC_ACCESS_DENIED_ERROR' }, 'database_denied'],
    [{ errno: 9999, code: 'ER_SOMETHING' }, 'database_failed'],
  ])('%j is told as %s, with what to do', (parts, code) => {
    const told = explained('shop on db1:3306', Object.assign(new Error('as it said'), parts))
    expect(told).toMatchObject({ code, message: expect.stringContaining('shop on db1:3306'), next: expect.any(String) })
  })
})

function commandLines(): string[] {
  return execFileSync('ps', ['-eo', 'args', '-ww'], { encoding: 'utf8' }).split('\n')
}
