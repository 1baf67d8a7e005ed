import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress, createZstdDecompress } from 'node:zlib'
import { z } from 'zod'
import type { Row } from '../../data/engine.ts'
import { drop, makeDefinitions, readDefinitions } from './definitions.ts'
import { literal, quoted, text } from './names.ts'
import type { Session } from './session.ts'

export const FLOATS = 'floats.ndjson.zst'
const ROWS_AT_ONCE = 1_000

/** One table with values that the dump tool rounds: a FLOAT goes as text of six digits. */
const rounded = z.object({
  table: z.string(),
  /** Columns of each line that follows; `hex`: their values are bytes. */
  columns: z.array(z.object({ name: z.string(), hex: z.boolean() })),
  /** Those of the primary key. Empty: the lines are all rows of the table. */
  key: z.array(z.string()),
  /** Columns that an update would touch by itself. */
  stamps: z.array(z.string()),
})
type Rounded = z.infer<typeof rounded>

const line = z.union([rounded, z.array(z.string().nullable())])

/** Writes the floats that six digits cannot tell beside the dump, by key. `db`: in the snapshot of the dump. */
export async function writeFloats(db: Session, database: string, dir: string): Promise<void> {
  const tables = await withFloats(db, database)
  if (tables.length === 0) return
  const pack = createZstdCompress()
  const written = pipeline(pack, createWriteStream(join(dir, FLOATS), { mode: 0o600 }))
  const write = async (line: unknown) => {
    if (!pack.write(`${JSON.stringify(line)}\n`)) await Promise.race([once(pack, 'drain'), written])
  }
  try {
    for (const table of tables) await writeTable(db, database, table, write)
    pack.end()
  } catch (error) {
    pack.destroy(error as Error)
  }
  await written
}

/** `floats`: the columns whose values decide whether a row is written. */
async function withFloats(db: Session, database: string): Promise<(Rounded & { floats: string[] })[]> {
  const columns = await db.query(
    `SELECT c.TABLE_NAME AS t, c.COLUMN_NAME AS name, c.DATA_TYPE AS type, c.EXTRA AS extra, c.COLUMN_KEY AS part,
       c.GENERATION_EXPRESSION AS made, c.CHARACTER_SET_NAME AS charset
     FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)
     WHERE c.TABLE_SCHEMA = ${literal(database)} AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY 1, c.ORDINAL_POSITION`,
  )
  return [...Map.groupBy(columns, c => text(c['t']))].flatMap(([table, every]) => {
    const all = every.filter(c => text(c['made']) === '')
    const named = (fits: (c: Row) => boolean) => all.filter(fits).map(c => text(c['name']))
    const key = named(c => c['part'] === 'PRI')
    const floats = named(c => c['type'] === 'float' && c['part'] !== 'PRI')
    const needed = all.filter(c => key.length === 0 || c['part'] === 'PRI' || floats.includes(text(c['name'])))
    const shown = needed.map(c => ({ name: text(c['name']), hex: isBytes(text(c['type'])) }))
    const stamps = named(c => /on update/i.test(text(c['extra'])))
    return floats.length === 0 ? [] : [{ table, columns: shown, key, stamps, floats }]
  })
}

function isBytes(type: string): boolean {
  return /binary|blob|^bit|geometry|point|linestring|polygon|collection/.test(type)
}

async function writeTable(
  db: Session,
  database: string,
  { floats, ...table }: Rounded & { floats: string[] },
  write: (line: unknown) => Promise<void>,
): Promise<void> {
  const from = `FROM ${quoted(database)}.${quoted(table.table)}`
  const lossy = floats.map(c => `NOT (CAST(CAST(${quoted(c)} AS CHAR) AS FLOAT) <=> ${quoted(c)})`).join(' OR ')
  if ((await db.query(`SELECT 1 ${from} WHERE ${lossy} LIMIT 1`)).length === 0) return
  await write(table)
  const values = table.columns.map(({ name, hex }, i) => {
    const c = quoted(name)
    return `${hex ? `HEX(CAST(${c} AS BINARY))` : floats.includes(name) ? `CAST(${c} + 0e0 AS CHAR)` : c} AS v${i}`
  })
  const where = table.key.length === 0 ? '' : ` WHERE ${lossy}`
  await db.each(`SELECT ${values.join(', ')} ${from}${where}`, [], row =>
    write(Object.values(row).map(v => (v === null ? null : text(v)))),
  )
}

/** Puts the exact values into a database that was loaded from the dump. Its triggers stay quiet. */
export async function loadFloats(db: Session, database: string, dir: string): Promise<void> {
  const file = join(dir, FLOATS)
  if ((await stat(file).catch(() => null)) === null) return
  const triggers = await readDefinitions(db, database, 'trigger')
  await db.run(`USE ${quoted(database)}`)
  for (const trigger of triggers) await drop(db, trigger)
  await db.run('SET SESSION foreign_key_checks = 0')
  const lines = createInterface({ input: createReadStream(file).pipe(createZstdDecompress()), crlfDelay: Infinity })
  let table: Rounded | null = null
  let rows: (string | null)[][] = []
  const flush = async () => {
    if (table !== null && rows.length > 0) await insert(db, table, rows)
    rows = []
  }
  for await (const json of lines) {
    const next = line.parse(JSON.parse(json))
    if (Array.isArray(next)) rows.push(next)
    if (Array.isArray(next) && rows.length < ROWS_AT_ONCE) continue
    await flush()
    if (Array.isArray(next)) continue
    if (table !== null) await finish(db, table)
    table = next
    await prepare(db, table)
  }
  await flush()
  if (table !== null) await finish(db, table)
  await makeDefinitions(db, database, triggers, 'asleep')
}

const ASIDE = quoted('backout_floats')

async function prepare(db: Session, table: Rounded): Promise<void> {
  if (table.key.length === 0) {
    await db.run(`DELETE FROM ${quoted(table.table)}`)
    return
  }
  const columns = table.columns.map(c => quoted(c.name)).join(', ')
  await db.run(`DROP TEMPORARY TABLE IF EXISTS ${ASIDE}`)
  await db.run(`CREATE TEMPORARY TABLE ${ASIDE} SELECT ${columns} FROM ${quoted(table.table)} LIMIT 0`)
}

async function insert(db: Session, table: Rounded, rows: readonly (string | null)[][]): Promise<void> {
  const into = table.key.length === 0 ? quoted(table.table) : ASIDE
  const value = (v: string | null, i: number) =>
    v === null ? 'NULL' : table.columns[i]?.hex === true ? `x'${v}'` : literal(v)
  const columns = table.columns.map(c => quoted(c.name)).join(', ')
  await db.run(`INSERT INTO ${into} (${columns}) VALUES ${rows.map(r => `(${r.map(value).join(', ')})`).join(', ')}`)
}

async function finish(db: Session, table: Rounded): Promise<void> {
  if (table.key.length === 0) return
  const match = table.key.map(k => `t.${quoted(k)} = f.${quoted(k)}`).join(' AND ')
  const floats = table.columns.filter(c => !table.key.includes(c.name)).map(c => quoted(c.name))
  const set = [...floats.map(c => `t.${c} = f.${c}`), ...table.stamps.map(s => `t.${quoted(s)} = t.${quoted(s)}`)]
  await db.run(`UPDATE ${quoted(table.table)} t JOIN ${ASIDE} f ON ${match} SET ${set.join(', ')}`)
  await db.run(`DROP TEMPORARY TABLE ${ASIDE}`)
}
