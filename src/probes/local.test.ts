import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { Secret } from '../core/secret.ts'
import { openProbe, probeConfig, type Sample } from './index.ts'

const signal = new AbortController().signal
let dir: string

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-probes-'))
})
afterAll(() => rm(dir, { recursive: true }))

function ask(settings: Record<string, unknown>): Promise<Sample> {
  return openProbe('p', probeConfig.parse(settings), dir).measure(signal)
}
const run = (run: unknown, more: Record<string, unknown> = {}) => ask({ kind: 'command', run, ...more })

describe('D2: a command', () => {
  it('passes or fails by its exit code, and says what it printed', async () => {
    expect(await run('exit 0')).toMatchObject({ ok: true, value: 0 })
    expect(await run('echo 3 of 40 tests failed >&2; exit 1')).toMatchObject({
      ok: false,
      value: 1,
      text: 'exit 1, not 0: 3 of 40 tests failed',
    })
    expect(await run('exit 4', { expect: { exit: [3, 4] } })).toMatchObject({ ok: true })
  })

  it('is held against its output', async () => {
    const json = 'echo \'{"lag": 12, "role": "primary"}\''
    expect(await run(json, { expect: { json: { '/lag': { max: 20 } } } })).toMatchObject({ ok: true, value: 12 })
    expect(await run(json, { expect: { json: { '/role': 'replica' } } })).toMatchObject({
      ok: false,
      text: '/role is "primary", not "replica"',
    })
    expect(await run('echo no', { expect: { json: { '': 1 } } })).toMatchObject({ ok: false })
    expect(await run('printf "a\\nready\\n"', { expect: { stdoutMatches: '^ready$' } })).toMatchObject({ ok: true })
    expect(await run('echo starting', { expect: { stdoutMatches: '^ready$' } })).toMatchObject({ ok: false })
  })

  it('has no data where it cannot be started, runs too long, or says so itself', async () => {
    expect(await run(['/no/such/program'])).toMatchObject({ ok: null })
    expect(await run('exit 0', { cwd: 'no-such-folder' })).toMatchObject({ ok: null })
    expect(await run('sleep 30', { timeout: '100ms' })).toMatchObject({ ok: null })
    expect(await run('exit 3', { inconclusive: [3] })).toMatchObject({ ok: null, value: null })
  })

  it('is told secrets, and shows none', async () => {
    const secret = new Secret('${env:KEY}', 's3same-open')
    const sample = await run('echo "key is $KEY"; exit 1', { env: { KEY: secret } })
    expect(sample.text).toBe('exit 1, not 0: key is [secret]')
    const late = await run(['sh', '-c', 'sleep 30', secret], { timeout: '100ms' })
    expect(late.text).not.toContain('s3same')
  })

  it('stops when told to', async () => {
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('told to stop')), 50)
    const probe = openProbe('p', probeConfig.parse({ kind: 'command', run: 'sleep 30' }), dir)
    await expect(probe.measure(stop.signal)).rejects.toThrow('told to stop')
  })
})

describe('D5: a query of a SQLite database', () => {
  const query = (query: string, expect: unknown, more: Record<string, unknown> = {}) =>
    ask({ kind: 'sqlite', path: 'shop.db', query, expect, ...more })

  beforeAll(() => {
    const db = new DatabaseSync(join(dir, 'shop.db'))
    db.exec("create table orders(id integer, note text); insert into orders values (1,'a'),(2,'b'),(3,null)")
    db.close()
  })

  it('holds the value and the rows against what is expected', async () => {
    const count = 'select count(*) from orders'
    expect(await query(count, { value: 3 })).toMatchObject({ ok: true, value: 3 })
    expect(await query(count, { value: { min: 1, max: 5 } })).toMatchObject({ ok: true })
    expect(await query(count, { value: { max: 2 } })).toMatchObject({
      ok: false,
      value: 3,
      text: 'shop.db: the value is 3, above 2',
    })
    expect(await query('select id from orders', { rows: 3 })).toMatchObject({ ok: true })
    expect(await query('select id from orders where id > 9', { rows: 0 })).toMatchObject({ ok: true, value: 0 })
    expect(await query('select id from orders where id > 9', { value: 1 })).toMatchObject({ ok: false })
    expect(await query('select null', { value: null })).toMatchObject({ ok: true })
    expect(await query('select 9223372036854775807', { value: '9223372036854775807' })).toMatchObject({ ok: true })
  })

  it('fails where the database refuses: no such table, no database, a write', async () => {
    await writeFile(join(dir, 'text.db'), 'not a database at all, '.repeat(100))
    expect(await query('select * from invoices', { rows: 0 })).toMatchObject({ ok: false })
    expect(await query('select * from orders', { rows: 1 }, { path: 'text.db' })).toMatchObject({ ok: false })
    expect(await query('delete from orders', { rows: 0 })).toMatchObject({ ok: false })
    expect(await query('select count(*) from orders', { value: 3 })).toMatchObject({ ok: true })
  })

  it('has no data where the file is missing, locked, or the answer takes too long', async () => {
    expect(await query('select 1', { rows: 1 }, { path: 'gone.db' })).toMatchObject({ ok: null })
    const endless = 'with recursive n(i) as (select 1 union all select i+1 from n) select max(i) from n'
    expect(await query(endless, { value: 1 }, { timeout: '200ms' })).toMatchObject({ ok: null })
    const holder = new DatabaseSync(join(dir, 'shop.db'))
    holder.exec('begin exclusive')
    const locked = await query('select count(*) from orders', { value: 3 }, { timeout: '600ms' })
    holder.close()
    expect(locked).toMatchObject({ ok: null })
    expect(locked.text).toContain('locked')
  })
})

it('the page on probes has examples that are valid', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/probes-and-gates.md'), 'utf8')
  const { probes } = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '') as { probes: Record<string, unknown> }
  const kinds = Object.values(probes).map(settings => probeConfig.parse(settings).kind)
  expect(kinds).toEqual(['http', 'http', 'command', 'sqlite'])
})
