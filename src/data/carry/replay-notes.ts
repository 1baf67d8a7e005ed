import type { Image, Job, Reader } from '../engine.ts'
import { LEDGER } from './ledger.ts'
import type { Ground } from './piece.ts'

/** Notes that one statement puts in. */
const AT_ONCE = 200

type Note = readonly [key: string, run: string, table: string]

/**
 * Takes over what replays of earlier runs noted in theirs. What they had put back is among what users had then: with it comes
 * that it was put back, or a replay of such a run would do so once more, over what users have done to it since.
 */
export async function keepNotes(ground: Ground, theirs: Image, { signal }: Job): Promise<void> {
  const { dialect } = ground
  const there = await theirs
    .reading(signal, db => db.query(`SELECT 1 AS x FROM ${dialect.table(LEDGER)} WHERE 1 = 0`))
    .then(
      () => true,
      () => false,
    )
  if (!there) return
  let some: Note[] = []
  await theirs.reading(signal, async db => {
    await eachNote(ground, db, async note => {
      if (some.push(note) < AT_ONCE) return
      await put(ground, some)
      some = []
    })
  })
  if (some.length > 0) await put(ground, some)
}

function eachNote({ dialect }: Ground, db: Reader, each: (note: Note) => Promise<void>): Promise<void> {
  const sql = `SELECT ${dialect.quote('key')} AS k, run AS r, table_name AS t FROM ${dialect.table(LEDGER)} WHERE hash = 'replay'`
  return db.each(sql, [], row => each([String(row['k']), String(row['r']), String(row['t'])]))
}

async function put({ merger, dialect }: Ground, notes: readonly Note[]): Promise<void> {
  const [ledger, key] = [merger.table('ours', LEDGER), dialect.quote('key')]
  const given: unknown[] = []
  const text = (value: string) => dialect.parameter(given.push(value))
  const keys = notes.map(([k], i) => [k, dialect.parameter(i + 1)] as const)
  const known = await merger.query(
    `SELECT ${key} AS k FROM ${ledger} WHERE ${key} IN (${keys.map(([, at]) => at).join(', ')})`,
    keys.map(([k]) => k),
  )
  const there = new Set(known.map(row => String(row['k'])))
  const rows = notes.filter(([k]) => !there.has(k)).map(note => `(${note.map(text).join(', ')}, 0, 'replay')`)
  if (rows.length === 0) return
  await merger.transaction(async () => {
    await merger.run(`INSERT INTO ${ledger} (${key}, run, table_name, action, hash) VALUES ${rows.join(', ')}`, given)
  })
}
