import { type Ground, literal, type Piece } from './piece.ts'
import { TAKE } from './words.ts'

/** The table in ours that says what was carried: whoever resumes does nothing twice. */
export const LEDGER = 'backout_carried'

/** As much of a hash tells one plan from another; every row has it. */
const HASH = 16

/** Rows of which nothing is left that waits for a word; of others it is still to be told what waits. */
export const CARRIED_WHOLE = `(w.cell = 0 OR w.take <> ${TAKE.none})`

export async function makeLedger({ merger, dialect }: Ground): Promise<void> {
  const columns = [
    `${dialect.quote('key')} ${dialect.keyType} NOT NULL PRIMARY KEY`,
    `run VARCHAR(200) NOT NULL`,
    `table_name VARCHAR(200) NOT NULL`,
    `action INTEGER NOT NULL`,
    // The beginning of that of the plan that it was carried by.
    `hash VARCHAR(64) NOT NULL`,
  ]
  await merger.run(`CREATE TABLE IF NOT EXISTS ${merger.table('ours', LEDGER)} (${columns.join(', ')})`)
}

/** Writes down rows of a work table. Belongs into the transaction that carries them. */
export async function writeLedger(ground: Ground, piece: Piece, hash: string, where: string): Promise<void> {
  const { merger, dialect, run } = ground
  const values = [piece.ledgerKey(), literal(run), literal(piece.table.ours), 'w.act', literal(hash.slice(0, HASH))]
  await merger.run(`INSERT INTO ${merger.table('ours', LEDGER)} (${dialect.quote('key')}, run, table_name, action, hash)
    SELECT ${values.join(', ')} FROM ${piece.work} AS w WHERE ${where}`)
}

/** Takes out of the work what an earlier process carried, whatever became of it since. */
export async function leaveCarried(ground: Ground, piece: Piece): Promise<void> {
  const { merger, dialect, run } = ground
  if (!(await isThere(ground))) return
  const known = `SELECT ${dialect.quote('key')} FROM ${merger.table('ours', LEDGER)}
    WHERE run = ${literal(run)} AND table_name = ${literal(piece.table.ours)}`
  const carried = `SELECT w.n AS n FROM ${piece.work} AS w WHERE ${piece.ledgerKey()} IN (${known})`
  const sets = [
    ['carried', '1'],
    ['kind', '0'],
    ['cell', '0'],
    ['done', '1'],
  ] as const
  await merger.run(dialect.update(piece.work, sets, `(${carried}) AS x`, 'o.n = x.n'))
}

/** A database that nothing was carried into has no ledger: reading it fails, and that is the answer. */
async function isThere({ merger }: Ground): Promise<boolean> {
  try {
    await merger.query(`SELECT 1 AS x FROM ${merger.table('ours', LEDGER)} WHERE 1 = 0`)
    return true
  } catch {
    return false
  }
}
