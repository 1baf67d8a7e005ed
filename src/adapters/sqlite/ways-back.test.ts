import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DatabasePin } from '../../data/flow/settings.ts'
import { ask, makeShop, type Shop } from './test/shop.ts'

const signal = new AbortController().signal

describe('C11: what the files of the migrations say before they are undone', () => {
  let shop: Shop
  let pin: DatabasePin

  beforeEach(async () => {
    shop = await makeShop()
    const target = await shop.open()
    pin = await target.capture(await target.observe(signal), { ...shop.act(), purpose: 'release', release: 'v1' })
    shop.upgrade()
  })
  afterEach(() => shop.dispose())

  const write = async (files: Record<string, string>) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(shop.dir, path)), { recursive: true })
      await writeFile(join(shop.dir, path), text)
    }
  }
  const findings = async (migrations: object = {}, more: object = {}) => {
    const target = await shop.open({ migrations, ...more })
    const { findings } = await target.propose(ask(await target.observe(signal), pin, 'migrate-down'))
    return findings.filter(f => /^(?:down_script|migration_without)/.test(f.code)).map(f => `${f.level}: ${f.what}`)
  }
  const SCRIPTS = { downScripts: 'down/{name}.sql' }
  const DELETES = {
    'down/002_discount.sql': `DELETE FROM orders WHERE discount > 0; ALTER TABLE orders DROP COLUMN discount`,
    'down/003_coupons.sql': 'UPDATE coupons SET used = 0; DROP TABLE coupons',
  }

  it('names what a script deletes of the release, and not what is counted by the schema already', async () => {
    await write(DELETES)
    expect(await findings(SCRIPTS)).toEqual([
      'warning: Undoing 002_discount deletes from orders (down/002_discount.sql), which counting by the schema does not see',
    ])
  })

  it('says nothing of a script that takes its own migration out of the books', async () => {
    await write({
      'down/002_discount.sql': `ALTER TABLE orders DROP COLUMN discount; DELETE FROM knex_migrations WHERE name = '002_discount'`,
      'down/003_coupons.sql': 'DROP TABLE coupons',
    })
    expect(await findings(SCRIPTS)).toEqual([])
  })

  it('says nothing of it where the settings count it', async () => {
    await write(DELETES)
    const what = { migration: '002_discount', what: 'orders with a discount' }
    const loses = [{ ...what, sql: 'SELECT count(*) FROM orders WHERE discount > 0' }]
    expect(await findings(SCRIPTS, { loses })).toEqual([])
  })

  it('refuses where the files have no way back, and names what nobody can read ahead', async () => {
    await write({
      'migrations/002_discount.js': 'exports.up = knex => 1',
      'migrations/003_coupons.js': `exports.up = knex => 1; exports.down = knex => knex.schema.dropTable('coupons')`,
    })
    expect(await findings()).toEqual([
      'blocker: 002_discount has no way back (002_discount.js)',
      'warning: What these destroy beyond the schema cannot be read ahead: 003_coupons (003_coupons.js is a program)',
    ])
    expect(await findings({ runIn: 'shop' })).toEqual([])
    expect(await findings({ runIn: 'shop', files: 'migrations' })).toHaveLength(2)
  })

  it('warns of a way back that is empty', async () => {
    await write({
      'elsewhere/002_discount.js': 'exports.up = knex => 1; exports.down = async () => {}',
      'elsewhere/003_coupons.js': 'exports.up = knex => 1; exports.down = knex => { throw new Error("no") }',
    })
    expect(await findings({ files: 'elsewhere' })).toEqual([
      'blocker: 003_coupons says that it is irreversible (003_coupons.js)',
      'warning: 002_discount undoes nothing (002_discount.js)',
    ])
  })
})
