import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { mysqlSettings } from '../../src/adapters/mysql/config.ts'
import { dialect } from '../../src/adapters/mysql/dialect.ts'
import { mysqlEngine } from '../../src/adapters/mysql/engine.ts'
import { imageOf } from '../../src/adapters/mysql/image.ts'
import { MysqlMerger } from '../../src/adapters/mysql/merging.ts'
import { type Names, sourceOf as mysqlSource } from '../../src/adapters/mysql/test/merge.ts'
import { sourceOf as postgresSource } from '../../src/adapters/postgres/test/merge.ts'
import { engineOf, imageAt } from '../../src/adapters/postgres/test/support.ts'
import { sqliteEngine } from '../../src/adapters/sqlite/engine.ts'
import { frozenImage } from '../../src/adapters/sqlite/image.ts'
import type { CarrySource } from '../../src/data/carry/source.ts'
import type { Engine, Images, Job } from '../../src/data/engine.ts'
import { sourceOf as sqliteSource } from '../../test/support/merge.ts'
import { carry } from './carrying.ts'
import { dumped, findDifferences, printing, prove } from './databases.ts'

/** How a process reaches what another one made: databases `bench`, `other` with 1,000 rows that differ, `live`, and a merge. */
export type Access =
  | { kind: 'postgres'; settings: Record<string, unknown>; merge: readonly [string, string, string, string] }
  | { kind: 'mysql'; socket: string; merge: Names }
  | { kind: 'sqlite'; dir: string; merge: string }

interface Subject {
  readonly engine: Engine
  /** The live database of a diff, and what is compared beside it. */
  readonly live: Pick<Engine, 'merging' | 'dialect'>
  readonly images: Images
  readonly source: (dir: string) => Promise<CarrySource>
}

export function subjectOf(access: Access): Subject {
  if (access.kind === 'postgres') return onPostgres(access)
  return access.kind === 'mysql' ? onMysql(access) : onSqlite(access)
}

type Of<Kind> = Extract<Access, { kind: Kind }>

function onPostgres(access: Of<'postgres'>): Subject {
  const server = { settings: (database: string, more = {}) => ({ ...access.settings, database, ...more }) }
  const images = { base: imageAt(server, 'bench'), theirs: imageAt(server, 'other'), migrated: null }
  const source = (dir: string) => postgresSource(server, dir, access.merge, true, [])
  return { engine: engineOf(server, 'bench'), live: engineOf(server, 'live'), images, source }
}

function onMysql({ socket, merge }: Of<'mysql'>): Subject {
  const settings = (database: string) => mysqlSettings.parse({ socket, user: 'root', database })
  // One way to the server, as the databases beside the live one have it: they are read where they lie.
  const limits = { connectLimit: 5_000, busyLimit: 2_000 }
  const way = { server: settings('live'), baseDir: '/', ...limits, own: new Set<number>() }
  const here = (names: { base: string; theirs: string; migrated: string | null }): Images => {
    const { base, theirs, migrated } = names
    const at = (name: string) => imageOf(way, name)
    return { base: at(base), theirs: at(theirs), migrated: migrated === null ? null : at(migrated) }
  }
  const mergingInto = (database: string) => (images: Images | null, job: Job) =>
    MysqlMerger.open({ live: way, database }, images, job)
  const source = async (dir: string) => {
    const images = here(merge)
    const merging = (job: Job) => mergingInto(merge.ours)(images, job)
    return { ...(await mysqlSource({ socket }, dir, merge, true, [])), images, merging }
  }
  const images = here({ base: 'bench', theirs: 'other', migrated: null })
  return {
    engine: mysqlEngine(settings('bench'), '/'),
    live: { dialect, merging: mergingInto('live') },
    images,
    source,
  }
}

function onSqlite(access: Of<'sqlite'>): Subject {
  const file = (name: string) => join(access.dir, `${name}.db`)
  const engineAt = (name: string) =>
    sqliteEngine({ path: file(name), baseDir: access.dir, stateDir: access.dir, busyMs: 1000 })
  const images = { base: frozenImage(file('bench')), theirs: frozenImage(file('other')), migrated: null }
  const at = (name: string) => join(access.merge, `${name}.db`)
  const files = { ours: at('ours'), theirs: at('theirs'), base: at('base'), migrated: at('migrated') }
  const source = async (dir: string) => sqliteSource(dir, files, [])
  return { engine: engineAt('bench'), live: engineAt('live'), images, source }
}

/** What is measured of a database. */
export const ACTIONS = {
  fingerprint: async ({ engine }: Subject) => (await printing(engine))(),
  dump: ({ engine }: Subject, dir: string) => dumped(engine, dir),
  proof: async ({ engine }: Subject, dir: string) => prove(engine, await dumped(engine, dir)),
  diff: ({ live, images }: Subject) => findDifferences(live, images),
  carry: async ({ source }: Subject, dir: string) => carry(await source(dir)),
} as const
export type Action = keyof typeof ACTIONS

export async function act(access: Access, action: Action, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true })
  await ACTIONS[action](subjectOf(access), dir)
}
