import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import type { Mariadb } from '../../../../test/support/mariadb.ts'
import type { Dump } from '../../../../test/support/merge-oracle.ts'
import { archiveIn } from '../../../data/carry/archive.ts'
import type { CarryOutcome } from '../../../data/carry/index.ts'
import { readLines } from '../../../data/carry/lines.ts'
import type { ListedRow } from '../../../data/carry/rows.ts'
import type { CarrySource } from '../../../data/carry/source.ts'
import type { Image, Images } from '../../../data/engine.ts'
import type { Rename } from '../../../data/renames.ts'
import { mysqlSettings } from '../config.ts'
import { dialect } from '../dialect.ts'
import { mysqlEngine } from '../engine.ts'
import { imageOf } from '../image.ts'
import type { Access } from '../session.ts'

export interface Story {
  readonly base: readonly string[]
  readonly early: readonly string[]
  readonly release: readonly { readonly sql: string; readonly rename?: Rename }[]
  readonly meanwhile: readonly string[]
  readonly writes: readonly string[]
  readonly after: readonly string[]
  readonly told: boolean
}

export interface Played {
  readonly source: CarrySource
  readonly names: Names
  readonly renames: readonly Rename[]
  /** What one of the databases holds: base, migrated, theirs, ours. */
  readonly dump: (which: keyof Names, own?: boolean) => Promise<Dump>
  /** References that lead nowhere. */
  readonly orphans: () => Promise<string[]>
  dispose(): Promise<void>
}

export type Names = Readonly<Record<'base' | 'migrated' | 'theirs' | 'ours', string>>

const NEVER = new AbortController().signal
let made = 0

/** Plays a release and a restore on databases of one server. What the database refuses was never committed. */
export async function played(server: Mariadb, story: Story): Promise<Played> {
  made++
  const of = (name: string) => `${name}_${made}`
  const names = { base: of('base'), migrated: of('migrated'), theirs: of('theirs'), ours: of('ours') }
  await run(server, names.base, story.base)
  await run(server, names.ours, [...story.base, ...story.after])
  const upTo = [...story.base, ...story.early]
  const release = story.release.map(c => c.sql)
  const whole = [...upTo, ...release, ...story.meanwhile]
  await run(server, names.migrated, whole)
  const done = (await run(server, names.theirs, [...whole, ...story.writes])).slice(upTo.length)
  const renames = story.release.flatMap((c, i) => (done[i] === true && c.rename !== undefined ? [c.rename] : []))
  const dir = await mkdtemp(join(tmpdir(), 'backout-carry-'))
  return {
    source: await sourceOf(server, dir, names, story.told, renames),
    renames,
    names,
    dump: (which, own = false) => dumpOf(server, names[which], own),
    orphans: () => orphansIn(server, names.ours),
    async dispose() {
      await rm(dir, { recursive: true, force: true })
      await server.sql(...Object.values(names).map(name => `DROP DATABASE ${name}`))
    },
  }
}

async function run(server: Mariadb, database: string, statements: readonly string[]): Promise<boolean[]> {
  await server.sql(`CREATE DATABASE ${database} CHARACTER SET utf8mb4`)
  const link = await createConnection({ socketPath: server.socket, user: 'root', database, charset: 'utf8mb4' })
  try {
    await link.query("SET sql_mode = 'ALLOW_INVALID_DATES'")
    const done: boolean[] = []
    for (const sql of statements) {
      done.push(
        await link.query(sql).then(
          () => true,
          () => false,
        ),
      )
    }
    return done
  } finally {
    await link.end()
  }
}

export async function sourceOf(
  server: Pick<Mariadb, 'socket'>,
  dir: string,
  names: Names,
  told: boolean,
  renames: readonly Rename[],
): Promise<CarrySource> {
  const settings = (database: string) => mysqlSettings.parse({ socket: server.socket, user: 'root', database })
  const engine = mysqlEngine(settings(names.ours), '/')
  const access: Access = {
    server: settings(names.ours),
    baseDir: '/',
    connectLimit: 20_000,
    busyLimit: 10_000,
    own: new Set(),
  }
  const images: Images = {
    base: imageOf(access, names.base),
    theirs: imageOf(access, names.theirs),
    migrated: told ? imageOf(access, names.migrated) : null,
  }
  const schemaOf = (image: Pick<Image, 'reading'>) => image.reading(NEVER, db => db.schema())
  return {
    component: 'db',
    run: 'run-1',
    dialect: engine.dialect,
    dir: join(dir, 'carry'),
    images,
    ownWork: false,
    touched: null,
    untold: null,
    renames,
    doubts: [],
    schemas: {
      ours: await schemaOf(engine),
      base: await schemaOf(images.base),
      theirs: await schemaOf(images.theirs),
      migrated: images.migrated === null ? null : await schemaOf(images.migrated),
    },
    merging: job => engine.merging(images, job),
  }
}

/** Everything that one database holds, as exact texts; read without any of the code that merges. */
export async function dumpOf(server: Mariadb, database: string, own: boolean): Promise<Dump> {
  const columns = await server.sql(`SELECT TABLE_NAME AS t, COLUMN_NAME AS c, COLUMN_TYPE AS type
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '${database}' ORDER BY TABLE_NAME, ORDINAL_POSITION`)
  const tables = new Map<string, string[]>()
  for (const { t, c, type } of columns) {
    if (!own && String(t).startsWith('backout')) continue
    const list = tables.get(String(t)) ?? []
    list.push(`${dialect.text(dialect.quote(String(c)), String(type))} AS ${dialect.quote(String(c))}`)
    tables.set(String(t), list)
  }
  const out: [string, Record<string, string | null>[]][] = []
  for (const [name, list] of tables) {
    const rows = (await server.sql(`SELECT ${list.join(', ')} FROM ${database}.${dialect.quote(name)}`)) as Record<
      string,
      string | null
    >[]
    const plain = rows.map(row => ({ ...row }))
    out.push([name, plain.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))])
  }
  return Object.fromEntries(out)
}

async function orphansIn(server: Mariadb, database: string): Promise<string[]> {
  const keys =
    await server.sql(`SELECT TABLE_NAME AS t, COLUMN_NAME AS c, REFERENCED_TABLE_NAME AS p, REFERENCED_COLUMN_NAME AS k
    FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = '${database}' AND REFERENCED_TABLE_NAME IS NOT NULL`)
  const found: string[] = []
  for (const { t, c, p, k } of keys) {
    const [row] = await server.sql(`SELECT COUNT(*) AS n FROM ${database}.${String(t)} AS c
      WHERE c.${String(c)} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ${database}.${String(p)} AS p WHERE p.${String(k)} = c.${String(c)})`)
    if (Number(row?.['n']) > 0) found.push(`${String(t)}.${String(c)}: ${String(row?.['n'])}`)
  }
  return found
}

export async function listedIn(source: CarrySource, { archive }: CarryOutcome): Promise<ListedRow[]> {
  const out: ListedRow[] = []
  for (const part of archive.parts.filter(p => p.what === 'conflicts')) {
    await readLines(archiveIn(source.dir), part, row => void out.push(row as ListedRow))
  }
  return out
}
