import { createHash } from 'node:crypto'
import type { Dialect, Reader, Row } from '../engine.ts'
import type { Column, Joined, Match, Pair } from './compare.ts'
import { shownValue } from './values.ts'

const KEYS_AT_ONCE = 500
/** Of a table without a key so many rows are held in memory at once; a longer one is read several times. */
const HELD_AT_ONCE = 1_000_000

interface Readers {
  readonly now: Reader
  readonly base: Reader
}

/** The exact texts of a row: its key, and its columns; null stands for NULL. */
export interface Texts {
  readonly key: readonly (string | null)[]
  readonly cells: readonly (string | null)[]
}

/** A row of the base, and the one here that has the same key; null: there is none. */
export type OnPair = (base: Texts, now: Texts | null) => void | Promise<void>

/** Reads the base row by row, and asks the live database for the same keys: in whatever order either keeps them. */
export async function joinedBeside(
  dialect: Dialect,
  readers: Readers,
  pair: Pair,
  match: Match,
  onPair: OnPair = () => {},
): Promise<Joined> {
  const found = { base: 0, joined: 0, equal: 0, telling: 0 }
  await eachPair(dialect, readers, pair, match, async (base, now) => {
    found.base++
    if (now !== null) {
      found.joined++
      const equal = base.cells.every((cell, i) => cell === now.cells[i])
      if (equal) found.equal++
      if (equal && now.cells.some(cell => cell !== null)) found.telling++
    }
    await onPair(base, now)
  })
  const [row] = await readers.now.query(`SELECT count(*) AS n FROM ${dialect.table(pair.now.table)}`)
  return { ...found, now: Number(row?.['n']) }
}

async function eachPair(dialect: Dialect, readers: Readers, pair: Pair, match: Match, onPair: OnPair): Promise<void> {
  const width = { key: 'number' in match ? 1 : match.key.length, cells: pair.columns.length }
  let waiting: Texts[] = []
  const settle = async () => {
    const partners = await partnersOf(dialect, readers.now, pair, match, waiting, width)
    for (const base of waiting) await onPair(base, partners.get(idOf(base)) ?? null)
    waiting = []
  }
  await readers.base.each(selectOf(dialect, pair, match, 'base'), [], row => {
    waiting.push(textsOf(row, width))
    return waiting.length < KEYS_AT_ONCE ? undefined : settle()
  })
  await settle()
}

/** The rows here with these keys. */
async function partnersOf(
  dialect: Dialect,
  now: Reader,
  pair: Pair,
  match: Match,
  rows: readonly Texts[],
  width: { key: number; cells: number },
): Promise<Map<string, Texts>> {
  const keyed = rows.filter(r => r.key.every(k => k !== null))
  if (keyed.length === 0) return new Map()
  const terms = keyTerms(dialect, pair, match, 'now')
  let n = 0
  const one = () => terms.map(t => dialect.value(dialect.parameter(++n), t.type)).join(', ')
  const list = keyed.map(() => (terms.length === 1 ? one() : `(${one()})`)).join(', ')
  const columns = terms.map(t => t.sql).join(', ')
  const where =
    terms.length === 1
      ? `${columns} IN (${list})`
      : `(${columns}) IN (${dialect.kind === 'sqlite' ? 'VALUES ' : ''}${list})`
  const found = await now.query(
    `${selectOf(dialect, pair, match, 'now')} WHERE ${where}`,
    keyed.flatMap(r => r.key),
  )
  return new Map(found.map(row => textsOf(row, width)).map(texts => [idOf(texts), texts]))
}

/** All rows of one side as exact texts. */
function selectOf(dialect: Dialect, pair: Pair, match: Match | null, side: 'now' | 'base'): string {
  const keys = match === null ? [] : keyTerms(dialect, pair, match, side)
  const list = [
    ...keys.map((k, i) => `${dialect.text(k.sql, k.type)} AS k${i}`),
    ...pair.columns.map((c, i) => `${cellText(dialect, pair, side, c)} AS c${i}`),
  ]
  return `SELECT ${list.join(', ')} FROM ${dialect.table(pair[side].table)}`
}

function cellText(dialect: Dialect, pair: Pair, side: 'now' | 'base', column: Column): string {
  const [raw, type, old] = [dialect.quote(column[side]), typeIn(pair, side, column), typeIn(pair, 'base', column)]
  const as = column.inOldType === true && type !== old ? dialect.convert(raw, type, old) : null
  const text = dialect.text(raw, type)
  return as === null ? text : `CASE WHEN ${as.fits} THEN ${dialect.text(as.value, old)} ELSE ${text} END`
}

function keyTerms(dialect: Dialect, pair: Pair, match: Match, side: 'now' | 'base'): { sql: string; type: string }[] {
  if ('number' in match) return [{ sql: match.number[side], type: '' }]
  return match.key.map(c => ({ sql: dialect.quote(c[side]), type: typeIn(pair, side, c) }))
}

function typeIn(pair: Pair, side: 'now' | 'base', column: Column): string {
  return pair[side].shape.columns[column[side]]?.type ?? ''
}

function textsOf(row: Row, width: { key: number; cells: number }): Texts {
  const list = (prefix: string, length: number) => Array.from({ length }, (_, i) => shownValue(row[`${prefix}${i}`]))
  return { key: list('k', width.key), cells: list('c', width.cells) }
}

/** One text for one key. */
function idOf({ key }: Texts): string {
  return key.length === 1 && key[0] != null ? key[0] : JSON.stringify(key)
}

/** Rows without a key, as a bag of digests: each side is read as often as it takes to hold only a part of them. */
export async function contentBeside(
  dialect: Dialect,
  { now, base }: Readers,
  pair: Pair,
  onAdded: (row: Texts) => void = () => {},
): Promise<{ added: number; deleted: number }> {
  const [row] = await base.query(`SELECT count(*) AS n FROM ${dialect.table(pair.base.table)}`)
  const passes = Math.max(1, Math.ceil(Number(row?.['n']) / HELD_AT_ONCE))
  let [added, deleted] = [0, 0]
  for (let pass = 0; pass < passes; pass++) {
    const bag = new Map<string, number>()
    const each = (reader: Reader, side: 'now' | 'base', work: (digest: string, row: Texts) => void) =>
      reader.each(selectOf(dialect, pair, null, side), [], found => {
        const texts = textsOf(found, { key: 0, cells: pair.columns.length })
        const digest = digestOf(texts)
        if (digest.readUInt32LE(0) % passes === pass) work(digest.toString('latin1'), texts)
      })
    await each(base, 'base', id => void bag.set(id, (bag.get(id) ?? 0) + 1))
    await each(now, 'now', (id, row) => {
      const left = bag.get(id) ?? 0
      if (left > 0) bag.set(id, left - 1)
      else {
        added++
        onAdded(row)
      }
    })
    for (const left of bag.values()) deleted += left
  }
  return { added, deleted }
}

function digestOf({ cells }: Texts): Buffer {
  return createHash('sha256').update(JSON.stringify(cells)).digest().subarray(0, 16)
}
