import { sameJson } from '../../core/json.ts'
import type { Reader } from '../engine.ts'
import type { TableShape } from '../schema.ts'
import { writtenIn } from '../touched.ts'
import { plain } from '../touched-targets.ts'
import type { Side } from './beside.ts'
import type { MappedTable } from './mapping.ts'
import type { CarrySource } from './source.ts'
import { defaultsIn, holdsSomething } from './unplaced.ts'

type Texts = Readonly<Record<string, string | null>>

/** What the columns that the schema of the release has no place for held right after migrating. */
export interface Then extends Side {
  /** How many rows hold what a roll-forward alone would not put there. */
  readonly many: number
  /** Of columns that no migration wrote, what each row got when they were made: what is otherwise there, users wrote. */
  readonly put: Texts
}

/** null: nobody can tell, or nothing tells the rows apart. */
export async function thenOf(source: CarrySource, mapped: MappedTable, signal: AbortSignal): Promise<Then | null> {
  const { images, schemas, dialect } = source
  const theirs = schemas.theirs.tables[mapped.theirs]
  const shape = mapped.migrated === null ? undefined : schemas.migrated?.tables[mapped.migrated]
  if (images.migrated === null || mapped.migrated === null || shape === undefined || theirs === undefined) return null
  if (shape.key.length === 0 || !sameKey(shape, theirs)) return null
  const typeOf = (of: TableShape, c: string) => (of.columns[c]?.generated === false ? of.columns[c].type : null)
  const columns = mapped.unplaced.filter(c => typeOf(shape, c) !== null && typeOf(shape, c) === typeOf(theirs, c))
  if (columns.length === 0) return null
  const side = { image: images.migrated, table: mapped.migrated, shape, columns }
  return side.image.reading(signal, async db => {
    const usual = await defaultsIn(db, dialect, side.table, shape, columns)
    const put = await putOf(source, mapped, side, usual, db)
    const some = columns.flatMap(c => {
      if (put[c] === undefined) return [`(${holdsSomething(source, c, shape.columns[c])})`]
      return put[c] === (usual[c] ?? null) ? [] : ['1 = 1']
    })
    const where = some.length === 0 ? '1 = 0' : some.join(' OR ')
    const [row] = await db.query(`SELECT count(*) AS n FROM ${dialect.table(side.table)} WHERE ${where}`)
    return { ...side, where, put, many: Number(row?.['n']) }
  })
}

/** The cell as the migration left it, of what was there right after migrating. */
export function leftBy({ put }: Then, column: string, then: string | null | undefined): string | null {
  return put[column] === undefined ? (then ?? null) : put[column]
}

export function sameKey(a: TableShape, b: TableShape): boolean {
  const types = (shape: TableShape) => shape.key.map(k => shape.columns[k]?.type ?? null)
  return sameJson(a.key, b.key) && sameJson(types(a), types(b))
}

/** So few rows do not tell what all of them got. */
const FEW = 3

async function putOf(
  { dialect, touched, ownWork }: CarrySource,
  { ours, theirs }: MappedTable,
  { table, shape, columns }: Pick<Side, 'table' | 'shape' | 'columns'>,
  usual: Texts,
  db: Reader,
): Promise<Texts> {
  const wrote = touched === null || ownWork ? null : writtenIn([theirs, ours], touched)
  if (wrote === null) return {}
  const out: Record<string, string | null> = {}
  for (const column of columns.filter(c => !wrote.includes(plain(c)))) {
    const { type = '', default: as = null, nullable = true } = shape.columns[column] ?? {}
    const fixed = usual[column] ?? null
    // What is another one in each row may be the default's work, and nobody's.
    if (as !== null && fixed === null) continue
    const text = dialect.text(dialect.quote(column), type)
    const from = `FROM ${dialect.table(table)}`
    const found = await db.query(
      `SELECT ${text} AS t, count(*) AS n, (SELECT count(*) ${from}) AS many ${from} GROUP BY ${text} ORDER BY n DESC LIMIT 2`,
    )
    const many = Number(found[0]?.['many'] ?? 0)
    const half = found.filter(row => Number(row['n']) * 2 >= many).map(row => (row['t'] ?? null) as string | null)
    const own = fixed !== null || nullable
    if (own && (many < FEW || half.includes(fixed))) out[column] = fixed
    else if (half[0] !== undefined) out[column] = half[0]
  }
  return out
}
