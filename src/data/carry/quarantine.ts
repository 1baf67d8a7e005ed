import type { TableShape } from '../schema.ts'
import { mark, markWhere } from './checks.ts'
import type { Release, Suspicion } from './options.ts'
import { type Ground, literal, type Piece } from './piece.ts'
import { DELETE } from './words.ts'

/** Why a row is held back. */
export const HELD = { no: 0, unreleased: 1, suspect: 2 } as const

const MADE =
  /^(date)?(creat(e|ed|ion)|insert(ed)?|added|written|entered|placed|recorded|logged)(at|on|date|time|ts|timestamp)?$/
const CHANGED = /^(date|last)?(updated?|modified|modification|changed)(at|on|date|time|ts|timestamp)?$/

/** Under suspicion every row is held until a named person releases it; those are marked that something speaks against. */
export async function hold(
  ground: Ground,
  piece: Piece,
  shape: TableShape,
  suspicion: Suspicion,
  releases: readonly Release[],
): Promise<void> {
  await markWhere(ground, piece, { held: HELD.unreleased }, 'w.done = 0')
  const suspect = suspectRows(ground, piece, shape, suspicion)
  await mark(
    ground,
    piece,
    { held: HELD.suspect },
    suspect ?? `SELECT w.n AS n FROM ${piece.work} AS w WHERE w.done = 0`,
  )
  for (const { rows, table, where } of releases) {
    if (table !== null && table !== piece.table.theirs) continue
    const scope = rows === 'all' ? 'w.held > 0' : `w.held = ${HELD.unreleased}`
    // Rows that cannot be asked are released by those words only that leave nothing to ask.
    const fits = where === null ? '' : ` AND ${asked(piece, where)}`
    await mark(ground, piece, { held: HELD.no }, `SELECT w.n AS n FROM ${piece.work} AS w WHERE ${scope}${fits}`)
  }
}

/** null: all of them. A row that was deleted, or has no key, cannot be asked: it is suspect. */
function suspectRows(
  ground: Ground,
  piece: Piece,
  shape: TableShape,
  { where, since, until }: Suspicion,
): string | null {
  const timed = since !== null || until !== null
  if (Object.keys(where).length === 0 && !timed) return null
  const conditions: string[] = []
  const said = where[piece.table.theirs]
  if (said !== undefined) conditions.push(said)
  if (timed) {
    const times = timesIn(ground, piece, shape)
    if (times.length === 0) return null
    conditions.push(...times.map(time => within(time, since, until)))
  }
  if (conditions.length === 0) return `SELECT w.n AS n FROM ${piece.work} AS w WHERE 1 = 0`
  if (!piece.keyed) return null
  const any = conditions.map(c => `(${c})`).join(' OR ')
  return `SELECT w.n AS n FROM ${piece.work} AS w WHERE w.done = 0 AND (w.act = ${DELETE} OR ${asked(piece, any)})`
}

/** For the plan: tables of which nothing was said that could speak against a row. */
export function unspokenOf(suspicion: Suspicion | null, pieces: readonly Piece[]): string[] {
  if (suspicion === null || suspicion.since !== null || suspicion.until !== null) return []
  const said = Object.keys(suspicion.where)
  const names = pieces.map(piece => piece.table.theirs).filter(name => !said.includes(name))
  if (said.length === 0 || names.length === 0) return []
  return [`--suspect says nothing of ${names.join(', ')}: nothing speaks against the rows of these`]
}

/** The condition, asked of the row of theirs. */
function asked(piece: Piece, condition: string): string {
  if (!piece.keyed) return '1 = 0'
  const same = piece.same(piece.keyOf('asked', 'theirs'), piece.keyOf('w', 'work'))
  return `EXISTS (SELECT 1 FROM ${piece.image('theirs')} AS asked WHERE ${same} AND (${condition}))`
}

function timesIn({ dialect }: Ground, piece: Piece, shape: TableShape): string[] {
  const known = new Set(piece.table.columns.map(c => c.theirs))
  return Object.entries(shape.columns).flatMap(([name, { type }]) => {
    if (!known.has(name) || !(MADE.test(bare(name)) || saysWhenChanged(name))) return []
    const iso = dialect.iso(`asked.${dialect.quote(name)}`, type)
    return iso === null ? [] : [iso]
  })
}

/** Of a column like `updated_at`, by its name. */
export function saysWhenChanged(column: string): boolean {
  return CHANGED.test(bare(column))
}

function bare(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]/g, '')
}

/** A row without a time is suspect too. */
function within(time: string, since: string | null, until: string | null): string {
  const from = since === null ? '1 = 1' : `${time} >= ${literal(since)}`
  const to = until === null ? '1 = 1' : `${time} <= ${literal(until)}`
  return `${time} IS NULL OR (${from} AND ${to})`
}
