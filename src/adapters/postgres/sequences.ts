import type { Note } from './image.ts'
import { literal } from './names.ts'
import { systemOf } from './reader.ts'
import { one, type Session, textOf } from './session.ts'

/** How far a sequence is. */
interface Issued {
  /** As SQL: "public"."orders_id_seq". */
  readonly name: string
  readonly oid: number
  readonly last: bigint
  /** False: `last` was not issued yet. */
  readonly called: boolean
  readonly up: boolean
}

export interface AllIssued {
  /** Of which database these are. */
  readonly origin: string
  readonly sequences: readonly Issued[]
}

export async function issued(session: Session): Promise<AllIssued> {
  const rows = await session.query(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid, s.seqincrement > 0 AS up
     FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^pg_' AND c.relpersistence <> 't'`,
  )
  const sequences: Issued[] = []
  for (const row of rows) {
    const name = String(row['name'])
    const [state] = await session.query(`SELECT last_value::text AS last, is_called FROM ${name}`)
    const last = BigInt(textOf(state, 'last') ?? 0)
    sequences.push({
      name,
      oid: Number(row['oid']),
      last,
      called: state?.['is_called'] === true,
      up: row['up'] === true,
    })
  }
  const database = await one(session, 'SELECT oid FROM pg_database WHERE datname = current_database()')
  return { origin: `${await systemOf(session)}.${database}`, sequences }
}

/**
 * Lets the sequences of `fresh` go on behind every number that the old database issued. A sequence that the release renamed
 * is known by its number, where the dump was of that very database.
 */
export async function keepIssued(fresh: Session, old: AllIssued, note: Note): Promise<void> {
  for (const mine of (await issued(fresh)).sequences) {
    const number = old.origin === note.origin ? note.sequences[mine.name] : undefined
    const then = old.sequences.filter(s => s.oid === number || s.name === mine.name)
    const furthest = [mine, ...then].reduce((a, b) => (isFurther(b, a, mine.up) ? b : a))
    if (furthest !== mine) await setTo(fresh, mine.name, furthest)
  }
}

function isFurther(a: Issued, b: Issued, up: boolean): boolean {
  if (a.last !== b.last) return up ? a.last > b.last : a.last < b.last
  return a.called && !b.called
}

export async function setTo(session: Session, name: string, to: { last: bigint; called: boolean }): Promise<void> {
  const [bounds] = await session.query(
    `SELECT seqmin::text AS min, seqmax::text AS max FROM pg_sequence WHERE seqrelid = ${literal(name)}::regclass`,
  )
  // Another range than the old one's: the end of it, so that what cannot be told apart is refused and not issued twice.
  const [min, max] = [BigInt(textOf(bounds, 'min') ?? to.last), BigInt(textOf(bounds, 'max') ?? to.last)]
  const last = to.last < min ? min : to.last > max ? max : to.last
  await session.query('SELECT setval($1::regclass, $2::int8, $3)', [
    name,
    last.toString(),
    last === to.last ? to.called : true,
  ])
}
