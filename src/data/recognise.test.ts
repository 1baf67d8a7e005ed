import { describe, expect, it } from 'vitest'
import { type Asked, isIn, isTable, ownTables, partsOf, recogniseAll, UNASKED } from './recognise.ts'

const FLYWAY = ['installed_rank', 'version', 'description', 'type', 'script', 'checksum', 'installed_on', 'success']
const PGROLL = ['schema', 'name', 'migration', 'parent', 'done']
const TYPEORM = ['id', 'timestamp', 'name']

type Tables = Record<string, string[]>
const found = (tables: Tables, asked: Partial<Asked> = {}) =>
  recogniseAll(tables, { ...UNASKED, home: 'public', ...asked }).found.map(f => `${f.tool.tool} ${f.table}`)
const own = (tables: Tables, asked: Partial<Asked> = {}) =>
  [...ownTables(tables, recogniseAll(tables, { ...UNASKED, home: 'public', ...asked }).found)].sort()

describe('C11: bookkeeping in several schemas, and what only bears its name', () => {
  it('finds every one, each in its schema, with the tables that are beside it there', () => {
    const tables = {
      'billing.flyway_schema_history': FLYWAY,
      flyway_schema_history: FLYWAY,
      'a.knex_migrations': ['id', 'name', 'batch', 'migration_time'],
      'a.knex_migrations_lock': ['index', 'is_locked'],
      'b.knex_migrations_lock': ['customer', 'note'],
      'b.schema_migrations': ['version'],
      'c.schema_migrations': ['version'],
      'c.ar_internal_metadata': ['key', 'value'],
      'd.ar_internal_metadata': ['key', 'value'],
    }
    expect(found(tables)).toEqual([
      'knex a.knex_migrations',
      'flyway flyway_schema_history',
      'flyway billing.flyway_schema_history',
      'rails c.schema_migrations',
      'dbmate b.schema_migrations',
    ])
    expect(own(tables)).toEqual([
      'a.knex_migrations',
      'a.knex_migrations_lock',
      'b.schema_migrations',
      'billing.flyway_schema_history',
      'c.ar_internal_metadata',
      'c.schema_migrations',
      'flyway_schema_history',
    ])
  })

  it('leaves an application its own tables, whatever they are called', () => {
    const tables = {
      'crm.migrations': ['id', 'name', 'timestamp', 'customer'],
      'crm.schema_migrations': ['version', 'note'],
      'crm.SequelizeMeta': ['name', 'value'],
      'crm.flyway_schema_history': ['id'],
      migrations: ['id', 'name'],
      users: ['id'],
    }
    expect(found(tables)).toEqual([])
    expect(found({ SequelizeMeta: ['name', 'createdAt', 'updatedAt'] })).toEqual(['sequelize SequelizeMeta'])
  })

  it('takes common names for the tool that the settings name only, and nothing where that has left nothing', () => {
    const tables = { knex_migrations: ['id', 'name', 'batch'], 'crm.migrations': TYPEORM, _prisma_migrations: ['id'] }
    expect(found(tables)).toEqual(['knex knex_migrations', 'typeorm crm.migrations'])
    expect(found(tables, { tool: 'knex' })).toEqual(['knex knex_migrations'])
    expect(found(tables, { tool: 'typeorm' })).toEqual(['typeorm crm.migrations', 'knex knex_migrations'])
    expect(found(tables, { tool: 'dbmate' })).toEqual([])
    expect(found({ schema_migrations: ['version'], ar_internal_metadata: ['key'] }, { tool: 'dbmate' })).toEqual([
      'dbmate schema_migrations',
    ])
  })

  it('takes the tables that the settings name and no others, also under names of their own', () => {
    const tables = {
      flyway_schema_history: FLYWAY,
      'billing.flyway_schema_history': FLYWAY,
      'jobs.my_migrations': ['id', 'name', 'batch', 'by'],
      'jobs.my_migrations_lock': ['index', 'is_locked'],
    }
    const asked = { table: 'Public.flyway_schema_history', also: { 'jobs.my_migrations': { tool: 'knex' } } }
    expect(found(tables, asked)).toEqual(['flyway flyway_schema_history', 'knex jobs.my_migrations'])
    const twice = { ...asked, also: { flyway_schema_history: {}, 'public.flyway_schema_history': {} } }
    expect(found(tables, twice)).toEqual(['flyway flyway_schema_history'])
    expect(own(tables, asked)).toEqual(['flyway_schema_history', 'jobs.my_migrations', 'jobs.my_migrations_lock'])
  })

  it('says which of those is not there, or is none', () => {
    const also = { 'x.y': {}, users: {}, people: { tool: 'knex' }, 'crm.migrations': {} }
    const tables = { users: ['id'], people: ['id'], 'crm.migrations': ['id'] }
    expect(recogniseAll(tables, { ...UNASKED, home: 'public', also }).amiss).toEqual([
      'there is no table x.y',
      'users is no name that a tool uses by itself: say its `tool`',
      'people does not look like the bookkeeping of knex',
      'crm.migrations does not look like the bookkeeping of a tool',
    ])
  })

  it('knows the one table that an earlier version took for it, where that is compared', () => {
    const note = ['version', 'note']
    const tables = { 'a.schema_migrations': note, 'b.schema_migrations': note, schema_migrations: ['version'] }
    expect(found(tables)).toEqual(['dbmate schema_migrations'])
    expect(found(tables, { loose: ['dbmate'] })).toEqual(['dbmate schema_migrations', 'dbmate a.schema_migrations'])
    expect(found(tables, { loose: ['dbmate'], table: 'schema_migrations' })).toEqual(['dbmate schema_migrations'])
  })

  it('counts all that is in a schema which a tool keeps for itself', () => {
    const tables = { orders: ['id'], 'pgroll.migrations': PGROLL, 'pgroll.pgroll_version': ['version'] }
    expect(own(tables)).toEqual(['pgroll.migrations', 'pgroll.pgroll_version'])
    expect(own({ 'drizzle.orders': ['id'], __drizzle_migrations: ['id', 'hash', 'created_at'] })).toEqual([
      '__drizzle_migrations',
    ])
    const names = ['function pgroll.f(a text)', 'sequence pgroll.s', 'schema pgroll', 'function pgrolled.f()', 'pgroll']
    expect(names.map(name => isIn(name, 'pgroll'))).toEqual([true, true, true, false, false])
  })

  it('reads names with dots and quotes in them', () => {
    expect(partsOf('"my.schema"."a""b"')).toEqual({ schema: 'my.schema', name: 'a"b' })
    expect(isTable('orders', 'public.Orders', 'public')).toBe(true)
    expect(isTable('billing.orders', 'orders', 'public')).toBe(false)
  })
})
