import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { stepAct, walk } from '../../../test/conformance/walk.ts'
import { type Backup, NOTHING, type Proposal } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { sqlite } from './index.ts'
import { EARLIER } from './test/earlier.ts'
import { ask } from './test/shop.ts'

type Name = keyof typeof EARLIER
const PINS = JSON.parse(await readFile(join(import.meta.dirname, 'test', 'earlier.json'), 'utf8')) as Record<
  Name,
  unknown
>
const signal = new AbortController().signal

describe('A4 C11: what an earlier version captured', () => {
  let dir: string
  const stores = { backups: memoryBackups(), vault: memoryVault() }
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-earlier-'))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  const sql = (text: string) => {
    const db = new DatabaseSync(join(dir, 'app.db'))
    db.exec(text)
    db.close()
  }
  const open = async (migrations: object = {}) => {
    const ctx = { environment: 't', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), ...stores }
    return sqlite.open(sqlite.config.parse({ path: 'app.db', writers: 'none', migrations }), ctx)
  }
  const pinned = async (name: Name): Promise<DatabasePin> => {
    sql(EARLIER[name])
    const { identity } = await (await open()).observe(signal)
    return { ...sqlite.pin.parse(PINS[name]), identity }
  }
  const propose = async (to: DatabasePin, rung: string, migrations: object = {}): Promise<Proposal> => {
    await using target = await open(migrations)
    return target.propose(ask(await target.observe(signal), to, rung))
  }
  const compared = async (to: DatabasePin) => {
    await using target = await open()
    return target.compare?.({ to, rows: 0, masked: true, backups: stores.backups, signal, progress() {} } as never)
  }

  it.each(Object.keys(EARLIER) as Name[])('is what is there where nothing changed: %s', async name => {
    const to = await pinned(name)
    for (const rung of ['leave', 'migrate-down', 'restore'])
      expect([rung, await propose(to, rung)]).toEqual([rung, NOTHING])
    expect(await compared(to)).toMatchObject({ shape: [], parts: [] })
  })

  it('is gone back to: what was applied since is undone', async () => {
    const to = await pinned('PLAIN')
    const up = `ALTER TABLE orders ADD COLUMN x; INSERT INTO knex_migrations (name, batch) VALUES ('002_x', 2)`
    sql(up)
    const down = `ALTER TABLE orders DROP COLUMN x; DELETE FROM knex_migrations WHERE name = '002_x'`
    const program = `new (require('node:sqlite').DatabaseSync)(process.env.BACKOUT_DATABASE).exec(${JSON.stringify(down)})`
    const migrations = { down: [process.execPath, '-e', program] }
    const proposal = await propose(to, 'migrate-down', migrations)
    const verdicts = await walk(proposal, () => open(migrations))
    expect(verdicts.map(v => [v.step, v.after])).toEqual([
      ['db/backup', 'done'],
      ['db/migrate-down/002_x', 'done'],
    ])
    expect(await propose(to, 'migrate-down')).toEqual(NOTHING)
  })

  it('is proven and restored, with the tables that it left out for their names', async () => {
    sql(EARLIER.ALIKE)
    await using target = await open()
    const act = { ...stepAct(), ...stores, purpose: 'release', release: 'v1' } as const
    const now = await target.capture(await target.observe(signal), act)
    const made = await stores.backups.get(now.backup ?? '')
    const { level, schema, fingerprint } = sqlite.pin.parse(PINS.ALIKE)
    const kept = made.facts as Record<string, unknown>
    const facts = toJson({ ...kept, level, schema, fingerprint: { ...fingerprint, method: now.fingerprint.method } })
    const backup: Backup = { ...made, facts }
    const backups = { ...stores.backups, get: async () => backup, list: async () => [backup] }
    const to = { ...now, level, schema, fingerprint }
    sql(`DELETE FROM orders WHERE id = 1; DELETE FROM schema_migrations WHERE version = 'spring'`)
    await using later = await sqlite.open(sqlite.config.parse({ path: 'app.db', writers: 'none' }), {
      environment: 't',
      component: 'db',
      baseDir: dir,
      stateDir: join(dir, 'state'),
      ...stores,
      backups,
    })
    const proposal = await later.propose(ask(await later.observe(signal), to, 'restore'))
    expect(proposal.findings.filter(f => f.level === 'blocker')).toEqual([])
    for (const step of proposal.steps.filter(s => /restore.(load|swap)$/.test(s.id))) {
      const own = { ...stepAct(step, 'again'), backups }
      await later.apply(step, own)
      expect([step.id, (await later.verify(step, own)).is]).toEqual([step.id, 'done'])
    }
    const db = new DatabaseSync(join(dir, 'app.db'))
    expect(db.prepare('SELECT count(*) AS n FROM schema_migrations').get()).toEqual({ n: 2 })
    db.close()
  })

  it('says what only bears the name of bookkeeping, once it is captured anew', async () => {
    sql(EARLIER.ALIKE)
    await using target = await open()
    const act = { ...stepAct(), ...stores, purpose: 'departure', release: 'v1' } as const
    const pin = await target.capture(await target.observe(signal), act)
    expect(pin.level).toEqual({ tool: 'knex', table: 'knex_migrations', applied: ['001_start'] })
    expect(pin.fingerprint.tables['schema_migrations']?.rows).toBe(2)
  })
})
