import type { TableShape } from '../schema.ts'
import { type ArchivedPart, archiveIn, type Manifest, type MappedNames } from './archive.ts'
import { type ArchivedRow, readLines } from './lines.ts'
import type { Ground } from './piece.ts'
import type { ReplaySource } from './replay.ts'
import { countOf, LINE, Lines } from './replay-lines.ts'
import { AT_ONCE, type Place } from './replay-places.ts'
import type { ListedRow } from './rows.ts'

/** What was listed as a conflict and is not put back: of one table, kind, and column. */
export interface ListedLeft {
  readonly table: string
  /** null: whole rows. */
  readonly columns: readonly string[] | null
  readonly kind: string
  readonly rows: number
  /** Why no word puts it back; null: one does. */
  readonly why: string | null
  /** The word that puts it back, as `--settle` takes it. */
  readonly word: string | null
}

/** Rows that are put back together, or not at all for one reason. */
interface Group {
  readonly table: string
  readonly kind: string
  /** null: whole rows. */
  readonly column: string | null
  readonly why: string | null
}

/** As persons name it. A row of which nothing was carried, because that was not asked for, has no kind. */
function kindOf({ kind }: ListedRow): string {
  return kind ?? 'uncarried'
}

/** The words that put something of it back. */
export function wordOf({ table, kind }: Pick<Group, 'table' | 'kind'>): string {
  return `${table}:${kind}`
}

/** All words that there are, before anything is opened. */
export async function listedWords(source: ReplaySource, manifest: Manifest): Promise<ReadonlySet<string>> {
  const words = new Set<string>()
  await eachListed(source, manifest, async (row, names) => {
    for (const group of groupsOf(source, row, names)) if (group.why === null) words.add(wordOf(group))
  })
  return words
}

/** Everything that was listed, as far as it can be put back: lines that wait for a word. */
export async function listedPlaces(source: ReplaySource, ground: Ground, manifest: Manifest): Promise<ListedPlace[]> {
  const made = new Map<string, ListedPlace>()
  await eachListed(source, manifest, async (row, names, part) => {
    for (const group of groupsOf(source, row, names)) {
      const key = JSON.stringify(group)
      const place = made.get(key) ?? (await ListedPlace.make(source, ground, { group, names, part }, made.size))
      made.set(key, place)
      await place.add(row)
    }
  })
  const out = [...made.values()]
  for (const place of out) await place.end()
  return out
}

async function eachListed(
  { dir }: ReplaySource,
  { parts, tables }: Manifest,
  each: (row: ListedRow, names: MappedNames, part: ArchivedPart) => Promise<void>,
): Promise<void> {
  for (const part of parts.filter(p => p.what === 'conflicts')) {
    await readLines(archiveIn(dir), part, async line => {
      const row = line as ListedRow
      const names = tables.find(t => t.ours === row.table)
      if (names !== undefined) await each(row, names, part)
    })
  }
}

function groupsOf({ schema }: ReplaySource, row: ListedRow, names: MappedNames): Group[] {
  const { theirs: table, key, columns } = names
  const about = { table, kind: kindOf(row) }
  const no = (why: string): Group[] => [{ ...about, column: null, why }]
  const shape = schema.tables[table]
  if (row.action === 'delete') return no('they were deleted, and that is for a person to do again')
  if (shape === undefined) return no('the table is not there')
  if (key.length === 0) return no('its rows have no key to find them by')
  const missing = (list: readonly string[]) => list.filter(c => shape.columns[c] === undefined)
  const lacks = missing(key)
  if (lacks.length > 0) return no(`the table has no ${lacks.join(', ')}`)
  if (!row.there.ours && !row.there.base) {
    const all = missing(Object.values(columns))
    return all.length > 0 ? no(`the table has no ${all.join(', ')}`) : [{ ...about, column: null, why: null }]
  }
  return changedIn(row, names).map(([, column]) => {
    const computed = shape.columns[column]?.generated === true ? `the database computes ${column} now` : null
    return { ...about, column, why: missing([column]).length > 0 ? `the table has no ${column}` : computed }
  })
}

/** Cells that theirs changed and ours has otherwise: name in ours, name in theirs. */
function changedIn({ cells, there }: ListedRow, { columns, key }: MappedNames): (readonly [string, string])[] {
  return Object.entries(cells).flatMap(([name, { base, ours, theirs }]) => {
    const column = columns[name] ?? name
    const changed = theirs !== ours && (theirs !== base || !there.base)
    return changed && !key.includes(column) ? [[name, column] as const] : []
  })
}

interface Begun {
  readonly group: Group
  readonly names: MappedNames
  readonly part: ArchivedPart
}

export class ListedPlace {
  readonly group: Group
  /** null: no word puts it back. */
  readonly lines: Lines | null
  readonly #names: MappedNames
  #many = 0
  #some: ArchivedRow[] = []
  #told: ArchivedRow[] = []

  private constructor({ group, names }: Begun, lines: Lines | null) {
    this.group = group
    this.lines = lines
    this.#names = names
  }

  static async make(source: ReplaySource, ground: Ground, begun: Begun, i: number): Promise<ListedPlace> {
    const { group, names, part } = begun
    const shape = source.schema.tables[group.table]
    if (group.why !== null || shape === undefined) return new ListedPlace(begun, null)
    // Said to be of no type, so that the database is asked of each value: an enum of the same name may have other words now.
    const typed = (list: readonly string[]) => Object.fromEntries(list.map(c => [c, '']))
    const columns = typed(group.column === null ? Object.values(names.columns) : [group.column])
    // Of another list the lines have other numbers.
    const path = `conflicts ${part.sha256.slice(0, 16)} ${group.kind} ${group.table} ${group.column ?? ''}`
    const what = group.column === null ? 'rows' : 'cells'
    const kept = { what, path, table: group.table, shape, key: typed(names.key), columns, defaults: {} } as const
    const lines = await Lines.make(ground, kept, `backout_conflict_${i}`)
    if (what === 'cells') await toldBeside(ground, lines, shape, i)
    return new ListedPlace(begun, lines)
  }

  async add({ key, cells, times = 1 }: ListedRow): Promise<void> {
    this.#many += times
    if (this.lines === null) return
    const { columns } = this.#names
    const keys = Object.fromEntries(Object.entries(key).map(([name, value]) => [columns[name] ?? name, value]))
    const values = (side: 'theirs' | 'ours') =>
      Object.fromEntries(Object.entries(cells).map(([name, sides]) => [columns[name] ?? name, sides[side]]))
    this.#some.push({ key: keys, values: { ...values('theirs'), ...keys } })
    this.#told.push({ key: keys, values: values('ours') })
    if (this.#some.length === AT_ONCE) await this.#flush()
  }

  async #flush(): Promise<void> {
    await this.lines?.add(this.#some)
    await this.lines?.filled?.add(this.#told)
    this.#some = []
    this.#told = []
  }

  async end(): Promise<void> {
    await this.#flush()
    await this.lines?.recall()
    await this.lines?.leaveUntold()
  }

  get place(): Place {
    const { table, kind, column } = this.group
    const what = column === null ? 'rows' : 'cells'
    const columns = column === null ? {} : { [column]: '' }
    const part = { what, table, columns, lines: this.#many, kind } as const
    return { part, lines: this.lines, why: this.group.why, back: 0 }
  }

  /** What of it is not there. */
  async left({ merger }: Ground): Promise<ListedLeft> {
    const { table, kind, column, why } = this.group
    const columns = column === null ? null : [column]
    const { lines } = this
    const about = { table, columns, kind, why, word: why === null ? `${wordOf(this.group)}=theirs` : null }
    if (lines === null) return { ...about, rows: this.#many }
    const alike = `${lines.work} AS w JOIN ${lines.ours} AS o ON ${lines.onKey} WHERE w.state <> ${LINE.noted} AND NOT ${lines.unlike}`
    return { ...about, rows: (await lines.count(`w.state <> ${LINE.noted}`)) - (await countOf(merger, alike)) }
  }
}

/** What the cells held in ours when they were listed: only what is still that is written over. */
async function toldBeside(ground: Ground, lines: Lines, shape: TableShape, i: number): Promise<void> {
  lines.filled = await Lines.make(ground, { ...lines.kept, what: 'filled', shape }, `backout_told_${i}`)
  lines.told = true
}
