import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import type { Ready } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { Grants } from './grants.ts'
import { firing } from './ready.ts'
import { connect } from './session.ts'

const never = new AbortController().signal

describe('what grants mean', () => {
  const grants = new Grants("'a'@'%'", [
    'GRANT USAGE ON *.* TO `a`@`%`',
    'GRANT SELECT, SHOW VIEW ON `shop\\_1`.* TO `a`@`%`',
    'GRANT ALL PRIVILEGES ON "shop\\_1\\_backout\\_%".* TO "a"@"%"',
    'GRANT SELECT (id, total), INSERT ON `x``y`.`t` TO `a`@`%`',
    'GRANT `role` TO `a`@`%`',
  ])
  it.each([
    [['SELECT', 'EVENT'], 'shop_1', null, ['EVENT']],
    [['SELECT'], 'shopx1', null, ['SELECT']],
    [['DROP'], 'shop_1_backout_try_1', null, []],
    [['DROP'], 'shop_1_other', null, ['DROP']],
    [['SELECT', 'INSERT'], 'x`y', 't', ['SELECT']],
    [['INSERT'], 'x`y', null, ['INSERT']],
    [['PROCESS'], null, null, ['PROCESS']],
  ] as const)('%s on %s.%s: %s is missing', (rights, database, table, missing) => {
    expect(grants.missing(rights, database, table)).toEqual(missing)
  })
})

const why = noMariadb()

/** From 11.3 on there is a right of its own for it. */
async function routinesRight(server: Mariadb): Promise<string> {
  const [row] = await server.sql('SELECT VERSION() AS version')
  const [major = 0, minor = 0] = String(row?.['version']).split('.').map(Number)
  const right = major * 100 + minor >= 1103 ? 'SHOW CREATE ROUTINE ON *.*' : 'SELECT ON mysql.proc'
  return `GRANT ${right} TO 'poor'@'%'`
}

describe.skipIf(why !== null)(`MariaDB, asked ahead${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  beforeAll(async () => {
    server = await mariadb()
    await server.sql(
      'CREATE DATABASE shop_1',
      'CREATE TABLE shop_1.orders (id int PRIMARY KEY, total int)',
      'CREATE VIEW shop_1.big AS SELECT * FROM shop_1.orders WHERE total > 100',
    )
  })
  afterAll(() => server?.dispose())

  async function asked(user: string, more: object = {}): Promise<Ready> {
    const given = { socket: server.socket, user, password: 'a word', database: 'shop_1', ...more }
    const answer = await mysqlEngine(mysqlSettings.parse(given), '/').ready?.(never)
    if (answer === undefined) throw new Error('this engine cannot be asked')
    return answer
  }

  it('names every right that is missing with the statement that gives it', async () => {
    await server.sql("CREATE USER poor IDENTIFIED BY 'a word'", 'GRANT SELECT, SHOW VIEW ON `shop\\_1`.* TO poor')
    const { lacks } = await asked('poor')
    const to = "TO 'poor'@'%'"
    expect(lacks.map(l => [l.for, l.remedy])).toEqual([
      ['capture', `GRANT TRIGGER, EVENT, LOCK TABLES ON \`shop\\_1\`.* ${to}`],
      ['comfort', await routinesRight(server)],
      ['capture', `GRANT ALL ON \`shop\\_1\\_backout\\_%\`.* ${to}`],
      ['restore', `GRANT ALL ON \`shop\\_1\\_backout\\_%\`.* ${to}`],
      ['restore', `GRANT ALL ON \`shop\\_1\`.* ${to}`],
      ['capture', `GRANT SET USER ON *.* ${to}`],
      ['comfort', `GRANT CONNECTION ADMIN ON *.* ${to}`],
      ['comfort', `GRANT PROCESS ON *.* ${to}`],
      ['comfort', `GRANT RELOAD ON *.* ${to}`],
    ])
    expect(lacks.find(l => l.remedy.includes('SET USER'))?.what).toContain('root@localhost')
    for (const { remedy } of lacks) await server.sql(remedy)
    const now = await asked('poor')
    expect(now.lacks).toEqual([])
    expect(now.well).toEqual([
      expect.stringMatching(/^mariadb-dump 1\d\..*, mariadb 1\d\..*; the server is 1\d\..*MariaDB/),
      "'poor'@'%' may do all that capturing and going back take",
    ])
  })

  it('counts what a role gives, and all rights on everything', async () => {
    await server.sql(
      'CREATE ROLE keeper',
      'GRANT ALL ON *.* TO keeper',
      "CREATE USER held IDENTIFIED BY 'a word'",
      'GRANT keeper TO held',
      'SET DEFAULT ROLE keeper FOR held',
    )
    expect((await asked('held')).lacks).toEqual([])
    expect((await asked('root', { password: undefined })).lacks).toEqual([])
  })

  it('says that triggers fire on MySQL, where they cannot be made quiet', async () => {
    const root = mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'shop_1' })
    const access = { server: root, baseDir: '/', connectLimit: 5_000, busyLimit: 1_000, own: new Set<number>() }
    await using db = await connect(access, 'shop_1', never)
    const asMysql = { ...db, flavour: { ...db.flavour, mariadb: false } }
    expect(await firing(asMysql, 'shop_1')).toEqual([])
    await server.sql('CREATE TRIGGER shop_1.audit AFTER INSERT ON shop_1.orders FOR EACH ROW SET @seen = NEW.id')
    expect(await firing(db, 'shop_1')).toEqual([])
    expect(await firing(asMysql, 'shop_1')).toMatchObject([
      { for: 'comfort', code: 'triggers_fire', what: expect.stringContaining('audit') },
    ])
    await server.sql('DROP TRIGGER shop_1.audit')
  })

  it('names tools that are missing or older than the server, and a server that does not answer', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tools-'))
    const old = "#!/bin/sh\necho 'mariadb-dump  Ver 10.19 Distrib 10.3.1-MariaDB'\n"
    await writeFile(join(dir, 'mariadb-dump'), old, { mode: 0o755 })
    const { lacks } = await asked('root', { password: undefined, tools: dir })
    expect(lacks.map(l => [l.for, l.code])).toEqual([
      ['capture', 'tool_too_old'],
      ['capture', 'tool_missing'],
    ])
    await expect(asked('root', { socket: undefined, port: 1 })).rejects.toMatchObject({ code: 'database_unreachable' })
  })
})
