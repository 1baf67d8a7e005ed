import { BackoutError } from '../../core/errors.ts'
import { ROLLED } from './errors.ts'
import type { CarryOptions, Decision } from './options.ts'
import { type Ground, literal, type Piece } from './piece.ts'
import type { CarrySource } from './source.ts'

/** The databases that words speak of. */
const BASE = 'the database at the release'
const THEIRS = 'the database right before the restore'
const OURS = 'the restored database'
const NEXT = 'backout data replay; or bring the table back'

/**
 * Looks at all that persons said before anything is done by it: a word on what is not there would count for nothing, and
 * nobody would notice. Throws `words_unknown`.
 */
export async function checkWords(
  source: CarrySource,
  ground: Ground,
  pieces: readonly Piece[],
  options: CarryOptions,
): Promise<void> {
  const { base, theirs } = source.schemas
  for (const { was, now } of options.renames) {
    if (base.tables[was.table] === undefined) throw unknown('--renamed', was.table, BASE, Object.keys(base.tables))
    if (theirs.tables[now.table] === undefined)
      throw unknown('--renamed', now.table, THEIRS, Object.keys(theirs.tables))
    const sides = [
      [was, base, BASE],
      [now, theirs, THEIRS],
    ] as const
    for (const [{ table, column }, schema, which] of sides) {
      const columns = schema.tables[table]?.columns ?? {}
      if (column !== null && columns[column] === undefined)
        throw unknown('--renamed', `${table}.${column}`, which, Object.keys(columns))
    }
  }
  for (const table of Object.keys(options.suspicion?.where ?? {})) inNew('--suspect', table)
  for (const { table } of options.releases) if (table !== null) inNew('a release from quarantine', table)
  for (const decision of options.decisions) await checkDecision(source, ground, pieces, decision)

  function inNew(who: string, table: string): void {
    if (theirs.tables[table] !== undefined) return
    const now = pieces.find(p => p.table.ours === table)?.table.theirs
    throw unknown(who, table, THEIRS, Object.keys(theirs.tables), now)
  }
}

async function checkDecision(
  source: CarrySource,
  ground: Ground,
  pieces: readonly Piece[],
  { table, key, set }: Decision,
): Promise<void> {
  const among = pieces.filter(p => table === undefined || p.table.ours === table)
  if (table !== undefined && among.length === 0) {
    if (source.schemas.base.tables[table] !== undefined && source.schemas.ours.tables[table] === undefined)
      throw wrong(
        `A decision, which may be one that was kept, names ${table}, which ${OURS} has no more: ${ROLLED}`,
        NEXT,
      )
    const then = pieces.find(p => p.table.theirs === table)?.table.ours
    const names = pieces.map(p => p.table.ours)
    throw unknown('a decision', table, OURS, names, then)
  }
  const names = Object.keys(key ?? {})
    .toSorted()
    .join(', ')
  const told = (piece: Piece) => (piece.keyed ? piece.key : ['id'])
  if (key !== undefined && !among.some(p => told(p).toSorted().join(', ') === names)) {
    const keys = among.map(p => `${p.table.ours}: ${told(p).join(', ')}`).slice(0, 10)
    throw wrong(
      `A decision has the key (${names}), and nothing is told apart by that`,
      `name all columns of the key and no others (${keys.join('; ')})`,
    )
  }
  if (set === undefined) return
  if (table === undefined || key === undefined)
    throw wrong('A decision gives values, and does not say for which row', 'name its table and its key')
  await checkValues(source, ground, table, set)
}

async function checkValues(
  { schemas }: CarrySource,
  { merger, dialect }: Ground,
  table: string,
  set: Readonly<Record<string, string | null>>,
): Promise<void> {
  const columns = schemas.ours.tables[table]?.columns ?? {}
  const names = Object.keys(columns).filter(name => columns[name]?.generated === false)
  for (const [name, text] of Object.entries(set)) {
    if (!names.includes(name)) throw unknown('a value of a decision', `${table}.${name}`, OURS, names)
    if (text === null) continue
    const { type = '' } = columns[name] ?? {}
    // As the column keeps it, which may be more than its type says of a value by itself: it fills it up, or cuts it.
    const one = `(SELECT 0 AS n) AS one LEFT JOIN ${merger.table('ours', table)} AS o ON 1 = 0`
    const tried = await merger.work('backout_word', `SELECT o.${dialect.quote(name)} AS c FROM ${one} WHERE 1 = 0`, [])
    const read = await merger.run(`INSERT INTO ${tried} (c) VALUES (${dialect.value(literal(text), type)})`).then(
      () => merger.query(`SELECT ${dialect.text('t.c', type)} AS t FROM ${tried} AS t`),
      (error: unknown) => {
        if (merger.refusal(error) === null) throw error
        return []
      },
    )
    if (read[0]?.['t'] === text) continue
    throw wrong(
      `What a decision gives for ${table}.${name} is no exact text of a value of it`,
      `write it as --values shows such values${dialect.kind === 'sqlite' ? `: a text in quotes, "'q'"` : ', all digits and no quotes'}`,
    )
  }
}

/** `called`: its name there, where it has another one. */
function unknown(who: string, name: string, where: string, among: readonly string[], called?: string): BackoutError {
  const list = among.toSorted().slice(0, 20).join(', ')
  return wrong(
    `${who} names ${name}, which is not in ${where}`,
    called === undefined ? `use one of: ${list}` : `it is ${called} there: say that`,
  )
}

function wrong(what: string, next: string): BackoutError {
  return new BackoutError({ code: 'words_unknown', what, next, exit: 'usage' })
}
