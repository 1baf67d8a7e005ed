import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { ask } from '../../../test/support/ask.ts'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { triedOverRestart } from '../../../test/support/tried.ts'
import { applyCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { Job } from '../../data/engine.ts'
import { mysql } from './index.ts'
import { connect } from './session.ts'
import { played, type Story } from './test/merge.ts'

const why = noMariadb()
const signal = new AbortController().signal
const job: Job = { signal, guard() {}, progress() {} }

const GOOD = [
  'CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, total int) ENGINE=InnoDB',
  'INSERT INTO orders (total) VALUES (1), (2)',
  'CREATE TABLE knex_migrations (id int AUTO_INCREMENT PRIMARY KEY, name varchar(255), batch int, migration_time timestamp)',
  "INSERT INTO knex_migrations (name, batch) VALUES ('001_start', 1)",
]
const BAD = [
  'CREATE TABLE coupons (code varchar(20) PRIMARY KEY) ENGINE=InnoDB',
  "INSERT INTO knex_migrations (name, batch) VALUES ('002_coupons', 2)",
]

const STORY: Story = {
  base: [
    'CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, total int) ENGINE=InnoDB',
    'INSERT INTO orders (total) SELECT seq FROM seq_1_to_300',
  ],
  early: [],
  release: [{ sql: 'ALTER TABLE orders ADD discount int' }],
  meanwhile: [],
  writes: [
    'INSERT INTO orders (total) SELECT -CAST(seq AS SIGNED) FROM seq_1_to_300',
    'UPDATE orders SET total = 7 WHERE id % 3 = 0 AND id <= 300',
    'DELETE FROM orders WHERE id % 50 = 1 AND id <= 300',
  ],
  after: [],
  told: true,
}

describe.skipIf(why !== null)(`MariaDB that goes away${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let server: Mariadb
  let dir: string
  beforeEach(async () => {
    server = await mariadb()
    dir = await mkdtemp(join(tmpdir(), 'backout-gone-'))
  })
  afterEach(async () => {
    await server?.dispose()
    await rm(dir, { recursive: true, force: true })
  })

  it('C11: in the middle of undoing a migration: what is half done is never called done, and is named', async () => {
    await server.sql('CREATE DATABASE shop', 'USE shop', ...GOOD)
    const { backups, vault } = stepAct()
    const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
    const client = 'mariadb --no-defaults --user="$MYSQL_USER" --socket="$MYSQL_UNIX_PORT" "$MYSQL_DATABASE"'
    const forget = `DELETE FROM knex_migrations WHERE name = '002_coupons'`
    const open = (sql: string) => {
      const down = ['sh', '-c', `${client} -e "${sql}; ${forget}"`]
      const settings = { socket: server.socket, user: 'root', database: 'shop', migrations: { down } }
      return mysql.open(mysql.config.parse(settings), ctx)
    }
    // DDL commits by itself: the table is gone and the bookkeeping still has the migration.
    await using slow = await open(
      `DROP TABLE coupons; SELECT 1 INTO OUTFILE '${join(server.data, 'begun')}'; SELECT SLEEP(60)`,
    )
    const pin = await slow.capture(await slow.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await server.sql('USE shop', ...BAD)
    const proposal = await slow.propose(ask(await slow.observe(signal), pin, 'migrate-down'))
    const step = proposal.steps.find(s => s.id === 'db/migrate-down/002_coupons')
    if (step === undefined) throw new Error('no step undoes it')
    const failed = expect(slow.apply(step, stepAct(step, 'gone'))).rejects.toMatchObject({
      code: expect.stringMatching(/^(down_failed|database_unreachable)$/),
    })
    await expect.poll(() => existsSync(join(server.data, 'begun')), { timeout: 60_000 }).toBe(true)
    await server.kill()
    await failed
    expect(await slow.verify(step, stepAct(step, 'gone'))).toMatchObject({ is: 'unknown', unheard: true })
    await server.start()
    expect(await slow.verify(step, stepAct(step, 'gone'))).toMatchObject({
      is: 'not-done',
      why: '002_coupons is still applied',
    })
    await using again = await open('DROP TABLE coupons')
    await expect(again.apply(step, stepAct(step, 'gone'))).rejects.toMatchObject({
      code: 'down_failed',
      why: expect.stringContaining('coupons'),
    })
    // What the person on call does, who was told.
    await server.sql('USE shop', forget)
    expect(await again.verify(step, stepAct(step, 'gone'))).toMatchObject({ is: 'done' })
  })

  it('and is back a second later: it is waited for, and the step is tried again', async () => {
    await server.sql('CREATE DATABASE shop', 'USE shop', ...GOOD)
    const { backups, vault } = stepAct()
    const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
    const settings = { socket: server.socket, user: 'root', database: 'shop' }
    await using target = await mysql.open(mysql.config.parse(settings), ctx)
    const pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await server.sql('USE shop', ...BAD)
    const { steps } = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    const load = steps.find(s => s.id === 'db/restore/load')
    if (load === undefined) throw new Error('no step loads it')
    const restart = { goes: () => server.kill(), comes: () => server.start() }
    const { first, second } = await triedOverRestart(target, load, ctx, restart)
    expect(first).toMatchObject({ is: 'not-done', why: expect.stringContaining('asked afterwards: ') })
    expect(second).toMatchObject({ is: 'done', found: false })
  })

  it('with the copy that was loaded: it is loaded again', async () => {
    await server.sql('CREATE DATABASE shop', 'USE shop', ...GOOD)
    const trigger = 'CREATE TRIGGER least BEFORE INSERT ON orders FOR EACH ROW SET NEW.total = GREATEST(NEW.total, 1)'
    await server.sql('USE shop', trigger)
    const { backups, vault } = stepAct()
    const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
    await using target = await mysql.open(
      mysql.config.parse({ socket: server.socket, user: 'root', database: 'shop' }),
      ctx,
    )
    const pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await server.sql('USE shop', ...BAD)
    const { steps } = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    const [load, swap] = ['load', 'swap'].map(part => steps.find(s => s.id === `db/restore/${part}`))
    if (load === undefined || swap === undefined) throw new Error('no step restores it')
    const beside = async () => (await server.sql(`SHOW DATABASES LIKE 'shop\\_backout%'`)).flatMap(Object.values)
    const act = (step: typeof load) => ({ ...stepAct(step, 'gone'), backups })
    await target.apply(load, act(load))
    const [copy] = await beside()
    await server.sql(`DROP DATABASE ${String(copy)}`)
    await target.apply(swap, act(swap))
    expect(await target.verify(swap, act(swap))).toMatchObject({ is: 'done' })
    expect(await server.sql('USE shop', `SHOW TABLES LIKE 'coupons'`)).toEqual([])
    expect((await server.sql('USE shop', 'SHOW TRIGGERS')).length).toBe(1)
  })

  describe('while rows are read one by one', () => {
    const many = 'SELECT seq FROM seq_1_to_100000000'
    let taken = 0
    const slowly = () => {
      taken++
      return taken % 1000 === 0 ? new Promise<void>(resolve => setTimeout(resolve, 20)) : undefined
    }
    const restarted = async () => {
      await server.kill()
      await server.start()
    }
    it.each([
      ['a server that crashes', many, [], () => {}, restarted],
      ['one that crashes while it is slow to answer', 'SELECT SLEEP(30)', [], () => {}, restarted],
      ['one that crashes while rows are taken slowly', many, [], slowly, restarted],
      ['one that is shut down', 'SELECT seq + ? FROM seq_1_to_100000000', [1], slowly, () => server.dispose()],
      ['a session that somebody ends', many, [], slowly, (id: number) => server.sql(`KILL ${id}`)],
    ])('%s is told at once', async (_, sql, values, row, end) => {
      const access = { server: { socket: server.socket, user: 'root' }, baseDir: dir, connectLimit: 5_000 }
      const own = { ...access, busyLimit: 5_000, own: new Set<number>() } as unknown as Parameters<typeof connect>[0]
      await server.sql('CREATE DATABASE d')
      await using db = await connect(own, 'd', signal)
      const reading = db.each(sql, values, row).then(
        () => null,
        (error: unknown) => error,
      )
      await new Promise(resolve => setTimeout(resolve, 300))
      await end(db.id)
      expect(await reading).toMatchObject({ code: 'database_unreachable' })
      await expect(db.each('SELECT 1', [], () => {})).rejects.toMatchObject({ code: 'database_unreachable' })
    })
  })

  it('C11: while a migration stands half done: only the restore is left', async () => {
    await server.sql(
      'CREATE DATABASE half',
      'USE half',
      'CREATE TABLE orders (id int PRIMARY KEY) ENGINE=InnoDB',
      'CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)',
      'INSERT INTO schema_migrations VALUES (7, false)',
    )
    const { backups, vault } = stepAct()
    const ctx = { environment: 'test', component: 'half', baseDir: dir, stateDir: join(dir, 'state'), backups, vault }
    const settings = { socket: server.socket, user: 'root', database: 'half', migrations: { down: 'migrate down 1' } }
    await using target = await mysql.open(mysql.config.parse(settings), ctx)
    const pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    // What the server had done before the second statement failed stays: DDL commits by itself.
    await server.sql(
      'USE half',
      'ALTER TABLE orders ADD a int',
      'UPDATE schema_migrations SET version = 8, dirty = true',
    )
    const now = await target.observe(signal)
    const blockers = async (rung: string) =>
      (await target.propose(ask(now, pin, rung))).findings.filter(f => f.level === 'blocker').map(f => f.code)
    expect(await blockers('leave')).toContain('migration_half_done')
    expect(await blockers('migrate-down')).toContain('migration_half_done')
    expect(await blockers('restore')).toEqual([])
  })

  it('C14: in the middle of carrying forward: told, and taken up to the same end', async () => {
    const [one, whole] = [await played(server, STORY), await played(server, STORY)]
    const ends: Promise<void>[] = []
    const progress = ({ text, done }: { text: string; done?: number }) => {
      if (text === 'carrying rows' && (done ?? 0) > 100 && ends.length === 0) ends.push(server.kill())
    }
    await expect(applyCarry(one.source, NOTHING_SAID, { ...job, progress }, { batch: 20 })).rejects.toMatchObject({
      code: 'database_unreachable',
    })
    await Promise.all(ends)
    await server.start()
    const again = await applyCarry(one.source, NOTHING_SAID, job, { batch: 20 })
    expect(again.proof).toMatchObject({ ok: true, problems: [] })
    await applyCarry(whole.source, NOTHING_SAID, job)
    const done = await one.dump('ours')
    expect(done).toEqual(await whole.dump('ours'))
    expect(done['orders']?.length).toBe(594)
  })
})
