import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import { stepAct } from '../conformance/walk.ts'
import { carriedOut, proposed, type System, signal, type World } from '../rungs/world.ts'
import { carrySystems, said } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems: SYSTEMS } = carrySystems()

/** What one upgrade does, and users after it. `said`: what the deployment says of its migration. */
interface Upgrade {
  readonly up: string | null
  readonly said: { readonly wrote?: readonly string[] } | 'nothing'
  readonly writes: readonly string[]
}

const BASE = [
  'CREATE TABLE knex_migrations (id int NOT NULL PRIMARY KEY, name varchar(50), batch int, migration_time varchar(30))',
  `INSERT INTO knex_migrations (id, name, batch) VALUES (1, '001_start', 1)`,
  'CREATE TABLE orders (id int NOT NULL PRIMARY KEY, total int, note varchar(40))',
  `INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c'), (4, 40, 'd')`,
]

/** Upgraded one after the other, each from a backup of its own; the pin is that before the first. `readable`: its files are there. */
async function upgraded(
  system: System,
  upgrades: readonly Upgrade[],
  readable = true,
  hidden = new Set<string>(),
): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-two-'))
  await mkdir(join(dir, 'up'))
  const { backups, vault } = stepAct()
  const ctx = {
    environment: 'test',
    component: `db${dir.slice(-6)}`,
    baseDir: dir,
    stateDir: join(dir, 'state'),
    backups: {
      ...backups,
      list: async (component: string) => (await backups.list(component)).filter(b => !hidden.has(b.id)),
    },
    vault,
  }
  const migrations = readable ? { upScripts: 'up/{name}.sql' } : {}
  const open = () => system.open({ writers: 'none', migrations }, ctx)
  await system.run(BASE)
  let pin: DatabasePin | null = null
  for (const [i, { up, said, writes }] of upgrades.entries()) {
    await using target = await open()
    const begun = await target.capture(await target.observe(signal), {
      ...stepAct(),
      purpose: 'release',
      release: `R${i}`,
    })
    pin ??= begun
    const name = `00${i + 2}_x`
    if (up !== null) {
      const noted = `INSERT INTO knex_migrations (id, name, batch) VALUES (${i + 2}, '${name}', ${i + 2})`
      expect(await system.run([up, noted])).toEqual([true, true])
      await writeFile(join(dir, 'up', `${name}.sql`), up)
    }
    if (said !== 'nothing')
      await target.migrated?.({ ...stepAct(), ...said, release: `R${i + 1}`, upgrade: `u${i}`, usersAway: false })
    expect(await system.run(writes)).not.toContain(false)
  }
  if (pin === null) throw new Error('there was no upgrade')
  return {
    pin,
    base: {},
    theirs: {},
    renames: [],
    open,
    dump: () => system.dump(),
    run: sql => system.run(sql),
    async [Symbol.asyncDispose]() {
      await system.dispose()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function wayBack(world: World): Promise<{ findings: string[]; orders: string[] }> {
  const proposal = await proposed(world, 'restore')
  await carriedOut(world, proposal, 'back')
  const untold = proposal.findings.filter(f => f.code === 'migrations_untold')
  return { findings: untold.map(f => f.what), orders: await ordersOf(world) }
}

async function ordersOf(world: World): Promise<string[]> {
  const rows = (await world.dump())['orders'] ?? []
  return rows.map(row => Object.values(row).join(' ').replaceAll("'", '')).sort()
}

const FIRST = [
  `UPDATE orders SET note = 'edited' WHERE id = 1`,
  'DELETE FROM orders WHERE id = 2',
  `INSERT INTO orders (id, total, note) VALUES (5, 50, 'e')`,
]
const SECOND = [
  `UPDATE orders SET note = 'late' WHERE id = 3`,
  `INSERT INTO orders (id, total, note) VALUES (6, 60, 'f')`,
]
const ALL = ['1 10 edited', '3 30 late', '4 40 d', '5 50 e', '6 60 f']
const [ADD, MORE] = ['ALTER TABLE orders ADD COLUMN extra int', 'ALTER TABLE orders ADD COLUMN more int']

describe.for(SYSTEMS)('back over two releases on $name', ({ why, make }) => {
  const skipped = { timeout: LIMIT, skip: why !== null }

  it('users keep what they wrote between, also where the second migrated nothing', skipped, async () => {
    for (const up of [MORE, null]) {
      const upgrades = [
        { up: ADD, said: {}, writes: FIRST },
        { up, said: {}, writes: SECOND },
      ]
      await using world = await upgraded(await make(), upgrades)
      expect(await wayBack(world)).toEqual({ findings: [], orders: ALL })
    }
  })

  it('what was said of both counts where no file can be read', skipped, async () => {
    const upgrades = [
      { up: 'UPDATE orders SET total = total * 100', said: { wrote: ['orders.total'] }, writes: FIRST.slice(0, 2) },
      { up: MORE, said: { wrote: ['none'] }, writes: SECOND.slice(0, 1) },
    ]
    await using world = await upgraded(await make(), upgrades, false)
    expect(await wayBack(world)).toEqual({ findings: [], orders: ['1 10 edited', '3 30 late', '4 40 d'] })
  })

  it('it is said ahead where nobody can tell what the first one wrote', skipped, async () => {
    const upgrades = [
      { up: ADD, said: 'nothing' as const, writes: FIRST },
      { up: MORE, said: {}, writes: SECOND },
    ]
    await using world = await upgraded(await make(), upgrades, false)
    const { findings, orders } = await wayBack(world)
    expect(findings).toEqual([expect.stringContaining('somebody said when the last of them had ended only')])
    expect(orders).toContain('6 60 f')
  })

  it(
    'new rows wait where nobody told, and nearly all values of a column became others, until a word on them',
    skipped,
    async () => {
      const added = [`INSERT INTO orders (id, total, note) VALUES (5, 5000, 'e'), (6, NULL, 'f')`]
      const upgrades = [{ up: 'UPDATE orders SET total = total * 100', said: 'nothing' as const, writes: added }]
      await using world = await upgraded(await make(), upgrades, false)
      const { findings, orders } = await wayBack(world)
      expect(findings).toEqual([expect.stringContaining('so are rows that came since with a value in a column')])
      expect(orders).toEqual(['1 10 a', '2 20 b', '3 30 c', '4 40 d', '6  f'])
      const { left, plan } = await said(world)
      expect(left.map(t => t.conflicts)).toEqual([{ ambiguous: 4, rewritten: 1 }])
      expect(plan.notes).toContainEqual(
        expect.stringMatching(/^4 of 4 values of orders\.total .* rows that came since wait/),
      )
      await said(world, { table: 'orders', kind: 'rewritten', take: 'theirs' })
      expect((await ordersOf(world)).at(-2)).toBe('5 5000 e')
    },
  )

  it('it is said ahead where what told of the first one was pruned', skipped, async () => {
    const upgrades = [
      { up: ADD, said: { wrote: ['none'] }, writes: FIRST },
      { up: MORE, said: { wrote: ['none'] }, writes: SECOND },
    ]
    const hidden = new Set<string>()
    await using world = await upgraded(await make(), upgrades, false, hidden)
    const { backups } = stepAct()
    const base = await backups.get(world.pin.backup ?? '')
    const [last] = (await backups.list(base.component)).filter(b => b.reason === 'migrated')
    for (const { id } of await backups.list(base.component)) if (id !== base.id && id !== last?.id) hidden.add(id)
    const proposal = await proposed(world, 'restore')
    expect(proposal.findings.filter(f => f.code === 'migrations_untold').map(f => f.what)).toEqual([
      expect.stringContaining('somebody said when the last of them had ended only'),
    ])
  })

  it('what nobody told of names tables only', skipped, async () => {
    const upgrades = [{ up: 'UPDATE orders SET total = total * 100', said: 'nothing' as const, writes: SECOND }]
    await using world = await upgraded(await make(), upgrades)
    expect((await wayBack(world)).findings).toEqual([expect.stringContaining('what differs in orders may be')])
  })
})
