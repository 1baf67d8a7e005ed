import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import type { Step } from '../../core/contract.ts'
import type { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { factsIn } from '../../data/flow/facts.ts'
import { type Between, type Migration, makeBetween, ORDERS, RENAME, RENAME_BACK } from './test/renamed.ts'

const DROPPED =
  'ALTER TABLE orders DROP COLUMN discount; ALTER TABLE orders DROP COLUMN total_cents; ALTER TABLE orders ADD COLUMN total INTEGER'

describe('C11 D5: what was renamed is there again once the migrations are undone', () => {
  let world: Between
  afterEach(() => world.dispose())

  /** Upgrades, lets the bad release write, and makes the backup. Answers the steps that are left. */
  async function backedUp(migrations: Record<string, Migration> | string, since = NEW_ROWS, base = ORDERS) {
    const all = typeof migrations === 'string' ? { '002_bad': { up: RENAME, down: migrations } } : migrations
    world = await makeBetween(base, all)
    world.sql(since)
    const [backup, ...downs] = (await world.propose()).steps as [Step, ...Step[]]
    await (await world.open()).apply(backup, world.act(backup))
    return downs as [Step, ...Step[]]
  }
  const NEW_ROWS = `INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01', 5), (6, 81, 'new', '2026-02-02', NULL)`
  const totals = () => world.sql('SELECT total FROM orders ORDER BY id').map(row => row['total'])
  const verify = async (step: Step) => (await world.open()).verify(step, world.act(step))
  const apply = async (step: Step, settings = {}) => (await world.open(settings)).apply(step, world.act(step))
  const failing = (step: Step, settings = {}) =>
    apply(step, settings).then(
      () => Promise.reject(new Error('it did not fail')),
      (error: unknown) => error as BackoutError,
    )

  it('tells so, rows of the bad release included, and writes aside only what is lost', async () => {
    const [down] = await backedUp(RENAME_BACK)
    const backup = await world.own()
    expect(factsIn(backup, 'sqlite')?.renames).toEqual([
      { was: { table: 'orders', column: 'total' }, now: { table: 'orders', column: 'total_cents' } },
    ])
    expect(await readdir(join(backup.dir, 'lost'))).toEqual(['orders.discount.ndjson'])
    expect((await verify(down)).is).toBe('not-done')
    await apply(down)
    expect((await verify(down)).is).toBe('done')
    expect(totals()).toEqual([100, 250, null, 990, 70, 81])
    expect(world.facts.map(f => f.text)).toContain(
      `orders.total holds what orders.total_cents held, in all 6 rows of the backup ${backup.id}`,
    )
    expect(world.facts.flatMap(f => (f.kind === 'lost' ? [f.data] : []))).toMatchObject([{ what: 'orders.discount' }])
  })

  it('asks nobody to accept a loss that is none', async () => {
    const [down] = await backedUp(RENAME_BACK)
    const asked: string[] = []
    const accepts = (loss: readonly { what: string }[]) => asked.push(...loss.map(l => l.what)) > 0
    await (await world.open()).apply(down, world.act(down, { accepts }))
    expect(asked).toEqual(['orders.discount'])
  })

  it('is not done where the down-script drops instead, says how much and where it is; goes on once it was brought back', async () => {
    const [down] = await backedUp(DROPPED)
    const error = await failing(down)
    const { dir, id } = await world.own()
    const copy = join(dir, 'database.sqlite')
    expect(error.format()).toBe(
      [
        'error [column_not_back]: After undoing 002_bad, orders.total does not hold what orders.total_cents held',
        'cause: orders.total: of 6 rows 5 hold something else',
        `       the content is in the backup ${id} (${copy}: orders.total_cents)`,
        `next:  bring it back in ${world.file}: ATTACH '${copy}' AS kept; UPDATE "orders" SET "total" = k."total_cents" FROM kept."orders" AS k WHERE "orders"."id" = k."id"; DETACH kept; then resume the run. Or take the rung \`restore\``,
      ].join('\n'),
    )
    const why = 'orders.total: of 6 rows 5 hold something else'
    expect(await verify(down)).toEqual({ is: 'not-done', why })
    expect((await failing(down)).code).toBe('column_not_back')
    world.sql(/ATTACH .* DETACH kept/.exec(error.next ?? '')?.[0] ?? '')
    expect((await verify(down)).is).toBe('done')
    expect(totals()).toEqual([100, 250, null, 990, 70, 81])
  })

  it.each([
    [
      'leaves no place for it',
      'ALTER TABLE orders DROP COLUMN discount; ALTER TABLE orders DROP COLUMN total_cents',
      'orders.total is not there: 6 rows are without it',
    ],
    [
      'changes one row of the bad release',
      `${RENAME_BACK}; UPDATE orders SET total = 0 WHERE id = 6`,
      'orders.total: of 6 rows 1 hold something else',
    ],
    ['deletes rows', `${RENAME_BACK}; DELETE FROM orders WHERE id > 4`, 'orders.total: of 6 rows 2 are gone'],
    [
      'mixes rows up',
      `${RENAME_BACK}; UPDATE orders SET total = 350 - total WHERE id < 3`,
      'orders.total: of 6 rows 2 hold something else',
    ],
  ])('is not done where the down-script %s', async (_, script, why) => {
    const [down] = await backedUp(script)
    const error = await failing(down)
    expect([error.code, error.why]).toEqual(['column_not_back', expect.stringContaining(why)])
    expect(await verify(down)).toEqual({ is: 'not-done', why })
  })

  it('lets rows go whose loss was declared, and nothing else', async () => {
    const loses = [
      { migration: '002_bad', what: 'orders of the bad release', sql: 'SELECT count(*) FROM orders WHERE id > 4' },
    ]
    const [down] = await backedUp(`${RENAME_BACK}; DELETE FROM orders WHERE id > 4`)
    await apply(down, { loses })
    const target = await world.open({ loses })
    expect((await target.verify(down, world.act(down))).is).toBe('done')
  })

  it('knows a table that was built anew in another order by its rows', async () => {
    const base = `CREATE TABLE codes (code TEXT PRIMARY KEY, used INTEGER, max INTEGER); INSERT INTO codes VALUES ('b', 1, 9), ('a', 2, 8)`
    const [down] = await backedUp(
      {
        '002_bad': {
          up: 'ALTER TABLE codes RENAME COLUMN used TO spent',
          down: `CREATE TABLE anew (code TEXT PRIMARY KEY, used INTEGER, max INTEGER);
            INSERT INTO anew SELECT code, spent, max FROM codes ORDER BY code; DROP TABLE codes; ALTER TABLE anew RENAME TO codes`,
        },
      },
      `INSERT INTO codes VALUES ('c', 3, 7)`,
      base,
    )
    await apply(down)
    expect((await verify(down)).is).toBe('done')
    expect(world.sql('SELECT used FROM codes ORDER BY code')).toEqual([{ used: 2 }, { used: 1 }, { used: 3 }])
  })

  it('compares after the last migration, over a name between', async () => {
    const [second, first] = (await backedUp(
      {
        '002_cents': {
          up: 'ALTER TABLE orders RENAME COLUMN total TO total_cents',
          down: 'ALTER TABLE orders RENAME COLUMN total_cents TO total',
        },
        '003_amount': {
          up: 'ALTER TABLE orders RENAME COLUMN total_cents TO amount',
          down: 'ALTER TABLE orders RENAME COLUMN amount TO total_cents',
        },
      },
      `INSERT INTO orders VALUES (5, 70, 'new', '2026-02-01')`,
    )) as [Step, Step]
    await apply(second)
    expect((await verify(second)).is).toBe('done')
    await apply(first)
    expect((await verify(first)).is).toBe('done')
    expect(totals()).toEqual([100, 250, null, 990, 70])
  })

  it('follows a table that was renamed', async () => {
    const up = 'ALTER TABLE orders RENAME TO purchases'
    const since = `INSERT INTO purchases VALUES (5, 70, 'new', '2026-02-01')`
    const [down] = await backedUp({ '002_bad': { up, down: 'ALTER TABLE purchases RENAME TO orders' } }, since)
    await apply(down)
    expect((await verify(down)).is).toBe('done')
    await world.dispose()
    const emptied = `${ORDERS.split(';')[0]}; DROP TABLE purchases`
    const [wrong] = await backedUp({ '002_bad': { up, down: emptied } }, since)
    const error = await failing(wrong)
    expect(error.message).toContain('orders does not hold what purchases held')
    expect(error.why).toContain('orders: of 5 rows 5 are gone')
  })

  it('undoes nothing where somebody wrote after the backup', async () => {
    const [down] = await backedUp(RENAME_BACK)
    world.sql(`INSERT INTO orders VALUES (7, 1, 'new', '2026-02-03', NULL)`)
    const error = await failing(down)
    expect(error).toMatchObject({
      code: 'written_since_backup',
      message: expect.stringContaining('orders.total_cents'),
    })
    expect(world.sql('SELECT name FROM knex_migrations')).toHaveLength(2)
  })

  it('counts as lost what no backup vouches for', async () => {
    world = await makeBetween(ORDERS, { '002_bad': { up: RENAME, down: RENAME_BACK } })
    const down = (await world.propose()).steps[1] as Step
    const act = world.act(down, { accepts: loss => loss.every(l => l.what !== 'orders.total_cents') })
    await expect((await world.open()).apply(down, act)).rejects.toMatchObject({ code: 'loss_not_accepted' })
  })

  it('cannot say once the backup that knows is gone', async () => {
    const [down] = await backedUp(DROPPED)
    await failing(down)
    const { id } = await world.own()
    const backups = { ...world.ctx.backups, get: () => Promise.reject(new Error(`no backup ${id}`)) }
    const verdict = await (await world.open()).verify(down, world.act(down, { backups }))
    expect(verdict).toEqual({ is: 'unknown', why: expect.stringContaining(`no backup ${id}`) })
  })

  it('finds by the sealed fingerprint what is not back where the copy was altered, though nobody can count it', async () => {
    const [down] = await backedUp(DROPPED)
    await truncate(join((await world.own()).dir, 'database.sqlite'), 4096)
    expect((await failing(down)).why).toContain('not every one of 6 rows is as it was')
  })

  it("goes by the fingerprint in the release where the release's backup is gone", async () => {
    world = await makeBetween(ORDERS, { '002_bad': { up: RENAME, down: RENAME_BACK } })
    world.sql(NEW_ROWS)
    const to = { ...world.pin, backup: 'gone' }
    const [backup, down] = (await world.propose('migrate-down', { to })).steps as [Step, Step]
    await apply(backup)
    expect(factsIn(await world.own(), 'sqlite')?.renames).toHaveLength(1)
    await apply(down)
    expect((await verify(down)).is).toBe('done')
  })

  it('stays done when the old release writes again', async () => {
    const [down] = await backedUp(RENAME_BACK)
    await apply(down)
    world.sql('UPDATE orders SET total = 0')
    expect(await verify(down)).toMatchObject({ is: 'done', why: expect.stringContaining('written to since') })
  })

  it.each([
    ['is done where all came back', RENAME_BACK, 'done'],
    ['is not done where it did not', DROPPED, 'not-done'],
  ])('checks what a killed process undid and did not check: %s', async (_, script, is) => {
    const [down] = await backedUp(script)
    const owner = join(world.dir, 'owner.ts')
    await writeFile(owner, ownerScript(world, down, await world.own()))
    const child = fork(owner, [], { stdio: 'inherit' })
    const handle = await new Promise<Json>(found =>
      child.on('message', (said: { ended?: boolean }) => (said.ended === true ? found(said as Json) : undefined)),
    )
    child.kill('SIGKILL')
    await once(child, 'exit')
    const db = new DatabaseSync(world.file, { readOnly: true })
    expect(db.prepare('SELECT name FROM knex_migrations').all()).toHaveLength(1)
    db.close()
    world.handles.set(down.id, handle)
    expect((await verify(down)).is).toBe(is)
    const again = apply(down).then(
      () => 'done',
      (error: BackoutError) => error.code,
    )
    expect(await again).toBe(is === 'done' ? 'done' : 'column_not_back')
  })
})

/** Undoes, and hangs before it looks at what came of it. */
function ownerScript(world: Between, step: Step, backup: object): string {
  const root = join(import.meta.dirname, '..', '..', '..')
  return `
import { sqlite } from ${JSON.stringify(join(root, 'src/adapters/sqlite/index.ts'))}
import { stepAct } from ${JSON.stringify(join(root, 'test/conformance/walk.ts'))}
const base = stepAct()
const backup = ${JSON.stringify(backup)}
const backups = { ...base.backups, list: async () => [backup], get: async () => backup }
const ctx = { environment: 'test', component: 'db', baseDir: ${JSON.stringify(world.dir)}, stateDir: ${JSON.stringify(join(world.dir, 'state'))}, backups, vault: base.vault }
const target = await sqlite.open(sqlite.config.parse(${JSON.stringify(world.settings)}), ctx)
setInterval(() => {}, 1000)
const note = async handle => {
  process.send(handle)
  if (handle.ended) await new Promise(() => {})
}
await target.apply(${JSON.stringify(step)}, { ...base, backups, idem: 'owner', note })
`
}
