import type { Staged } from '../../data/engine.ts'
import { quote, sqlName } from './names.ts'
import { issued, setTo } from './sequences.ts'
import { type Session, textOf } from './session.ts'

/** The live database, what it was before (null: nothing is known of that), and what was merged of it. */
interface Both {
  readonly ours: Session
  readonly theirs: Session | null
  readonly home: string
  readonly staged: readonly Staged[]
}

/** Lets numbers go on behind every one of ours and theirs, and behind every one that a row has. */
export async function keepNumbers(both: Both, guard: () => void): Promise<void> {
  const { ours } = both
  const theirs = both.theirs === null ? [] : (await issued(both.theirs)).sequences
  for (const mine of (await issued(ours)).sequences) {
    const owner = await ownerOf(ours, mine.name)
    const renamed = await counterpart(both, owner)
    const same = theirs.filter(s => s.name === mine.name || s.name === renamed)
    const called = [mine, ...same].filter(n => n.called).map(n => n.last)
    const highest = await highestOf(ours, owner, mine.up)
    if (highest !== null) called.push(highest)
    const last = called.reduce<bigint | null>((a, b) => (a === null || (mine.up ? b > a : b < a) ? b : a), null)
    if (last === null || (mine.called && mine.last === last)) continue
    guard()
    await setTo(ours, mine.name, { last, called: true })
  }
}

interface Owner {
  /** As SQL. */
  readonly table: string
  readonly column: string
}

async function ownerOf(session: Session, sequence: string): Promise<Owner | null> {
  const [row] = await session.query(
    `SELECT n.nspname AS schema, c.relname AS name, a.attname AS col FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid
     JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = $1::regclass AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass`,
    [sequence],
  )
  if (row === undefined) return null
  return { table: `${quote(String(row['schema']))}.${quote(String(row['name']))}`, column: String(row['col']) }
}

/** The sequence of the same column in theirs, where the release gave table, column or sequence another name. */
async function counterpart({ theirs, home, staged }: Both, owner: Owner | null): Promise<string | null> {
  const known = owner === null ? undefined : staged.find(s => sqlName(s.names.ours, home) === owner.table)
  const column = known?.columns.find(c => c.ours === owner?.column)
  if (theirs === null || known === undefined || column === undefined) return null
  const table = sqlName(known.names.theirs, home)
  const [row] = await theirs.query(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = pg_get_serial_sequence($1, $2)::regclass`,
    [table, column.theirs],
  )
  return textOf(row, 'name')
}

async function highestOf(session: Session, owner: Owner | null, up: boolean): Promise<bigint | null> {
  if (owner === null) return null
  const sql = `SELECT ${up ? 'max' : 'min'}(${quote(owner.column)})::text AS n FROM ${owner.table}`
  const highest = textOf((await session.query(sql))[0], 'n')
  return highest === null || !/^-?\d+$/.test(highest) ? null : BigInt(highest)
}
