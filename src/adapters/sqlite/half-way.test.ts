import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import type { Proposal, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { sqlite } from './index.ts'
import { ask, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

/** A tool that keeps its head only, and marks it before it works: golang-migrate. */
const GOOD = `CREATE TABLE accounts (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO accounts VALUES (1, 1), (2, 2), (3, 3), (4, 4);
  CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, dirty BOOLEAN NOT NULL); INSERT INTO schema_migrations VALUES (2, 0)`

describe('C11 C13: a way back that ends half way, or somewhere else, is never called done', () => {
  let shop: Shop
  let pin: DatabasePin
  beforeEach(async () => {
    shop = await makeShop()
    await writeFile(join(shop.dir, 'good.db'), '')
    sql(GOOD)
    await using target = await open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    sql('UPDATE accounts SET v = v * 100; UPDATE schema_migrations SET version = 3')
  })
  afterEach(() => shop.dispose())

  const sql = (text: string) => {
    const db = new DatabaseSync(join(shop.dir, 'good.db'))
    db.exec(text)
    db.close()
  }
  const open = (script = ''): Promise<Target<DatabasePin>> => {
    const down = [process.execPath, '-e', `const db = new (require('node:sqlite').DatabaseSync)('good.db'); ${script}`]
    return Promise.resolve(sqlite.open(sqlite.config.parse({ path: 'good.db', migrations: { down } }), shop.ctx))
  }
  const proposed = async (rung: string): Promise<Proposal> => {
    await using target = await open()
    return target.propose(ask(await target.observe(signal), pin, rung))
  }
  const down = async (script: string) => {
    const handles = new Map<string, Json>()
    const [backup, step] = (await proposed('migrate-down')).steps as [Step, Step]
    await using target = await open(script)
    await target.apply(backup, stepAct(backup, 'half', handles))
    const failed: unknown = await target.apply(step, stepAct(step, 'half', handles)).then(
      () => null,
      (error: unknown) => error,
    )
    const again: unknown = await target.apply(step, stepAct(step, 'half', new Map())).then(
      () => null,
      (error: unknown) => error,
    )
    return { failed, again, verdict: await target.verify(step, stepAct(step, 'half', handles)) }
  }

  it('where the tool marks it as half done', async () => {
    const { failed, again, verdict } = await down(
      `db.exec("UPDATE schema_migrations SET version = 2, dirty = 1; UPDATE accounts SET v = v / 100 WHERE id < 3"); process.exit(1)`,
    )
    expect(failed).toMatchObject({ code: 'down_failed' })
    expect(verdict).toEqual({ is: 'not-done', why: 'golang-migrate migration 2 began and did not end' })
    expect(again).toMatchObject({ code: 'migration_half_done' })
  })

  it('where it is not applied any more, and its command failed', async () => {
    const { verdict } = await down(`db.exec("UPDATE schema_migrations SET version = 2"); process.exit(1)`)
    expect(verdict).toEqual({
      is: 'unknown',
      why: '3 is not applied any more, but the command that undid it ended with code 1',
    })
  })

  it('where it went too far, and the tool keeps its head only', async () => {
    const { failed, verdict } = await down(`db.exec("UPDATE schema_migrations SET version = 1")`)
    expect(failed).toMatchObject({ code: 'down_too_far' })
    expect(verdict).toEqual({ is: 'not-done', why: '2 belongs to the release and is undone' })
    sql(`DROP TABLE schema_migrations; CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
      INSERT INTO alembic_version VALUES ('ae2')`)
    await using target = await open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    sql(`UPDATE alembic_version SET version_num = 'ae3'`)
    const other = await down(`db.exec("UPDATE alembic_version SET version_num = 'ae1'")`)
    expect(other.failed).toMatchObject({ code: 'level_not_as_released' })
    expect(other.verdict).toEqual({ is: 'not-done', why: 'it stands at ae1, the release at ae2' })
  })

  it('and nothing is undone where the database is behind the release', async () => {
    sql('UPDATE schema_migrations SET version = 1')
    const { findings, steps } = await proposed('migrate-down')
    expect(findings.find(f => f.level === 'blocker')).toMatchObject({ code: 'migrations_missing' })
    expect(steps.filter(step => step.id.includes('migrate-down'))).toEqual([])
  })

  it('by a restore that was not put in place, where only the bookkeeping differs', async () => {
    sql('UPDATE accounts SET v = v / 100; UPDATE schema_migrations SET dirty = 1')
    const handles = new Map<string, Json>()
    const [backup, load, swap] = (await proposed('restore')).steps as [Step, Step, Step]
    await using target = await open()
    const act = (step: Step) => stepAct(step, `half-${shop.dir.slice(-6)}`, handles)
    for (const step of [backup, load]) await target.apply(step, act(step))
    expect(await target.verify(swap, act(swap))).toEqual({
      is: 'not-done',
      why: expect.stringContaining('what the migration tool keeps differs') as string,
    })
    await target.apply(swap, act(swap))
    expect((await target.verify(swap, act(swap))).is).toBe('done')
    expect((await target.observe(signal)).state).toMatchObject({ level: pin.level })
  })

  it('and the comparison with the release tells it', async () => {
    sql('UPDATE accounts SET v = v / 100; UPDATE schema_migrations SET dirty = 1')
    await using target = await open()
    const act = { ...shop.act(), to: pin, rows: 0, values: false }
    expect((await target.compare?.(act))?.shape).toEqual([
      'migrations were applied since: 3',
      'migrations are not applied any more: 2',
      'golang-migrate migration 3 began and did not end',
    ])
  })
})
