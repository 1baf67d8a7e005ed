import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ExecLeft, ExecResult, Fact, Proposal, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { runLocal } from '../../exec/local.ts'
import { ask, down, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

describe('undoing migrations of an SQLite database', () => {
  let shop: Shop
  let pin: DatabasePin
  let backup: Step
  let coupons: Step
  let discount: Step

  beforeEach(async () => {
    shop = await makeShop()
    const target = await shop.open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    shop.upgrade()
    const proposal: Proposal = await target.propose(ask(await target.observe(signal), pin, 'migrate-down'))
    ;[backup, coupons, discount] = proposal.steps as [Step, Step, Step]
  })
  afterEach(() => shop.dispose())

  const how = (word: string): Promise<Target<DatabasePin>> => shop.open({ migrations: { down: down(word) } })
  const applied = () => shop.sql('SELECT name FROM knex_migrations ORDER BY id').map(r => r['name'])

  it('C3 C11 D5: writes what will be lost aside, undoes one migration a step, tells what went and what differs', async () => {
    const target = await shop.open()
    await target.apply(backup, shop.act({ idem: 'lost' }))
    const facts: Fact[] = []
    const act = shop.act({ tell: async fact => void facts.push(fact) })
    await target.apply(coupons, act)
    expect(applied()).toEqual(['001_start', '002_discount'])
    await target.apply(discount, act)
    expect(facts.pop()).toMatchObject({
      kind: 'note',
      data: { differences: ['orders: 3 rows as before; values differ in id, note, total'] },
    })
    expect(facts.map(f => f.data)).toMatchObject([
      { what: 'coupons', count: 2, file: 'lost/coupons.ndjson' },
      { what: 'orders.discount', count: 1, file: 'lost/orders.discount.ndjson' },
    ])
    const made = (await shop.ctx.backups.list('db')).find(b => b.idem === 'lost')
    const kept = join(made?.dir ?? '', 'lost', 'orders.discount.ndjson')
    expect(await readFile(kept, 'utf8')).toBe('{"id":4,"discount":3}\n')
    expect((await stat(kept)).mode & 0o777).toBe(0o600)
  })

  it('C11: destroys nothing that was not accepted', async () => {
    const target = await shop.open()
    await expect(target.apply(coupons, shop.act({ accepts: () => false }))).rejects.toMatchObject({
      code: 'loss_not_accepted',
    })
    expect(applied()).toHaveLength(3)
  })

  it.each([
    ['does nothing and says 0', 'nothing', 'down_without_effect'],
    ['fails', 'fail', 'down_failed'],
    ['undoes more than it was told', 'too-far', 'down_too_far'],
  ])('does not believe a command that %s', async (_, word, code) => {
    const target = await how(word)
    await expect(target.apply(coupons, shop.act())).rejects.toMatchObject({ code })
    expect((await target.verify(coupons, shop.act())).is).toBe('not-done')
  })

  it('D5: is not done before the schema is that of the release, and names what differs', async () => {
    const target = await how('sloppy')
    await target.apply(coupons, shop.act())
    await expect(target.apply(discount, shop.act())).rejects.toMatchObject({ code: 'schema_not_as_released' })
    const verdict = await target.verify(discount, shop.act())
    expect(verdict).toMatchObject({ is: 'not-done', why: expect.stringContaining('orders.left_over was added') })
  })

  it('never runs the command for a migration that is undone already', async () => {
    const target = await shop.open()
    await target.apply(coupons, shop.act())
    await (await how('fail')).apply(coupons, shop.act())
    expect(applied()).toEqual(['001_start', '002_discount'])
  })

  it('refuses where somebody moved the level since the plan', async () => {
    shop.sql(`INSERT INTO knex_migrations (name, batch) VALUES ('004_more', 3)`)
    await expect((await shop.open()).apply(coupons, shop.act())).rejects.toMatchObject({ code: 'level_moved' })
    expect(applied()).toHaveLength(4)
  })

  it('ends a command that hangs, and SQLite takes its half-done work back', async () => {
    const target = await shop.open({ migrations: { down: down('hang'), downLimit: '700ms' } })
    const handles: Json[] = []
    const act = shop.act({ note: async handle => void handles.push(handle) })
    await expect(target.apply(coupons, act)).rejects.toMatchObject({ code: 'command_timed_out' })
    expect(await target.verify(coupons, shop.act({ handle: handles.at(-1) ?? null }))).toMatchObject({ is: 'not-done' })
    expect(shop.sql('SELECT code FROM coupons')).toHaveLength(2)
  })

  it('says running while the command of a killed process lives, then not-done, and doubles nothing', async () => {
    const target = await how('hang')
    const script = join(shop.dir, 'owner.ts')
    await writeFile(script, ownerScript(shop, coupons))
    const owner = fork(script, [], { stdio: 'inherit' })
    const [handle] = (await once(owner, 'message')) as [Json]
    while (!existsSync(join(shop.dir, 'begun'))) await sleep(20)
    const act = shop.act({ idem: 'owner', handle })
    expect((await target.verify(coupons, act)).is).toBe('running')
    owner.kill('SIGKILL')
    let verdict = await target.verify(coupons, act)
    while (verdict.is === 'running') {
      await sleep(50)
      verdict = await target.verify(coupons, act)
    }
    expect(verdict.is).toBe('not-done')
    await (await shop.open()).apply(coupons, act)
    expect(applied()).toEqual(['001_start', '002_discount'])
  })

  it('cannot say what became of a command that was handed to another place, where only its client has ended', async () => {
    const target = await shop.open({ migrations: { down: './away.sh', cwd: shop.dir, downLimit: '700ms' } })
    // As `docker exec` does: what goes on is no child of its own.
    await writeFile(join(shop.dir, 'docker'), '#!/bin/sh\nsleep 100\n', { mode: 0o755 })
    await writeFile(join(shop.dir, 'away.sh'), '#!/bin/sh\n./docker exec app down\n', { mode: 0o755 })
    const handles: Json[] = []
    const act = shop.act({ note: async handle => void handles.push(handle) })
    await expect(target.apply(coupons, act)).rejects.toMatchObject({ code: 'command_timed_out' })
    for (const handle of [handles[0], handles.at(-1)]) {
      expect(await target.verify(coupons, shop.act({ handle: handle ?? null }))).toMatchObject({
        is: 'unknown',
        why: expect.stringContaining('docker exec') as string,
      })
    }
    // One whose end was seen has ended there, too.
    await writeFile(join(shop.dir, 'docker'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    await expect(target.apply(coupons, act)).rejects.toMatchObject({ code: 'down_failed' })
    expect(await target.verify(coupons, shop.act({ handle: handles.at(-1) ?? null }))).toMatchObject({ is: 'not-done' })
  })

  it('says why the command failed, and no row that its client repeats', async () => {
    const echo = `--------------\nINSERT INTO people VALUES ('ann@self')\n--------------\n\n`
    const said = `${echo}ERROR 1062 (23000) at line 7: Duplicate entry 'ann@self' for key 'mail'\n`
    await writeFile(join(shop.dir, 'said'), said)
    const target = await shop.open({ migrations: { down: ['sh', '-c', 'cat said >&2; exit 1'], cwd: shop.dir } })
    const why = `ERROR 1062 (23000) at line 7: Duplicate entry '***' for key 'mail'`
    await expect(target.apply(coupons, shop.act())).rejects.toMatchObject({ code: 'down_failed', why })
  })

  it('runs the command in the bad release where only that has the down-scripts', async () => {
    const target = await shop.open({ migrations: { runIn: 'shop' } })
    const calls: unknown[] = []
    const exec = async (of: string, side: string, argv: readonly string[], env = {}): Promise<ExecResult> => {
      calls.push([of, side, env])
      return runLocal({ argv, env, cwd: shop.dir, limitMs: 5_000 })
    }
    const handles: Json[] = []
    await target.apply(coupons, shop.act({ exec, note: async handle => void handles.push(handle) }))
    const env = {
      BACKOUT_MIGRATION: '003_coupons',
      BACKOUT_LEVEL: '002_discount',
      BACKOUT_SCHEMA: 'main',
      BACKOUT_TABLE: 'knex_migrations',
      BACKOUT_DATABASE: shop.file,
    }
    expect(calls).toEqual([['shop', 'from', env]])
    expect(handles).toEqual([{ elsewhere: 'shop' }, { ended: true, code: 0 }])
    expect((await target.verify(coupons, shop.act())).is).toBe('done')
  })

  it('says running while what the other component began is there, also where it has not come to the database yet', async () => {
    const target = await shop.open({ migrations: { runIn: 'shop' } })
    const is = async (left: ExecLeft | null) => {
      const execLeft = async () => left
      return target.verify(coupons, shop.act({ handle: { elsewhere: 'shop' }, execLeft }))
    }
    const job = { what: 'the Job backout-1', code: null }
    expect(await is({ ...job, alive: true })).toMatchObject({
      is: 'running',
      why: expect.stringContaining('the Job backout-1 is still there'),
    })
    expect(await is({ ...job, alive: false })).toMatchObject({ is: 'not-done' })
    expect(await is(null)).toMatchObject({ is: 'not-done' })
    await (await shop.open()).apply(coupons, shop.act())
    expect(await is({ ...job, alive: false, code: 0 })).toMatchObject({ is: 'done' })
    expect(await is({ ...job, alive: false, code: 3 })).toMatchObject({
      is: 'unknown',
      why: expect.stringContaining('ended with code 3'),
    })
  })

  it('cannot say while another process holds the database, and names it', async () => {
    const lock = join(shop.dir, 'lock.cjs')
    await writeFile(lock, lockScript(shop.file))
    const holder = fork(lock)
    await once(holder, 'message')
    try {
      const target = await shop.open()
      const verdict = await target.verify(coupons, shop.act())
      expect(verdict).toMatchObject({ is: 'unknown', why: expect.stringContaining(`process ${holder.pid} (`) })
      expect((await target.verify(coupons, shop.act({ handle: { elsewhere: 'shop' } }))).is).toBe('running')
      await expect(target.observe(signal)).rejects.toMatchObject({ code: 'database_busy' })
    } finally {
      holder.kill('SIGKILL')
      await once(holder, 'exit')
    }
  })

  it('reads a database whose writer was killed in the middle', async () => {
    await rm(shop.dir, { recursive: true })
    shop = await makeShop('delete')
    const script = join(shop.dir, 'killed.cjs')
    await writeFile(script, halfWriteScript(shop.file))
    const writer = fork(script)
    await once(writer, 'message')
    writer.kill('SIGKILL')
    await once(writer, 'exit')
    expect(existsSync(`${shop.file}-journal`)).toBe(true)
    const target = await shop.open()
    expect((await target.observe(signal)).detail).toMatchObject({ rows: { orders: 3, tags: 3 } })
  })
})

function ownerScript(shop: Shop, step: Step): string {
  const root = join(import.meta.dirname, '..', '..', '..')
  return `
import { sqlite } from ${JSON.stringify(join(root, 'src/adapters/sqlite/index.ts'))}
import { stepAct } from ${JSON.stringify(join(root, 'test/conformance/walk.ts'))}
const settings = { path: 'data/shop.db', migrations: { down: ${JSON.stringify(down('hang'))} } }
const base = stepAct()
const ctx = { environment: 'test', component: 'db', baseDir: ${JSON.stringify(shop.dir)}, stateDir: ${JSON.stringify(join(shop.dir, 'state'))}, backups: base.backups, vault: base.vault }
const target = await sqlite.open(sqlite.config.parse(settings), ctx)
const note = async handle => void process.send(handle)
await target.apply(${JSON.stringify(step)}, { ...base, idem: 'owner', note })
`
}

function lockScript(file: string): string {
  return `
const { DatabaseSync } = require('node:sqlite')
const db = new DatabaseSync(${JSON.stringify(file)})
db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM tags')
process.send('locked')
setInterval(() => {}, 1000)
`
}

function halfWriteScript(file: string): string {
  return `
const { DatabaseSync } = require('node:sqlite')
const db = new DatabaseSync(${JSON.stringify(file)})
db.exec('PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE')
for (let i = 0; i < 3000; i++) db.exec("INSERT INTO tags VALUES (1, 'half'); UPDATE orders SET total = total + 1")
process.send('writing')
setInterval(() => {}, 1000)
`
}
