import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Fact, Loss, Step, Target } from '../../core/contract.ts'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { withSides } from '../../data/flow/sides.ts'
import { changesOf, pairOf } from '../../data/flow/since.ts'
import { type Base, jobOf, type Site } from '../../data/flow/site.ts'
import { databaseTarget } from '../../data/flow/target.ts'
import { sqliteConfig } from './config.ts'
import { sqliteEngine } from './engine.ts'
import { ask, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

const ONLY_SOME = ['peek', 'both', 'stamp', 'copyAsIs', 'mending', 'rowNumber']

/** What is left of an engine that can do nothing that not every system can. */
function plain(engine: Base): Base {
  return { ...without(engine), dialect: without(engine.dialect) }
}

function without<T extends object>(all: T): T {
  const left = Object.entries(all).filter(([name]) => !ONLY_SOME.includes(name))
  return { ...Object.fromEntries(left), ...symbols(all) } as T
}

function symbols(all: object): object {
  return Symbol.asyncDispose in all ? { [Symbol.asyncDispose]: all[Symbol.asyncDispose] } : {}
}

function engineAt(dir: string, path: string): Base {
  return sqliteEngine({ path, baseDir: dir, stateDir: join(dir, 'state'), busyMs: 300 })
}

describe('a database whose system has only what all have', () => {
  let shop: Shop
  let target: Target<DatabasePin>
  let pin: DatabasePin
  beforeEach(async () => {
    shop = await makeShop()
    const { path: _path, busyLimit: _limit, ...settings } = sqliteConfig.parse({ path: 'data/shop.db' })
    target = databaseTarget(plain(engineAt(shop.dir, 'data/shop.db')), settings, shop.ctx)
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    shop.upgrade()
  })
  afterEach(() => shop.dispose())

  const counted = (loss: readonly Loss[]) => Object.fromEntries(loss.map(l => [l.what, l.count]))

  it('C11: says before a restore what it loses at most, and right before the swap what it loses', async () => {
    const proposal = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    const atMost = counted(proposal.impact.loss)
    expect(atMost).toEqual({ coupons: 2, 'orders.discount': 1, 'orders (added)': 3, 'orders (changed)': 3 })
    const facts: Fact[] = []
    let exact: Record<string, number> = {}
    const accepts = (loss: readonly Loss[]) => {
      exact = counted(loss)
      return loss.every(l => l.count <= (atMost[l.what] ?? 0))
    }
    for (const step of proposal.steps) {
      await target.apply(
        step,
        shop.act({ accepts, idem: `r.${step.id.replaceAll('/', '.')}`, tell: async f => void facts.push(f) }),
      )
    }
    expect(exact).toEqual({ coupons: 2, 'orders.discount': 1, 'orders (added)': 1, 'orders (changed)': 1 })
    expect(facts.find(f => f.data !== undefined && f.text.includes('is kept as'))?.text).toContain(
      '.before-r.db.restore',
    )
    expect(shop.sql('SELECT count(*) AS n FROM orders')).toEqual([{ n: 4 }])
  })

  it('A2: proves the backup again by loading it', async () => {
    const { steps } = await target.propose(ask(await target.observe(signal), pin, 'restore'))
    const [backup, load] = steps as [Step, Step]
    await target.apply(backup, shop.act({ idem: `b${shop.dir.slice(-6)}` }))
    await target.apply(load, shop.act({ idem: 'r2.db.restore.load' }))
    expect(await target.verify(load, shop.act({ idem: 'r2.db.restore.load' }))).toMatchObject({ is: 'done' })
    expect((await shop.ctx.backups.get(pin.backup ?? '')).proof?.ok).toBe(true)
  })
})

describe('C11 D5: what changed is counted alike in one session and side by side', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-sides-'))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  const cell = fc.oneof(fc.constantFrom('NULL', '0', '1', `''`, `'a'`, `'A'`, `x'61'`, '1.5'), fc.integer().map(String))
  const rows = fc.uniqueArray(fc.tuple(fc.integer({ min: -3, max: 12 }), cell, cell), {
    selector: r => r[0],
    maxLength: 12,
  })

  it.each([
    ['a key', 'a INTEGER PRIMARY KEY, b, c', true],
    ['a key of two columns', 'a, b, c, PRIMARY KEY (a, c)', false],
    ['no key', 'a, b, c', false],
  ])('of tables with %s', async (_, columns, modelled) => {
    await fc.assert(
      fc.asyncProperty(rows, rows, async (then, now) => {
        await rm(join(dir, 'a.db'), { force: true })
        const engine = engineAt(dir, 'a.db')
        fill(join(dir, 'a.db'), columns, then)
        const image = await dumpOf(engine, join(dir, 'copy'))
        fill(join(dir, 'a.db'), columns, now)
        const [one, beside] = [await count(engine, image), await count(plain(engine), image)]
        expect(beside).toEqual(one)
        if (modelled) expect(one).toEqual(expected(then, now))
      }),
      { numRuns: 25 },
    )
  })

  type Rows = readonly (readonly [number, string, string])[]

  function fill(file: string, columns: string, rows: Rows): void {
    const db = new DatabaseSync(file)
    db.exec(`DROP TABLE IF EXISTS t; CREATE TABLE t (${columns})`)
    for (const [a, b, c] of rows) db.exec(`INSERT OR IGNORE INTO t VALUES (${a}, ${b}, ${c})`)
    db.close()
  }

  async function dumpOf(engine: Base, to: string) {
    await rm(to, { recursive: true, force: true })
    await mkdir(to)
    await engine.dump(to, jobOf({ signal, progress: () => {} }), async () => null)
    const image = await engine.peek?.({ dir: to } as Parameters<NonNullable<Base['peek']>>[0])
    if (image === undefined) throw new Error('SQLite can')
    return image
  }

  function count(engine: Base, image: Awaited<ReturnType<typeof dumpOf>>) {
    return withSides(engine, image, signal, async sides => {
      const [then, now] = [
        (await image.reading(signal, db => db.schema())).tables['t'],
        (await sides.now.schema()).tables['t'],
      ]
      if (then === undefined || now === undefined) throw new Error('no table')
      return changesOf({ engine } as Site, sides, pairOf('t', then, now))
    })
  }

  function expected(then: Rows, now: Rows) {
    const old = new Map(then.map(r => [r[0], r.slice(1).join()]))
    const both = now.filter(r => old.has(r[0]))
    const changed = both.filter(r => old.get(r[0]) !== r.slice(1).join()).length
    return { added: now.length - both.length, deleted: then.length - both.length, changed }
  }
})
