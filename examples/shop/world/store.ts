import type { Paths } from './paths.ts'
import { sqliteStore } from './stores/sqlite.ts'

/** Kinds of databases that the shop can live on. */
export const KINDS = ['sqlite', 'postgres', 'mysql'] as const
export type Kind = (typeof KINDS)[number]

/** The database of one world, whatever it is. A copy of it has a name: letters and "_". */
export interface Store {
  /** As the shop and its migration tool take it. */
  url(copy?: string): string
  /** Backout's adapter, and what it has to be told to get there. */
  readonly adapter: Kind
  readonly settings: Readonly<Record<string, unknown>>
  /** SQL that says which database it is. */
  readonly version: string
  /** What the migration tool has to be told besides DATABASE_URL, which Backout's adapters of servers set. */
  readonly dbmate: readonly string[]
  /** How a column is written that numbers the rows. */
  readonly numbered: string
  /** SQL that says how everything is built, one line a thing. */
  readonly built: string
  /** Copies the database as it is at one moment, whoever writes meanwhile. */
  copy(name: string): Promise<void>
  /** Puts a copy in the place of the database, which is kept as the copy `aside`. Nobody may have it open. */
  put(copy: string, aside: string): Promise<void>
  /** Processes of its server. */
  pids(): number[]
  /** Ends the server, if there is one. */
  stop(): Promise<void>
}

/** Starts a database of its own. Throws where the server is not installed: ask `missing` first. */
export async function startStore(kind: Kind, paths: Paths): Promise<Store> {
  if (kind === 'postgres') return (await import('./stores/postgres.ts')).startPostgres(paths)
  if (kind === 'mysql') return (await import('./stores/mariadb.ts')).startMariadb(paths)
  return sqliteStore(paths)
}

/** What this machine lacks for such a database, and what to install; null: it is all there. */
export async function missing(kind: Kind): Promise<string | null> {
  if (kind === 'postgres') return (await import('./stores/postgres.ts')).missingPostgres()
  if (kind === 'mysql') return (await import('./stores/mariadb.ts')).missingMariadb()
  return null
}
