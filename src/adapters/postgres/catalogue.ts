import { columnsOf } from './fingerprint.ts'
import { quote } from './names.ts'
import type { Session } from './session.ts'
import { type CopiedColumn, copiedColumns } from './staged-types.ts'
import type { Column } from './values.ts'

/** What the catalogue of one database says of a table. */
export interface KnownTable {
  /** As rows are read: without those of tables that inherit from it, for these are tables too; a partitioned one through itself. */
  readonly from: string
  readonly columns: ReadonlyMap<string, Column>
  readonly copied: ReadonlyMap<string, CopiedColumn>
}

const TABLES = `SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'`

const NOTHING: KnownTable = { from: '', columns: new Map(), copied: new Map() }

/** Asked once for all tables of a session: they are many more often than they are large. */
export class Catalogue {
  readonly #known = new Map<Session, Promise<Map<string, KnownTable>>>()

  /** `table`: its SQL name, with the schema. */
  async table(session: Session, table: string): Promise<KnownTable> {
    const asked = this.#known.get(session) ?? read(session)
    this.#known.set(session, asked)
    const known = await asked
    // What was made since is temporary.
    const found = known.get(table) ?? (await made(session, table))
    known.set(table, found)
    return found
  }
}

async function made(session: Session, table: string): Promise<KnownTable> {
  return { ...NOTHING, from: table, columns: (await columnsOf(session, [table])).get(table) ?? NOTHING.columns }
}

async function read(session: Session): Promise<Map<string, KnownTable>> {
  const tables = (await session.query(TABLES)).map(row => {
    const name = `${quote(String(row['schema']))}.${quote(String(row['name']))}`
    return [name, row['kind'] === 'p' ? name : `ONLY ${name}`] as const
  })
  const names = tables.map(([name]) => name)
  const [columns, copied] = [await columnsOf(session, names), await copiedColumns(session, names)]
  return new Map(
    tables.map(([name, from]) => {
      const its = { columns: columns.get(name), copied: copied.get(name) }
      return [name, { from, columns: its.columns ?? NOTHING.columns, copied: its.copied ?? NOTHING.copied }]
    }),
  )
}
