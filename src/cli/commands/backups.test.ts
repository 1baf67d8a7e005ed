import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { BUCKET, KEY, type S3Server, s3Server } from '../../../test/support/s3.ts'
import { makeToy, type Toy } from '../../../test/support/toy.ts'

const CONFIG = (more: string) => `environment: toy
components:
  shop:
    adapter: sqlite
    settings: { path: shop.db, writers: none, compatible: never, rungs: [restore], carryForward: 'off' }
backups:
${more}
`

let s3: S3Server
let toy: Toy
beforeAll(async () => {
  s3 = await s3Server()
})
afterAll(() => s3?.dispose())
beforeEach(async () => {
  toy = await makeToy()
  sql('CREATE TABLE orders (id INTEGER PRIMARY KEY, total); INSERT INTO orders VALUES (1, 5), (2, 7)')
})
afterEach(() => toy[Symbol.asyncDispose]())

function sql(text: string): void {
  const db = new DatabaseSync(join(toy.folder, 'shop.db'))
  db.exec(text)
  db.close()
}

async function ok(...argv: string[]): Promise<string> {
  const said = await toy.backout(argv, { S3_SECRET: KEY })
  expect({ argv, code: said.code, stderr: said.stderr }).toEqual({ argv, code: 0, stderr: '' })
  return said.stdout
}

const folderOf = (id: string) => join(toy.folder, '.backout/environments/toy/backups/shop', id)
interface Shown {
  id: string
  reason: string
  release: string
  stays: string | null
  held?: object
}
const listed = async () => JSON.parse((await ok('--json', 'backups')).trim().split('\n').at(-1) ?? '') as Shown[]

it('A1, C13: a release goes back by a backup that lies in the storage alone, and no secret is told', async () => {
  const s3Of = (secret: string) =>
    `  s3: { endpoint: '${s3.endpoint}', bucket: ${BUCKET}, prefix: ops/, accessKey: ${KEY}, secretKey: '${secret}' }\n  keepLocal: 1`
  await toy.write('backout.yaml', CONFIG(s3Of('${env:S3_SECRET}')))
  await ok('capture', 'v1', '--known-good')
  sql('UPDATE orders SET total = total * 100; CREATE TABLE refunds (id)')
  await ok('capture', 'v2')
  const [v2, v1] = await listed()
  expect([v1?.release, v2?.release]).toEqual(['v1', 'v2'])
  expect(await readdir(folderOf(v1?.id ?? ''))).toEqual(['backup.json'])
  const { stdout } = await toy.backout(['doctor'], { S3_SECRET: KEY })
  expect(stdout.replaceAll(/\s+/g, ' ')).toContain('backups are copied to s3://shop-backups/ops/, which answers')
  const run = await ok('run', '--to', 'v1', '--yes', '--loss-window', '1h')
  const db = new DatabaseSync(join(toy.folder, 'shop.db'), { readOnly: true })
  expect(
    db
      .prepare('SELECT total FROM orders')
      .all()
      .map(r => r['total']),
  ).toEqual([5, 7])
  db.close()
  await toy.write('backout.yaml', CONFIG(s3Of('${env:S3_OTHER}')))
  const denied = await toy.backout(['capture', 'v3'], { S3_OTHER: 'not-the-secret' })
  expect(denied).toMatchObject({ code: 3, stderr: expect.stringContaining('[storage_denied]') })
  expect(run + denied.stdout + denied.stderr).not.toContain('not-the-secret')
}, 120_000)

it('A1: prune says what goes, removes it where a person says so, and leaves what a release needs', async () => {
  await toy.write('backout.yaml', CONFIG('  keepLocal: 2'))
  await ok('capture', 'v1', '--known-good')
  for (const name of ['v2', 'v3', 'v4']) await ok('capture', name)
  const unset = await toy.backout(['backups', 'prune', '--yes'])
  expect(unset).toMatchObject({ code: 2, stderr: expect.stringContaining('[no_retention]') })
  await toy.write('backout.yaml', CONFIG('  keep: { last: 1, for: 0s }'))
  const before = await listed()
  expect(before.map(b => [b.release, b.stays])).toEqual([
    ['v4', expect.stringContaining('v4 was captured last')],
    ['v3', null],
    ['v2', null],
    ['v1', 'the known-good release v1 goes back by it'],
  ])
  const asked = await toy.backout(['backups', 'prune'])
  expect(asked).toMatchObject({ code: 7, stdout: expect.stringMatching(/2 backups, .+, are to go for good/) })
  expect(before.every(b => existsSync(folderOf(b.id)))).toBe(true)
  expect(await ok('backups', 'prune', '--yes')).toContain('Removed: 2 backups')
  expect((await listed()).map(b => b.release)).toEqual(['v4', 'v1'])
  expect(before.map(b => existsSync(folderOf(b.id)))).toEqual([true, false, false, true])
  expect(await ok('backups', 'prune', '--yes')).toContain('No backup is to go')
  expect(await ok('audit', 'verify')).not.toContain('broken')
}, 120_000)
