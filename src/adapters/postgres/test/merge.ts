import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from 'pg'
import type { Dump } from '../../../../test/support/merge-oracle.ts'
import type { PostgresServer } from '../../../../test/support/postgres.ts'
import { archiveIn } from '../../../data/carry/archive.ts'
import type { CarryOutcome } from '../../../data/carry/index.ts'
import { readLines } from '../../../data/carry/lines.ts'
import type { ListedRow } from '../../../data/carry/rows.ts'
import type { CarrySource } from '../../../data/carry/source.ts'
import type { Images } from '../../../data/engine.ts'
import type { Rename } from '../../../data/renames.ts'
import { engineOf, imageAt, never, type Reached } from './support.ts'

export interface Story {
  readonly base: readonly string[]
  readonly release: readonly { readonly sql: string; readonly rename?: Rename }[]
  /** What users wrote after the backup, before and after the migration ran. */
  readonly early?: readonly string[]
  readonly meanwhile?: readonly string[]
  readonly writes: readonly string[]
  readonly after: readonly string[]
  readonly told: boolean
}

export interface Played {
  readonly source: CarrySource
  readonly ours: string
  readonly names: readonly [base: string, migrated: string, theirs: string, ours: string]
  readonly renames: readonly Rename[]
  dispose(): Promise<void>
}

let made = 0

/** Plays a release and a restore on databases of one server. What the database refuses was never committed. */
export async function played(server: PostgresServer, story: Story): Promise<Played> {
  made++
  const names = (['base', 'migrated', 'theirs', 'ours'] as const).map(n => `${n}_${made}`) as [
    string,
    string,
    string,
    string,
  ]
  const [base, migrated, theirs, ours] = names
  const copy = (to: string, from: string) => server.sql(`CREATE DATABASE ${to} TEMPLATE ${from}`)
  await server.sql(`CREATE DATABASE ${base} TEMPLATE template0`)
  await run(server, base, story.base)
  await copy(theirs, base)
  await run(server, theirs, story.early ?? [])
  const done = await run(
    server,
    theirs,
    story.release.map(c => c.sql),
  )
  await run(server, theirs, story.meanwhile ?? [])
  await copy(migrated, theirs)
  await run(server, theirs, story.writes)
  await copy(ours, base)
  await run(server, ours, story.after)
  const renames = story.release.flatMap((c, i) => (done[i] === true && c.rename !== undefined ? [c.rename] : []))
  const dir = await mkdtemp(join(tmpdir(), 'backout-carry-'))
  const source = await sourceOf(server, dir, names, story.told, renames)
  return {
    source,
    ours,
    names,
    renames,
    async dispose() {
      await rm(dir, { recursive: true, force: true })
      await server.sql(names.map(name => `DROP DATABASE ${name} WITH (FORCE)`))
    },
  }
}

async function run(server: PostgresServer, database: string, statements: readonly string[]): Promise<boolean[]> {
  const client = await server.connect(database)
  try {
    const done: boolean[] = []
    for (const sql of statements) done.push(await works(client, sql))
    return done
  } finally {
    await client.end()
  }
}

function works(client: Client, sql: string): Promise<boolean> {
  return client.query(sql).then(
    () => true,
    () => false,
  )
}

export async function sourceOf(
  server: Reached,
  dir: string,
  [base, migrated, theirs, ours]: Played['names'],
  told: boolean,
  renames: readonly Rename[],
): Promise<CarrySource> {
  const engine = engineOf(server, ours)
  const images: Images = {
    base: imageAt(server, base),
    theirs: imageAt(server, theirs),
    migrated: told ? imageAt(server, migrated) : null,
  }
  const schemaOf = (database: string) => engineOf(server, database).reading(never, db => db.schema())
  return {
    component: 'db',
    run: 'run-1',
    // Read when it is used: what may be switched off is known once the merge was opened.
    get dialect() {
      return engine.dialect
    },
    dir: join(dir, 'carry'),
    images,
    ownWork: false,
    touched: null,
    untold: null,
    renames,
    doubts: [],
    schemas: {
      ours: await schemaOf(ours),
      base: await schemaOf(base),
      theirs: await schemaOf(theirs),
      migrated: told ? await schemaOf(migrated) : null,
    },
    merging: job => engine.merging(images, job),
  }
}

/** Everything that one database holds, as exact texts; read without any of the code that merges. */
export async function dumpOf(server: PostgresServer, database: string, own = false): Promise<Dump> {
  const client = await server.connect(database)
  try {
    await client.query(`SET extra_float_digits = 3; SET TimeZone = 'UTC'`)
    const tables = await client.query<{ name: string; list: string }>(
      `SELECT table_name AS name, string_agg(format('%1$I::text AS %1$I', column_name), ', ' ORDER BY ordinal_position) AS list
       FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name ORDER BY table_name`,
    )
    const out: [string, Record<string, string | null>[]][] = []
    for (const { name, list } of tables.rows.filter(t => own || !t.name.startsWith('backout'))) {
      const { rows } = await client.query<Record<string, string | null>>(`SELECT ${list} FROM "${name}"`)
      out.push([name, rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))])
    }
    return Object.fromEntries(out)
  } finally {
    await client.end()
  }
}

/** References that lead nowhere: with triggers off nobody else would notice. */
export async function orphans(server: PostgresServer, database: string): Promise<string[]> {
  const client = await server.connect(database)
  try {
    const keys = await client.query<{ t: string; sql: string }>(`
      SELECT k.conrelid::regclass::text AS t, format('SELECT count(*)::int AS n FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)',
        k.conrelid::regclass, string_agg(format('c.%I IS NOT NULL', a.attname), ' AND '), k.confrelid::regclass,
        string_agg(format('p.%I = c.%I', b.attname, a.attname), ' AND ')) AS sql
      FROM pg_constraint k, unnest(k.conkey, k.confkey) u(x, y)
      JOIN pg_attribute a ON a.attnum = u.x JOIN pg_attribute b ON b.attnum = u.y
      WHERE k.contype = 'f' AND a.attrelid = k.conrelid AND b.attrelid = k.confrelid GROUP BY k.oid, k.conrelid, k.confrelid`)
    const found: string[] = []
    for (const { t, sql } of keys.rows) {
      const { rows } = await client.query<{ n: number }>(sql)
      if (rows[0]?.n !== 0) found.push(`${t}: ${rows[0]?.n}`)
    }
    return found
  } finally {
    await client.end()
  }
}

export async function listedIn(source: CarrySource, { archive }: CarryOutcome): Promise<ListedRow[]> {
  const out: ListedRow[] = []
  for (const part of archive.parts.filter(p => p.what === 'conflicts')) {
    await readLines(archiveIn(source.dir), part, row => void out.push(row as ListedRow))
  }
  return out
}
