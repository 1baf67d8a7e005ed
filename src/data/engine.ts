import type { Backup } from '../core/contract.ts'
import type { Json } from '../core/json.ts'
import type { Fingerprint } from './fingerprint.ts'
import type { LargeObject, ObjectsAfter } from './objects.ts'
import type { Rename } from './renames.ts'
import type { ColumnShape, SchemaDifference, SchemaShape, TableShape } from './schema.ts'

export const DATABASE_KINDS = ['postgres', 'mysql', 'sqlite'] as const
export type DatabaseKind = (typeof DATABASE_KINDS)[number]

export function isDatabase(kind: string): kind is DatabaseKind {
  return DATABASE_KINDS.some(known => known === kind)
}

/**
 * What a database system is to Backout. An adapter describes one database by it; what all databases share (the rungs,
 * proofs, losses, carry-forward) is built on nothing else. Tables are named as in `SchemaShape`: `orders` in the schema
 * that the connection looks in first, else `sales.orders`, with parts quoted where they hold a dot or a quote.
 */
export interface Engine extends AsyncDisposable {
  readonly dialect: Dialect
  /** For people: "shop on db1:5432". Holds no secret. */
  readonly name: string
  /** Which database this is. Stays the same over restores by `swap`. Throws `database_unreachable` where it cannot be asked. */
  identity(signal: AbortSignal): Promise<string>
  /**
   * Runs `work` in one snapshot: everything it reads is of the same instant. Writes are refused.
   * Throws `database_missing` where there is none, `database_damaged` where it cannot be read, `database_unreachable`,
   * `database_denied`, `database_busy`.
   */
  reading<T>(signal: AbortSignal, work: (db: Reader) => Promise<T>): Promise<T>
  /** Who has it open, Backout itself left out. */
  holders(signal: AbortSignal): Promise<Holder[]>
  /**
   * Tells the server to end the session of somebody else, and does not wait for its end; one that is gone is no error. Throws
   * `database_denied`. Only where a server has sessions.
   */
  end?(session: string, signal: AbortSignal): Promise<void>
  /** Variables by which the project's own tools find the database: DATABASE_URL and the like. May hold secrets. */
  toolEnv(): Readonly<Record<string, string>>
  /**
   * Dumps the database into the empty folder `dir` while others go on using it. `work` reads in the snapshot of the dump,
   * and may do so while the dump is written. Memory stays flat whatever the size.
   * Throws `tool_missing`, `tool_too_old`, `backup_failed`; what was written then is the caller's to remove.
   */
  dump<T>(dir: string, job: Job, work: (db: Reader) => Promise<T>): Promise<{ dumped: Dumped; read: T }>
  /**
   * Loads a backup beside the database, under a name made of `mark`; one of an earlier try under that name is replaced.
   * `scratch`: to look at, on the server given for that, where there is one; `merge`: to be merged from, where that is
   * quickest; `swap`: to be swapped in.
   * Throws `backup_damaged` where the dump cannot be loaded.
   */
  beside(backup: Backup, use: 'scratch' | 'merge' | 'swap', mark: string, job: Job): Promise<Beside>
  /** The database that `beside` made under this mark and that is still there; null: there is none. */
  found(use: 'scratch' | 'swap', mark: string, signal: AbortSignal): Promise<Beside | null>
  /**
   * Puts what `beside(…, 'swap', mark)` loaded in the database's place, and keeps the one that was there under a name of
   * its own. Numbers that were issued once are not issued again. Ends the sessions of others, or throws `database_open`.
   * Calls `guard` right before each write. A swap that fails leaves the old one in place.
   */
  swap(mark: string, job: Job): Promise<void>
  /** What `swap` kept under this mark: the database as it was before; null: there is none, so nothing was swapped. */
  kept(mark: string, signal: AbortSignal): Promise<Image | null>
  /** Bytes that the disk of the database has free, as far as they can be asked; null: nobody can tell. */
  freeBytes(signal: AbortSignal): Promise<number | null>
  /** Opens the live database for carrying data forward into it. null: there are no images, `ours` alone is asked of. */
  merging(images: Images | null, job: Job): Promise<Merger>
  /** Asks the server and this machine whether tools and rights suffice for all of the above. Reads only. */
  ready?(signal: AbortSignal): Promise<Ready>
  /** The content of a backup where it lies, for a system that can read it without loading it. Not where it was altered. */
  peek?(backup: Backup): Promise<Image>
  /**
   * Runs `work` in one session and one snapshot of the live database, from which SQL reaches the image too. Only where the
   * system can: without it, both are read side by side.
   */
  both?<T>(image: Image, signal: AbortSignal, work: (db: Both) => Promise<T>): Promise<T>
  /** A text that is another one whenever the content may be. Cheap. Without it nothing measured outlives an observation. */
  stamp?(signal: AbortSignal): Promise<string>
  /** Copies what cannot be read as a database into `dir` as it lies. Without it, or where nothing is there: nothing is kept. */
  copyAsIs?(dir: string, job: Job): Promise<void>
  /** Statements for people that bring one column back from a backup, and where they are to be run. */
  mending?(
    backup: Backup,
    column: Mended,
  ): { readonly where: string; readonly copy: string; readonly sql: readonly string[] }
}

export interface Ready {
  /** What was asked and is as it should be. For people. */
  readonly well: readonly string[]
  readonly lacks: readonly Lack[]
}

export interface Lack {
  /**
   * What cannot be done without it: making and proving a backup, restoring, carrying forward, and doing so without waking
   * triggers. `comfort`: all is done, but worse.
   */
  readonly for: 'capture' | 'restore' | 'carry' | 'quiet' | 'comfort'
  /** Stable name in snake_case. */
  readonly code: string
  readonly what: string
  /** The statement or the program that helps. */
  readonly remedy: string
}

/** A column whose content is to be taken from a backup, where it has another name. */
export interface Mended {
  readonly now: { readonly table: string; readonly column: string; readonly key: readonly string[] }
  readonly kept: { readonly table: string; readonly column: string; readonly key: readonly string[] }
}

/** The live database, and an image that SQL reaches in the same session. */
export interface Both extends Reader {
  /** The SQL name of a table: `now` of the live database, `base` of the image. */
  table(side: 'now' | 'base', name: string): string
}

/** What a long piece of work is given. */
export interface Job {
  readonly signal: AbortSignal
  /** Throws when this process may no longer own the run. */
  guard(): void
  progress(p: { text: string; done?: number; total?: number }): void
}

export interface Holder {
  /** Process or connection id of the database's own. */
  readonly id: string
  /** For people: "app (shop_api) from 10.0.0.7, idle in transaction since 15:02". */
  readonly text: string
  /** It holds locks on tables or has a transaction open. */
  readonly busy: boolean
}

/** A database at one instant. */
export interface Reader {
  /** Values come as the driver gives them; whole numbers beyond 2^53 as bigint or text, never rounded. */
  query(sql: string, values?: readonly unknown[]): Promise<Row[]>
  /** The same, row by row: memory stays flat. Nothing else is asked of this reader meanwhile. */
  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void>
  /** Everything that binds an application, objects of Backout's own (`backout…`) left out. */
  schema(): Promise<SchemaShape>
  /** Exact, in the server where it can be. `part`: of these tables, these columns only. `schema` may leave tables out. */
  /** `method`: made in the way of an earlier one, where this server knows it; look at that of the answer. */
  fingerprint(schema: SchemaShape, part?: FingerprintPart, method?: string): Promise<Fingerprint>
  /** About how many rows each table has. Cheap. */
  rowCounts(schema: SchemaShape): Promise<Record<string, number>>
  /** Size of the database on disk. Bytes. */
  bytes(): Promise<number>
  /**
   * What has another name than in `base`, as far as the database knows it for certain: by ids of its own (`id` in
   * `SchemaShape`), but for a `base` of another database; or as a name that it does not tell from the old one. What is left is looked for by content.
   * `data`: the fingerprint of `base`.
   */
  renames(base: SchemaShape, data: Fingerprint, now: SchemaShape): Promise<Rename[]>
  /** Only where the system has such. */
  readonly objects?: ObjectsAfter
}

export interface FingerprintPart {
  readonly tables: readonly string[]
  /** Columns of each table; all where it is not named. */
  readonly columns?: Readonly<Record<string, readonly string[]>>
  /** The oldest so many rows of each table only, for a system that keeps rows in order; others read all and say so in `rows`. */
  readonly rows?: number
}

export type Row = Record<string, unknown>

/** What a dump says of itself. Stands in the backup's facts as `dump`: `beside` and `peek` find it there (`dumpedIn`). */
export interface Dumped {
  /** Tool, its version and the server's: "pg_dump 15.8 of PostgreSQL 15.8". */
  readonly made: string
  /** What a restore brings back, and what it does not (roles, large objects, extensions' own data). For people. */
  readonly covers: readonly string[]
  readonly leaves: readonly string[]
  /** All else that loading it needs. */
  readonly facts: Json
}

/** A database that lies beside the one that is used: a restored backup, or what was there before. */
export interface Image extends AsyncDisposable {
  /** For people: the database's or the file's name. */
  readonly name: string
  reading<T>(signal: AbortSignal, work: (db: Reader) => Promise<T>): Promise<T>
}

export interface Beside extends Image {
  /** Removes it. */
  drop(): Promise<void>
}

/** The databases of a three-way merge, all of them beside the live one (which is `ours`). */
export interface Images {
  /** As it was at the release. */
  readonly base: Image
  /** As it was right before the restore. */
  readonly theirs: Image
  /** As it was right after migrating, before users wrote: tells what the migration rewrote; null: nobody took it. */
  readonly migrated: Image | null
}

export type ImageName = 'ours' | 'theirs' | 'base' | 'migrated'

/**
 * One session on the live database, from which the images can be read too: attached, in other schemas, or copied in parts.
 * A backslash in a literal is a backslash, `substr` and `replace` are known, and a name in quotes is a name.
 */
export interface Merger extends AsyncDisposable, Writer {
  /** In its transactions no trigger fires and no foreign key is looked at, so that their rows may come in any order. */
  readonly quiet: boolean
  /**
   * Whether code of the application (triggers, rules) may run for what its transactions write, or has: it could not be switched
   * off. Left out: none does where it is `quiet`, and else all that there is.
   */
  fires?(): Promise<boolean>
  /**
   * Makes the rows that differ between `theirs` and `base` (and what `migrated` and `ours` have under their keys)
   * readable by `table`. May copy more rows than differ, never fewer. Called once a table, before it is asked of.
   * Without a key rows are the same that are equal in all columns: those that one side has more often come with all copies.
   * Answers false where it is known that `theirs` has just the rows of `base`.
   */
  stage(table: Staged): Promise<boolean>
  /** Keys and references that bind the rows of ours, by table. */
  bonds(): Promise<Readonly<Record<string, Bonds>>>
  /**
   * How many rows that the query `touched` does not name are not in ours exactly as in base, those on one side only among
   * them; 0: none. Where only sums can be compared, 1 stands for any number. `touched` gives the columns of the key; for a
   * table without one it gives `Dialect.key` of the exact texts of all columns. `types`: those of the columns, in their order.
   * `upTo`: rows of ours with keys above it, of which base has none, are not looked at; null: all are.
   */
  untouched(table: Staged, types: readonly string[], touched: string, upTo?: bigint | null): Promise<number>
  /**
   * How many rows the query `taken` names, where ours has them as theirs has, and all rows that neither it nor `rest` names
   * exactly as base; null: it is not so, or nobody can tell. May be told by sums, of all at one instant. Both queries give
   * the columns of the key, no row in both; columns that are compared are of the same types on all sides. Left out: rows are
   * compared one by one.
   */
  addsUp?(table: Staged, taken: string, rest: string): Promise<number | null>
  /**
   * Makes a table of this session's own out of a query, and answers its SQL name; one of that name is replaced. It can be
   * named several times in one statement and be written to. `indexes`: lists of its columns. `order`: columns of the query
   * in whose order rows get the numbers from 1 on, as `n`.
   */
  work(
    name: string,
    select: string,
    indexes: readonly (readonly string[])[],
    order?: readonly string[],
  ): Promise<string>
  /** Nobody has written to an image since this was opened: what was found by comparing them still holds. Left out: nobody can tell. */
  unmoved?(): Promise<boolean>
  /** The SQL name of a table in one of the images; the columns have the names of that image. */
  table(image: ImageName, name: string): string
  /** The SQL name of a table of ours where rows are put into it; left out: the same. */
  into?(name: string): string
  /**
   * The highest value of a column of whole numbers in a table of an image, whatever was staged of it; null: it has no row.
   * undefined: it may hold something else.
   */
  highest(image: ImageName, table: string, column: string): Promise<bigint | null | undefined>
  query(sql: string, values?: readonly unknown[]): Promise<Row[]>
  each(sql: string, values: readonly unknown[], row: (row: Row) => void | Promise<void>): Promise<void>
  /**
   * What `query` answers, asked for some of the rows of `over` and for the others at the same time. It is given a condition that
   * says which, and reads no work table. Not within a transaction. Left out: the system works on one query in several processes.
   */
  parted?(over: Over, query: (among: string) => string): Promise<readonly Row[]>
  /** Returns how many rows it touched. */
  run(sql: string, values?: readonly unknown[]): Promise<number>
  /**
   * Several, whose transactions may go on at the same time; this one among them. They see images and ours, and no work table.
   * Left out: the system writes by one at a time.
   */
  writers?(): Promise<readonly Writer[]>
  /** Kind of misfit that the database refused a row for; null: another error. */
  refusal(error: unknown): Refusal | null
  /** Lets numbers be issued beyond every one of ours and theirs only. */
  sequences(): Promise<void>
  /** Only where the system has such, and there are images. */
  readonly objects?: LargeObjects
}

/** Writes into ours. */
export interface Writer {
  query(sql: string): Promise<Row[]>
  /** Returns how many rows it touched. */
  run(sql: string): Promise<number>
  /** One transaction; what it does is kept whole or not at all. Foreign keys and triggers as `Dialect.quiet` says. */
  transaction<T>(work: () => Promise<T>): Promise<T>
  /** Part of a transaction that may fail and be taken back alone. Resolves with the error instead of throwing it. */
  savepoint(work: () => Promise<void>): Promise<unknown>
}

/** Rows that are told apart by one whole number. */
export interface Over {
  /** In SQL, as a query names it: `table AS alias`. */
  readonly table: string
  readonly key: string
  /** A condition that all of them meet. */
  readonly where: string
}

/** What lies in no table, in the databases of a merge. */
export interface LargeObjects {
  /** Whether there is this image. */
  has(image: ImageName): boolean
  after(image: ImageName, id: number): Promise<LargeObject[]>
  /** That of theirs, in pieces of base64 that are decoded one by one. */
  content(id: number): AsyncIterable<string>
  /** Makes ours have what theirs has under this number. In a transaction. */
  put(id: number): Promise<void>
}

export interface Staged {
  /** The table's name in each image; null where the image has no such table. */
  readonly names: {
    readonly ours: string
    readonly theirs: string
    readonly base: string
    readonly migrated: string | null
  }
  /** Columns of the key, by which rows are the same; their names in ours. Empty: there is none. */
  readonly key: readonly string[]
  /** Those of the key are among them. */
  readonly columns: readonly StagedColumn[]
}

/** One column by its name in each image. */
export interface StagedColumn {
  readonly ours: string
  readonly theirs: string
  readonly base: string
  readonly migrated: string | null
  /** Its type in these images: the column's own, or what `Dialect.redefined` says. */
  readonly theirType?: string
  readonly migratedType?: string | null
}

/** What binds the rows of one table. */
export interface Bonds {
  readonly uniques: readonly Unique[]
  readonly references: readonly Reference[]
}

/** A primary key, a unique constraint or a unique index. */
export interface Unique {
  readonly name: string
  /** null: over an expression, over a part of the rows only, or by another collation than the columns have. */
  readonly columns: readonly string[] | null
}

/** A foreign key. */
export interface Reference {
  readonly name: string
  readonly columns: readonly string[]
  readonly table: string
  readonly to: readonly string[]
  readonly onDelete: 'refuse' | 'cascade' | 'set-null' | 'set-default'
  /** Beside these columns a time has to lie within those of the rows that are referred to: whether it does the server alone says. */
  readonly within?: boolean
}

export type Refusal = 'unique' | 'foreign-key' | 'check' | 'not-null' | 'type' | 'row-missing'

/** How SQL is said. Whatever is not asked here is standard SQL. */
export interface Dialect {
  readonly kind: DatabaseKind
  quote(name: string): string
  /** Stands for the nth of the values given to a query, from 1: "$1", "?". */
  parameter(n: number): string
  /** A table's name of `SchemaShape` as SQL. */
  table(name: string): string
  /**
   * True where two values are not the same to the last bit: NULL equals NULL; type, letter case, scale and sign of zero
   * count. `type`: both are as columns of this type keep them.
   */
  differs(a: string, b: string, type?: string): string
  /** The exact text of a value, for people and for files; NULL stays NULL. `type`: as in `ColumnShape`. */
  text(value: string, type: string): string
  /** A value of the column from its exact text in `text`, which is said once: it may be a placeholder. The other way round of `text`. */
  value(text: string, type: string): string
  /**
   * How a value of one type is said in another, and a condition that is true where nothing of it is lost by that; `value`
   * fails for no value that fits, and is what was given where both types compare as they are. null: nobody can tell ahead.
   * Not asked where the types are the same.
   */
  convert(value: string, from: string, to: string): { readonly value: string; readonly fits: string } | null
  /**
   * For a type of the same name that `theirs` defines otherwise than `ours`: the type that its values are staged as, which
   * `convert` knows; null: they are staged as they are. Left out: types have no definitions.
   */
  redefined?(type: string, theirs: SchemaShape, ours: SchemaShape): string | null
  /**
   * One text for several exact texts, of which any may be NULL: another one for every other combination, and short enough
   * to be a primary key in a column of `keyType`, which compares byte by byte.
   */
  key(texts: readonly string[]): string
  readonly keyType: string
  /** Columns of this type hold whole numbers of 64 bits, or of fewer. */
  isWhole(type: string): boolean
  /** Such a column may hold other numbers, and texts, all the same. Left out: it does not. */
  readonly loose?: true
  /** Up to 40 texts put together, none of them NULL. */
  joined(texts: readonly string[]): string
  /** Changes the rows of a table, seen as `o`, that `on` matches with those of `from`: at most one matches each. All are SQL. */
  update(table: string, sets: readonly (readonly [column: string, value: string])[], from: string, on: string): string
  /** Removes the rows of a table, seen as `o`, for which the expressions `of` are together in the query `keys`. No NULLs. */
  remove(table: string, of: readonly string[], keys: string): string
  /** A query of which every column is computed once, however often it is named outside. Left out: the system sees to that. */
  once?(query: string): string
  /** Stands in an INSERT between columns and query, so that numbers of one's own are taken. */
  readonly overriding: string
  /** A column of this type changes by itself where an update does not name it. Left out: none does. */
  stamped?(type: string): boolean
  /** Values of one type, as `convert` says them in another, are found under keys of it where they fit and stay apart. */
  recast?(from: string, to: string): boolean
  /** A default that is the same for every row, as an expression to compare with; null where it is not, or there is none. */
  fixedDefault(sql: string | null, type: string): string | null
  /** The time in a column as ISO text in UTC; null where the type is no time. */
  iso(column: string, type: string): string | null
  /** What cannot be said otherwise: statements that keep triggers and checks of foreign keys quiet, and the way back. */
  readonly quiet: { readonly on: readonly string[]; readonly off: readonly string[]; readonly triggersFire: boolean }
  /** How long a name may be. Bytes. */
  readonly longestName: number
  /** Whether two columns could be the same one under two names, by their types; the same type where this is left out. */
  alike?(a: ColumnShape, b: ColumnShape): boolean
  /** The hidden column of the system's own number of a row: survives a dump, and orders rows without a key. null: none. */
  rowNumber?(name: string, shape: TableShape): string | null
  /** True for values of a column, and never for NULL, that would not fit, or not stay the same, after its type became `type`; null: all fit. */
  misfit?(value: string, now: ColumnShape, then: ColumnShape, live: SchemaShape, base: SchemaShape): string | null
  /** The same for a type that is defined in the schema under one name: true for values that the one of `then` does not know. */
  misfitWords?(value: string, type: string, then: SchemaShape, now: SchemaShape): string | null
  /**
   * Whether undoing a difference rewrites the whole table, or only reads it, while others wait; null: neither. Where this is
   * left out, another type rewrites, and what must be checked or built again reads.
   */
  toil?(difference: SchemaDifference): 'rewrites' | 'reads' | null
}
