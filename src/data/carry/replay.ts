import type { Dialect, Job, Merger } from '../engine.ts'
import type { SchemaShape, TableShape } from '../schema.ts'
import { type ArchivedPart, type ArchivedRow, archivedRow, archiveIn, readArchive } from './archive.ts'
import { thrown } from './batches.ts'
import { noArchive } from './errors.ts'
import { LEDGER, makeLedger } from './ledger.ts'
import { readLines } from './lines.ts'
import { parentsFirst } from './order.ts'
import { type Ground, literal, stampsOf } from './piece.ts'
import { Strangers } from './strangers.ts'

/** The database after a later roll-forward: it has the new schema again. */
export interface ReplaySource {
  readonly component: string
  readonly run: string
  readonly dialect: Dialect
  readonly dir: string
  readonly schema: SchemaShape
  merging(job: Job): Promise<Merger>
}

/** What came of one part of the archive. */
export interface ReplayedPart {
  readonly table: string
  /** null: whole rows. */
  readonly columns: readonly string[] | null
  /** Lines whose content was put back now, and those that needed nothing. */
  readonly back: number
  readonly done: number
  /** Lines whose place holds something else, or that the database refused. Nothing was changed there. */
  readonly conflicts: number
  /** Why the part could not be put back at all. */
  readonly why: string | null
}

const LINES = 200

/**
 * Puts back what the old schema had no place for. Never overwrites: a row that is there, or a cell that holds something of
 * its own, stays. Idempotent. Throws `archive_missing`, `archive_altered`.
 */
export async function replay(source: ReplaySource, job: Job): Promise<ReplayedPart[]> {
  const manifest = await readArchive(source.dir)
  if (manifest === null) throw noArchive(source.component, source.run)
  await using merger = await source.merging(job)
  const ground: Ground = { dialect: source.dialect, merger, run: source.run, migrated: false, ownWork: false }
  await makeLedger(ground)
  const bonds = await merger.bonds()
  const order = parentsFirst(Object.keys(source.schema.tables), bonds).flat()
  const strangers = new Strangers(bonds)
  const parts = manifest.parts.filter(p => p.what === 'rows' || p.what === 'cells')
  const out: ReplayedPart[] = []
  for (const part of parts.toSorted((a, b) => order.indexOf(a.table ?? '') - order.indexOf(b.table ?? ''))) {
    job.progress({ text: `putting back ${part.table}` })
    out.push(await putBack(source, ground, { part, strangers }, job))
  }
  await merger.sequences()
  return out
}

async function putBack(
  source: ReplaySource,
  ground: Ground,
  { part, strangers }: Pick<Place, 'part' | 'strangers'>,
  job: Job,
): Promise<ReplayedPart> {
  const table = part.table ?? ''
  const columns = part.what === 'rows' ? null : Object.keys(part.columns)
  const shape = source.schema.tables[table]
  const why = whyNot(shape, part)
  if (shape === undefined || why !== null) return { table, columns, back: 0, done: 0, conflicts: part.lines, why }
  const sums = { back: 0, done: 0, conflicts: 0 }
  let lines: ArchivedRow[] = []
  let at = 0
  const flush = async () => {
    if (lines.length === 0) return
    const found = await some(ground, { part, table, shape, strangers }, lines, at)
    sums.back += found.back
    sums.done += found.done
    sums.conflicts += found.conflicts
    at += lines.length
    lines = []
    job.progress({ text: `putting back ${table}`, done: at, total: part.lines })
  }
  await readLines(archiveIn(source.dir), part, async line => {
    lines.push(archivedRow.parse(line))
    if (lines.length === LINES) await flush()
  })
  await flush()
  return { table, columns, ...sums, why: null }
}

function whyNot(shape: TableShape | undefined, part: ArchivedPart): string | null {
  if (shape === undefined) return 'the table is not there'
  const missing = [...Object.keys(part.key), ...Object.keys(part.columns)].filter(c => shape.columns[c] === undefined)
  if (missing.length > 0) return `the table has no ${missing.join(', ')}`
  if (part.what === 'cells' && Object.keys(part.key).length === 0) return 'its rows have no key to find them by'
  return null
}

interface Place {
  readonly part: ArchivedPart
  readonly table: string
  readonly shape: TableShape
  readonly strangers: Strangers
}

type Sums = Pick<ReplayedPart, 'back' | 'done' | 'conflicts'>

/** One transaction; where the database refuses it, line by line. Said in the ledger, so that it is not done twice. */
async function some(ground: Ground, place: Place, lines: readonly ArchivedRow[], at: number): Promise<Sums> {
  const { merger } = ground
  const marks = lines.map((_, n) => markOf(ground, place, String(at + n), 'line'))
  const mark = markOf(ground, place, String(at))
  if (await isNoted(ground, mark)) return { back: 0, done: lines.length, conflicts: 0 }
  const away = lines.flatMap((line, n) => (place.strangers.hasParentOf(place.table, line) ? [n] : []))
  const work = await load(ground, place, lines)
  const sums = await merger.transaction(async () => {
    const sums = { back: 0, done: 0, conflicts: 0 }
    const others = away.length === 0 ? '' : ` WHERE n NOT IN (${away.join(', ')})`
    const whole = async () => add(sums, await write(ground, place, `SELECT * FROM ${work}${others}`))
    // Of a batch that was split the lines that are back are known one by one.
    const split = await anyNoted(ground, marks)
    const refused = split ? null : await merger.savepoint(whole)
    if (split || refused !== null) {
      sums.back = sums.done = sums.conflicts = 0
      for (const [n, line] of marks.entries()) {
        if (!away.includes(n)) add(sums, await oneLine(ground, place, `SELECT * FROM ${work} WHERE n = ${n}`, line))
      }
    }
    sums.conflicts += away.length
    // Conflicts may be mended: what is not back altogether is tried again.
    if (sums.conflicts === 0) await note(ground, place, mark)
    return sums
  })
  if (sums.conflicts > 0) await rememberLeft(ground, place, lines, work)
  return sums
}

/** Rows that are not there now as they were archived. */
async function rememberLeft(
  { merger, dialect }: Ground,
  place: Place,
  lines: readonly ArchivedRow[],
  work: string,
): Promise<void> {
  const { part, table, shape, strangers } = place
  const [key] = Object.keys(part.key)
  if (part.what !== 'rows' || key === undefined || !strangers.isReferredTo(table)) return
  const differs = Object.keys(part.columns).map((c, i) =>
    dialect.differs(`o.${dialect.quote(c)}`, dialect.value(`w.v${i}`, typeOf(shape, c))),
  )
  const rows = await merger.query(`SELECT w.n AS n FROM ${work} AS w LEFT JOIN ${merger.table('ours', table)} AS o
    ON ${onKey(dialect, place)} WHERE o.${dialect.quote(key)} IS NULL OR ${differs.join(' OR ')}`)
  for (const { n } of rows) {
    const line = lines[Number(n)]
    if (line !== undefined) strangers.add(table, line)
  }
}

async function oneLine(ground: Ground, place: Place, select: string, mark: string): Promise<Sums> {
  if (await isNoted(ground, mark)) return { back: 0, done: 1, conflicts: 0 }
  let sums: Sums = { back: 0, done: 0, conflicts: 1 }
  const refused = await ground.merger.savepoint(async () => {
    sums = await write(ground, place, select)
  })
  if (refused !== null && ground.merger.refusal(refused) === null) throw thrown(refused)
  if (refused !== null) return { back: 0, done: 0, conflicts: 1 }
  if (sums.conflicts === 0) await note(ground, place, mark)
  return sums
}

function markOf({ dialect, run }: Ground, { part }: Place, at: string, what = 'replay'): string {
  return dialect.key([run, what, part.path, at].map(literal))
}

const isNoted = (ground: Ground, mark: string): Promise<boolean> => anyNoted(ground, [mark])

async function anyNoted({ merger, dialect }: Ground, marks: readonly string[]): Promise<boolean> {
  const sql = `SELECT 1 AS x FROM ${merger.table('ours', LEDGER)} WHERE ${dialect.quote('key')} IN (${marks.join(', ')}) LIMIT 1`
  return (await merger.query(sql)).length > 0
}

function add(sums: { back: number; done: number; conflicts: number }, more: Sums): void {
  sums.back += more.back
  sums.done += more.done
  sums.conflicts += more.conflicts
}

async function note({ merger, dialect, run }: Ground, { table }: Place, mark: string): Promise<void> {
  await merger.run(`INSERT INTO ${merger.table('ours', LEDGER)} (${dialect.quote('key')}, run, table_name, action, hash)
    VALUES (${mark}, ${literal(run)}, ${literal(table)}, 0, 'replay')`)
}

/** `select`: the lines that are to be put back. */
function write(ground: Ground, place: Place, select: string): Promise<Sums> {
  return place.part.what === 'rows' ? writeRows(ground, place, select) : writeCells(ground, place, select)
}

/** The lines as a table of texts: `n`, the key as `k0`…, the values as `v0`…. */
async function load(
  { merger, dialect }: Ground,
  { part, table, shape }: Place,
  lines: readonly ArchivedRow[],
): Promise<string> {
  const keys = Object.keys(part.key)
  const values = Object.keys(part.columns)
  const text = (name: string, as: string) => `${dialect.text(dialect.quote(name), typeOf(shape, name))} AS ${as}`
  const list = [...keys.map((k, i) => text(k, `k${i}`)), ...values.map((v, i) => text(v, `v${i}`))]
  const from = merger.table('ours', table)
  const work = await merger.work('backout_replay', `SELECT 0 AS n, ${list.join(', ')} FROM ${from} WHERE 1 = 0`, [])
  const names = ['n', ...keys.map((_, i) => `k${i}`), ...values.map((_, i) => `v${i}`)]
  const many = Math.max(1, Math.floor(20_000 / names.length))
  for (let at = 0; at < lines.length; at += many) {
    const given: unknown[] = []
    const rows = lines.slice(at, at + many).map((line, i) => {
      const row = [at + i, ...keys.map(k => line.key[k] ?? null), ...values.map(v => line.values[v] ?? null)]
      return `(${row.map(value => dialect.parameter(given.push(value))).join(', ')})`
    })
    await merger.run(`INSERT INTO ${work} (${names.join(', ')}) VALUES ${rows.join(', ')}`, given)
  }
  return work
}

function typeOf(shape: TableShape, column: string): string {
  return shape.columns[column]?.type ?? ''
}

async function writeRows({ merger, dialect }: Ground, place: Place, select: string): Promise<Sums> {
  const { part, table, shape } = place
  const columns = Object.keys(part.columns)
  const values = columns.map((c, i) => dialect.value(`w.v${i}`, typeOf(shape, c)))
  const into = `INSERT INTO ${merger.table('ours', table)} (${columns.map(c => dialect.quote(c)).join(', ')}) ${dialect.overriding}
    SELECT ${values.join(', ')} FROM (${select}) AS w`
  if (Object.keys(part.key).length === 0) return { back: await merger.run(into), done: 0, conflicts: 0 }
  const there = `SELECT 1 FROM ${merger.table('ours', table)} AS o WHERE ${onKey(dialect, place)}`
  const differs = columns.map((c, i) => dialect.differs(`o.${dialect.quote(c)}`, values[i] ?? ''))
  const [row] = await merger.query(
    `SELECT count(*) AS n FROM (${select}) AS w JOIN ${merger.table('ours', table)} AS o ON ${onKey(dialect, place)} WHERE ${differs.join(' OR ')}`,
  )
  const [all] = await merger.query(`SELECT count(*) AS n FROM (${select}) AS w`)
  const conflicts = Number(row?.['n'])
  const lines = Number(all?.['n'])
  const back = await merger.run(`${into} WHERE NOT EXISTS (${there})`)
  return { back, conflicts, done: lines - back - conflicts }
}

/** A cell that nobody wrote to holds its default; only such a one takes what was archived. */
async function writeCells({ merger, dialect }: Ground, place: Place, select: string): Promise<Sums> {
  const { part, table, shape } = place
  const from = `(${select}) AS w JOIN ${merger.table('ours', table)} AS o ON ${onKey(dialect, place)}`
  const free: string[] = []
  const taken: string[] = []
  const sets = Object.keys(part.columns).map((c, i) => {
    const type = typeOf(shape, c)
    const [cell, value] = [`o.${dialect.quote(c)}`, dialect.value(`w.v${i}`, type)]
    const fixed = dialect.fixedDefault(shape.columns[c]?.default ?? null, type)
    const untouched = fixed === null ? `${cell} IS NULL` : `NOT ${dialect.differs(cell, fixed)}`
    // Only what holds something of its own was archived for its own sake.
    const said = fixed === null ? `w.v${i} IS NOT NULL` : dialect.differs(value, fixed)
    free.push(`(${said} AND ${untouched})`)
    taken.push(`(${said} AND NOT (${untouched}) AND ${dialect.differs(cell, value)})`)
    return [dialect.quote(c), `CASE WHEN ${said} AND ${untouched} THEN ${value} ELSE ${cell} END`] as const
  })
  const count = async (sql: string) => Number((await merger.query(sql))[0]?.['n'])
  const lines = await count(`SELECT count(*) AS n FROM (${select}) AS w`)
  const found = await count(`SELECT count(*) AS n FROM ${from}`)
  const blocked = await count(`SELECT count(*) AS n FROM ${from} WHERE ${taken.join(' OR ')}`)
  const on = `${onKey(dialect, place)} AND (${free.join(' OR ')})`
  const stamps = Object.keys(shape.columns).filter(c => dialect.stamped?.(typeOf(shape, c)))
  const all = [...sets, ...stampsOf(dialect, stamps, sets)]
  const back = await merger.run(dialect.update(merger.table('ours', table), all, `(${select}) AS w`, on))
  const conflicts = lines - found + blocked
  return { back, conflicts, done: Math.max(0, lines - back - conflicts) }
}

function onKey(dialect: Dialect, { part, shape }: Place): string {
  const keys = Object.keys(part.key)
  return keys.map((k, i) => `o.${dialect.quote(k)} = ${dialect.value(`w.k${i}`, typeOf(shape, k))}`).join(' AND ')
}
