import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Backup, BackupStore, Fact, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { factsIn } from '../../data/flow/facts.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { ask, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

describe('backups of an SQLite database', () => {
  let shop: Shop
  let target: Target<DatabasePin>
  beforeEach(async () => {
    shop = await makeShop()
    target = await shop.open()
  })
  afterEach(() => shop.dispose())

  const capture = async (purpose: 'release' | 'departure' = 'release') =>
    target.capture(await target.observe(signal), { ...shop.act(), purpose, release: 'v1' })
  const backupOf = (pin: DatabasePin): Promise<Backup> => shop.ctx.backups.get(pin.backup ?? '')
  async function steps(pin: DatabasePin, rung: string): Promise<Step[]> {
    const proposal = await target.propose(ask(await target.observe(signal), pin, rung))
    return [...proposal.steps]
  }

  it('A1 A2 A4: copies a database in use, proves it by a restore, and keeps schema and fingerprint', async () => {
    const user = new DatabaseSync(shop.file)
    user.exec('BEGIN IMMEDIATE; INSERT INTO orders (total) VALUES (1)')
    const pin = await capture()
    user.exec('COMMIT')
    user.close()
    const backup = await backupOf(pin)
    expect(backup.proof).toMatchObject({ ok: true, differences: [] })
    expect(backup.files.map(f => f.path)).toEqual(['database.sqlite'])
    expect(pin.fingerprint.tables['orders']?.rows).toBe(3)
    expect(pin.level).toEqual({ tool: 'knex', table: 'knex_migrations', applied: ['001_start'] })
    expect(await readdir(shop.ctx.stateDir)).toEqual([])
    expect(await shop.ctx.backups.check(backup.id)).toEqual([])
  })

  it('A2: calls a backup unproven that does not restore to what was backed up', async () => {
    const { backups } = shop.ctx
    const cutting: BackupStore = {
      ...backups,
      begin: async about => {
        const draft = await backups.begin(about)
        return {
          ...draft,
          seal: async facts => {
            await truncate(join(draft.dir, 'database.sqlite'), 8192)
            return draft.seal(facts)
          },
        }
      },
    }
    const act = { ...shop.act({ backups: cutting }), purpose: 'release' as const, release: 'cut' }
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({ code: 'backup_unproven' })
    const made = (await backups.list('db')).find(b => b.release === 'cut')
    expect(made?.proof).toMatchObject({ ok: false })
    expect(made?.proof?.differences.join()).toContain('no sound database')
  })

  // Only root may mount a small disk.
  it.skipIf(process.getuid?.() !== 0)('keeps nothing of a backup for which the disk was too small', async () => {
    const small = join(shop.dir, 'small')
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small])
    try {
      shop.sql(
        'INSERT INTO tags SELECT 1, hex(randomblob(9)) FROM orders a, orders b, orders c, orders d, orders e, orders f, orders g, orders h',
      )
      const discarded: string[] = []
      const backups = onDisk(shop.ctx.backups, small, discarded)
      const act = { ...shop.act({ backups }), purpose: 'release' as const, release: 'v1' }
      const error = { code: 'backup_failed', why: expect.stringContaining('full') }
      await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject(error)
      expect(discarded).toEqual([small])
    } finally {
      execFileSync('umount', [small])
    }
  })

  it('stops copying when told, and keeps nothing of it', async () => {
    const before = (await shop.ctx.backups.list('db')).length
    shop.sql('UPDATE orders SET note = zeroblob(30000000) WHERE id = 1')
    const stop = new AbortController()
    const progress = (p: { done?: number }) => (p.done === undefined ? undefined : stop.abort(new Error('enough')))
    const act = { ...shop.act({ signal: stop.signal, progress }), purpose: 'release' as const, release: 'v1' }
    await expect(target.capture(await target.observe(signal), act)).rejects.toThrow('enough')
    expect(await shop.ctx.backups.list('db')).toHaveLength(before)
  })

  it('makes no backup for a departure', async () => {
    const before = (await shop.ctx.backups.list('db')).length
    const pin = await capture('departure')
    expect([pin.backup, pin.level.applied, pin.fingerprint.tables['orders']?.rows]).toEqual([null, ['001_start'], 3])
    expect(await shop.ctx.backups.list('db')).toHaveLength(before)
  })

  it('C3: makes the pre-rollback backup once, however often it is asked', async () => {
    const pin = await capture()
    shop.upgrade()
    const [step] = (await steps(pin, 'restore')) as [Step]
    const act = shop.act({ idem: `${shop.dir.slice(-6)}.once` })
    expect((await target.verify(step, act)).is).toBe('not-done')
    await target.apply(step, act)
    await target.apply(step, act)
    const made = (await shop.ctx.backups.list('db')).filter(b => b.idem === act.idem)
    expect(made.map(b => [b.reason, b.proof?.ok])).toEqual([['pre-rollback', true]])
    expect((await target.verify(step, act)).is).toBe('done')
  })

  it('remembers its backups as ways back', async () => {
    const pin = await capture()
    const found = await target.remembered?.(signal)
    expect(found?.find(r => r.pin.backup === pin.backup)).toEqual({ release: 'v1', at: pin.at, pin })
  })

  it('C3 C11: restores a database that is no database any more, and keeps what lay there', async () => {
    const pin = await capture()
    await writeFile(shop.file, 'this is a letter to the editor, not a database. '.repeat(99))
    await rm(`${shop.file}-wal`, { force: true })
    expect((await target.observe(signal)).state).toMatchObject({ file: 'damaged' })
    const down = await target.propose(ask(await target.observe(signal), pin, 'migrate-down'))
    expect(down.findings.map(f => f.code)).toEqual(['database_damaged'])
    const proposal = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    expect(proposal.impact.loss.map(l => l.what)).toEqual(['everything written since'])
    const idem = 'damaged'
    for (const step of proposal.steps) {
      await target.apply(step, shop.act({ idem }))
      expect((await target.verify(step, shop.act({ idem }))).is).toBe('done')
    }
    expect(shop.sql('SELECT * FROM orders')).toHaveLength(3)
    expect(await readFile(`${shop.file}.before-damaged`, 'utf8')).toContain('letter to the editor')
    const made = (await shop.ctx.backups.list('db')).find(b => b.idem === idem)
    expect(made?.facts).toMatchObject({ kind: 'sqlite-as-is', state: 'damaged' })
  })

  it('restores a database whose file is gone', async () => {
    const pin = await capture()
    for (const end of ['', '-wal', '-shm']) await rm(`${shop.file}${end}`, { force: true })
    expect((await target.observe(signal)).summary).toBe('there is no file')
    for (const step of await steps(pin, 'restore')) await target.apply(step, shop.act({ idem: 'gone' }))
    expect(shop.sql('SELECT * FROM orders')).toHaveLength(3)
    expect(shop.sql('PRAGMA journal_mode')[0]).toEqual({ journal_mode: 'wal' })
  })

  it('C11: restores nothing while another process has the file open, and names it', async () => {
    const pin = await capture()
    shop.upgrade()
    const [, load, step] = (await steps(pin, 'restore')) as [Step, Step, Step]
    const script = join(shop.dir, 'idle.cjs')
    await writeFile(script, idleScript(shop.file))
    const idle = fork(script)
    await once(idle, 'message')
    try {
      await target.apply(load, shop.act())
      expect((await target.verify(load, shop.act())).is).toBe('done')
      const error = { code: 'database_open', message: expect.stringContaining(`process ${idle.pid}`) }
      await expect(target.apply(step, shop.act())).rejects.toMatchObject(error)
      expect((await target.verify(step, shop.act())).is).toBe('not-done')
      expect(shop.sql('SELECT * FROM coupons')).toHaveLength(2)
    } finally {
      idle.kill('SIGKILL')
      await once(idle, 'exit')
    }
  })

  it('C11: restores nothing that was not accepted, or from a backup that was altered', async () => {
    const pin = await capture()
    shop.upgrade()
    const [, load, step] = (await steps(pin, 'restore')) as [Step, Step, Step]
    await target.apply(load, shop.act())
    const refused = target.apply(step, shop.act({ accepts: () => false }))
    await expect(refused).rejects.toMatchObject({ code: 'loss_not_accepted' })
    await truncate(join((await backupOf(pin)).dir, 'database.sqlite'), 4096)
    await expect(target.apply(load, shop.act())).rejects.toMatchObject({ code: 'backup_altered' })
    expect(shop.sql('SELECT * FROM coupons')).toHaveLength(2)
  })

  it('never gives a number again that was issued before the restore', async () => {
    const pin = await capture()
    shop.upgrade()
    const facts: Fact[] = []
    const act = shop.act({ idem: 'numbers', tell: async fact => void facts.push(fact) })
    const [, load, step] = (await steps(pin, 'restore')) as [Step, Step, Step]
    await target.apply(load, act)
    await target.apply(step, act)
    shop.sql('INSERT INTO orders (total) VALUES (5)')
    expect(shop.sql('SELECT max(id) AS id FROM orders')).toEqual([{ id: 5 }])
    expect(facts.map(f => f.kind)).toEqual(['kept', 'lost', 'lost', 'lost', 'lost'])
    expect(await target.verify(step, act)).toMatchObject({
      is: 'done',
      why: expect.stringContaining('written to since'),
    })
  })

  it('tells what went with it once, also where whoever restored died before it told', async () => {
    const pin = await capture()
    shop.upgrade()
    const [, load, step] = (await steps(pin, 'restore')) as [Step, Step, Step]
    const told: Fact[] = []
    let handle: Json = null
    const note = async (value: Json) => void (handle = value)
    const dies = shop.act({ idem: 'dies', note, tell: () => Promise.reject(new Error('killed')) })
    await target.apply(load, dies)
    await expect(target.apply(step, dies)).rejects.toThrow('killed')
    for (let look = 0; look < 2; look++) {
      const act = shop.act({ idem: 'dies', handle, note, tell: async fact => void told.push(fact) })
      expect(await target.verify(step, act)).toMatchObject({ is: 'done' })
    }
    expect(told.map(f => f.kind)).toEqual(['kept', 'lost', 'lost', 'lost', 'lost'])
  })

  it('says that it was restored, and where what was there is, once somebody changed the schema', async () => {
    const pin = await capture()
    shop.upgrade()
    const [, load, step] = (await steps(pin, 'restore')) as [Step, Step, Step]
    const act = shop.act({ idem: 'moved' })
    await target.apply(load, act)
    await target.apply(step, act)
    shop.sql('ALTER TABLE orders ADD COLUMN again TEXT')
    expect(await target.verify(step, act)).toMatchObject({ is: 'not-done' })
    const error = await target.apply(step, act).catch((e: unknown) => e)
    expect(error).toMatchObject({
      code: 'restored_and_changed',
      message: expect.stringContaining(`${shop.file}.before-moved`),
    })
  })

  it('finishes a restore that was cut between keeping the old file and the swap', async () => {
    const pin = await capture()
    shop.upgrade()
    const [, load, step] = (await steps(pin, 'restore')) as [Step, Step, Step]
    await target.apply(load, shop.act({ idem: 'cut' }))
    let writes = 0
    const dies = () => {
      if (++writes === 3) throw new Error('killed')
    }
    await expect(target.apply(step, shop.act({ idem: 'cut', guard: dies }))).rejects.toThrow('killed')
    expect(existsSync(`${shop.file}.before-cut`)).toBe(true)
    expect(shop.sql('PRAGMA journal_mode')[0]).toEqual({ journal_mode: 'wal' })
    expect((await target.verify(step, shop.act({ idem: 'cut' }))).is).toBe('not-done')
    await target.apply(step, shop.act({ idem: 'cut' }))
    expect((await target.verify(step, shop.act({ idem: 'cut' }))).is).toBe('done')
  })

  it('C1: blocks a restore for which the disk has no room', async () => {
    const pin = await capture()
    const backup = await backupOf(pin)
    shop.upgrade()
    const huge = { ...shop.ctx.backups, get: async () => ({ ...backup, bytes: 2 ** 60 }) }
    const crowded = await makeShop('wal', { backups: huge })
    try {
      const here = await crowded.open()
      const atHere = await here.observe(signal)
      const proposal = await here.propose(ask(atHere, { ...pin, identity: atHere.identity, at: 'x' }, 'restore'))
      expect(proposal.findings).toEqual([])
      crowded.upgrade()
      const again = await here.propose(ask(atHere, { ...pin, identity: atHere.identity }, 'restore'))
      expect(again.findings.filter(f => f.level === 'blocker').map(f => f.code)).toEqual(['disk_full'])
    } finally {
      await crowded.dispose()
    }
  })

  it('knows its own facts, and not those of others', async () => {
    const backup = await backupOf(await capture())
    expect(factsIn(backup, 'sqlite')?.identity).toBe(`sqlite:${shop.file}`)
    expect(factsIn({ ...backup, facts: { kind: 'postgres' } }, 'sqlite')).toBeNull()
  })
})

/** A catalogue whose drafts lie in the folder given. */
function onDisk(store: BackupStore, dir: string, discarded: string[]): BackupStore {
  return {
    ...store,
    begin: async () => ({
      id: 'small',
      dir,
      seal: () => Promise.reject(new Error('sealed a backup that did not fit')),
      discard: async () => void discarded.push(dir),
    }),
  }
}

function idleScript(file: string): string {
  return `
const { DatabaseSync } = require('node:sqlite')
const db = new DatabaseSync(${JSON.stringify(file)})
db.prepare('SELECT count(*) FROM orders').get()
process.send('open')
setInterval(() => {}, 1000)
`
}
