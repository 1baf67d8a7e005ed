import type { ComparedPart, ComparedRow } from '../../core/contract.ts'
import type { Dialect, Reader } from '../engine.ts'
import { contentBeside, joinedBeside, type Texts } from './beside.ts'
import { type Match, matchOf, type Pair } from './compare.ts'

interface Readers {
  readonly now: Reader
  readonly base: Reader
}

interface Wanted {
  readonly rows: number
  readonly values: boolean
}

type Differing = Pick<ComparedPart, 'exact' | 'rows'>

/** What differs between two tables, counted, and the first so many of the rows. */
export async function differingRows(
  dialect: Dialect,
  readers: Readers,
  pair: Pair,
  wanted: Wanted,
): Promise<Differing> {
  const match = matchOf(dialect, pair)
  return match === null || 'number' in match
    ? differingContent(dialect, readers, pair, wanted)
    : differingKeys(dialect, readers, pair, match, wanted)
}

async function differingKeys(
  dialect: Dialect,
  readers: Readers,
  pair: Pair,
  match: Match,
  wanted: Wanted,
): Promise<Differing> {
  const rows: ComparedRow[] = []
  const keep = (row: () => ComparedRow) => (rows.length < wanted.rows ? void rows.push(row()) : undefined)
  const shown = rowsAs(pair, match, wanted.values)
  const found = await joinedBeside(dialect, readers, pair, match, (base, now) => {
    if (now === null) keep(() => shown('deleted', base, base, null))
    else if (base.cells.some((cell, i) => cell !== now.cells[i])) keep(() => shown('changed', base, base, now))
  })
  const added = found.now - found.joined
  if (added > 0) {
    const back = swapped(pair)
    await joinedBeside(dialect, { now: readers.base, base: readers.now }, back, turned(match), (now, base) => {
      if (base === null) keep(() => shown('added', now, null, now))
    })
  }
  return { exact: { added, deleted: found.base - found.joined, changed: found.joined - found.equal }, rows }
}

async function differingContent(dialect: Dialect, readers: Readers, pair: Pair, wanted: Wanted): Promise<Differing> {
  const rows: ComparedRow[] = []
  const shown = rowsAs(pair, null, wanted.values)
  const keep = (is: 'added' | 'deleted') => (texts: Texts) => {
    if (rows.length >= wanted.rows) return
    rows.push(is === 'added' ? shown(is, texts, null, texts) : shown(is, texts, texts, null))
  }
  const exact = await contentBeside(dialect, readers, pair, keep('added'))
  if (exact.deleted > 0 && rows.length < wanted.rows) {
    await contentBeside(dialect, { now: readers.base, base: readers.now }, swapped(pair), keep('deleted'))
  }
  return { exact: { ...exact, changed: 0 }, rows }
}

function swapped({ now, base, columns }: Pair): Pair {
  return { now: base, base: now, columns: columns.map(c => ({ now: c.base, base: c.now })) }
}

function turned(match: Match): Match {
  if ('number' in match) return { number: { now: match.number.base, base: match.number.now } }
  return { key: match.key.map(c => ({ now: c.base, base: c.now })) }
}

type Show = (is: ComparedRow['is'], by: Texts, then: Texts | null, now: Texts | null) => ComparedRow

function rowsAs({ columns }: Pair, match: Match | null, values: boolean): Show {
  const names = match === null || 'number' in match ? [] : match.key.map(c => c.now)
  return (is, by, then, now) => ({
    is,
    key: names.map((name, i) => `${name} = ${keyText(by.key[i] ?? null, values)}`).join(', '),
    cells: columns.flatMap((c, i) => {
      const [a, b] = [then?.cells[i] ?? null, now?.cells[i] ?? null]
      const left = names.includes(c.now) || (is === 'changed' && a === b)
      return left ? [] : [{ column: c.now, then: masked(a, values), now: masked(b, values) }]
    }),
  })
}

/** A number or a UUID finds the row and says nothing of it; any other key may be somebody's name. */
function keyText(text: string | null, values: boolean): string {
  if (text !== null && /^'?(-?\d{1,18}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})'?$/i.test(text)) return text
  return masked(text, values) ?? 'NULL'
}

/** That there is a value, not which. */
function masked(text: string | null, values: boolean): string | null {
  return text === null || values ? text : '***'
}
