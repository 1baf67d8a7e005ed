import { appendFile, readdir, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Plan } from '../../core/plan.ts'
import { Folder, KNEX } from '../doctor/folder.fixture.ts'

const YAML = `environment: shop
components:
  db:
    adapter: sqlite
    settings: { path: shop.db, writers: none, compatible: never, rungs: [restore] }
backups: { keep: { last: 1, for: 0s } }
`

interface Shown {
  readonly id: string
  readonly reason: string
  readonly release: string
  readonly dir: string
  readonly stays: string | null
}

/** Every upgrade migrates, and its deployment says what by. */
async function upgraded(...releases: readonly string[]): Promise<Folder> {
  const folder = await Folder.make({ 'backout.yaml': YAML })
  await folder.database('shop.db', KNEX)
  await ok(folder, 'capture', 'v1', '--known-good')
  for (const [i, to] of releases.entries()) {
    await ok(folder, 'upgrade', 'begin', to)
    const name = `00${i + 2}_${to}.js`
    await folder.database(
      'shop.db',
      `CREATE TABLE ${to} (id INTEGER PRIMARY KEY); INSERT INTO knex_migrations VALUES (${i + 2}, '${name}', ${i + 2}, '')`,
    )
    await ok(folder, 'upgrade', 'migrated', to, '--wrote', 'none')
    await ok(folder, 'upgrade', 'end', to)
  }
  return folder
}

async function ok(folder: Folder, ...argv: string[]): Promise<string> {
  const said = await folder.run(...argv)
  expect({ argv, code: said.code, stderr: said.stderr }).toEqual({ argv, code: 0, stderr: '' })
  return said.stdout
}

async function json<T>(folder: Folder, ...argv: string[]): Promise<T> {
  return JSON.parse((await ok(folder, '--json', ...argv)).trim().split('\n').at(-1) ?? '') as T
}

const listed = (folder: Folder) => json<Shown[]>(folder, 'backups')
const told = (all: readonly Shown[]) => all.filter(b => b.reason === 'migrated')
const warned = async (folder: Folder) =>
  (await json<Plan>(folder, 'plan', '--to', 'v1')).findings.map(f => f.code).filter(c => c.startsWith('migrat'))

it('A1, C14: what a way back over several releases tells users by is kept, until somebody names it', async () => {
  await using folder = await upgraded('v2', 'v3', 'v4')
  const before = await listed(folder)
  expect(told(before).map(b => [b.release, b.stays])).toEqual([
    ['v4', expect.stringContaining('the way back to v1')],
    ['v3', 'the way back to v1 tells by it what users wrote from what the migrations did'],
    ['v2', 'the way back to v1 tells by it what users wrote from what the migrations did'],
  ])
  await ok(folder, 'backups', 'prune', '--yes')
  expect(told(await listed(folder)).map(b => b.release)).toEqual(['v4', 'v3', 'v2'])
  expect(await warned(folder)).toEqual([])

  const [, , v2] = told(before)
  const good = before.find(b => b.stays?.startsWith('the known-good release v1'))
  const refused = await folder.run('backups', 'prune', '--yes', '--also', good?.id ?? '')
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('[backup_needed]') })
  const unknown = await folder.run('backups', 'prune', '--yes', '--also', 'nope')
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('[backup_unknown]') })
  const said = await ok(folder, 'backups', 'prune', '--yes', '--also', v2?.id ?? '')
  expect(said).toContain('1 of them in spite of')
  expect(told(await listed(folder)).map(b => b.release)).toEqual(['v4', 'v3'])
  expect(await warned(folder)).toEqual(['migrations_untold'])
}, 120_000)

it('A1: what no way back needs any more goes, for the release before it is bad', async () => {
  await using folder = await upgraded('v2', 'v3')
  await ok(folder, 'release', 'mark', 'v1', 'bad', '--why', 'loses orders')
  await ok(folder, 'backups', 'prune', '--yes')
  expect(told(await listed(folder)).map(b => b.release)).toEqual(['v3'])
}, 120_000)

it('A2: doctor looks at the backup of right after migrating, as at those that are restored', async () => {
  await using folder = await upgraded('v2', 'v3')
  const said = async () => {
    const { checks } = await folder.doctor()
    return checks.filter(c => c.code.startsWith('migrated_')).map(c => [c.level, c.code, c.component, c.what])
  }
  expect(await said()).toEqual([
    [
      'note',
      'migrated_backup',
      'db',
      expect.stringMatching(/of db right after migrating to v3 is intact, never proven/),
    ],
  ])
  const [v3, v2] = told(await listed(folder))
  const [file] = (await readdir(v3?.dir ?? '')).filter(name => name !== 'backup.json')
  const path = join(v3?.dir ?? '', file ?? '')
  for (const damage of [() => appendFile(path, 'x'), () => truncate(path, 10), () => rm(path)]) {
    await damage()
    const why = expect.stringMatching(/migrating to v3 is not as it was made: .*could not tell what users wrote/)
    expect(await said()).toEqual([['warning', 'migrated_altered', 'db', why]])
  }
  for (const gone of [v3, v2]) await rm(gone?.dir ?? '', { recursive: true })
  expect(await said()).toEqual([
    ['warning', 'migrated_missing', 'db', expect.stringContaining('right after migrating to v2 is not there')],
    ['warning', 'migrated_missing', 'db', expect.stringContaining('right after migrating to v3 is not there')],
  ])
}, 120_000)
