import { literal, quoted, text } from './names.ts'
import { sequenceNames } from './programs.ts'
import type { Session } from './session.ts'

/** The next number of every table and sequence that counts. */
export interface Numbers {
  readonly tables: ReadonlyMap<string, bigint>
  readonly sequences: ReadonlyMap<string, bigint>
}

export async function highestNumbers(db: Session, database: string): Promise<Numbers> {
  const rows = await db.query(
    `SELECT TABLE_NAME AS t, AUTO_INCREMENT AS n FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = ${literal(database)} AND AUTO_INCREMENT IS NOT NULL AND TABLE_TYPE <> 'SEQUENCE'`,
  )
  const sequences = new Map<string, bigint>()
  for (const name of db.flavour.mariadb ? await sequenceNames(db, database) : []) {
    const [row] = await db.query(`SELECT next_not_cached_value AS n FROM ${quoted(database)}.${quoted(name)}`)
    sequences.set(name, BigInt(text(row?.['n'])))
  }
  return { tables: new Map(rows.map(row => [text(row['t']), BigInt(text(row['n']))])), sequences }
}

/**
 * A number that was once given to a row (an order in a customer's mailbox) is never given to another. `renamed`: what issued
 * them called a table of this database.
 */
export async function keepNumbers(
  db: Session,
  database: string,
  issued: Numbers,
  renamed: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const now = await highestNumbers(db, database)
  for (const [table, next] of now.tables) {
    const names = [table, renamed.get(table) ?? table]
    const wanted = names.map(name => issued.tables.get(name) ?? 0n).reduce((a, b) => (a > b ? a : b))
    if (wanted <= next) continue
    await db.run(`ALTER TABLE ${quoted(database)}.${quoted(table)} AUTO_INCREMENT = ${wanted}`)
  }
  for (const [name, next] of now.sequences) {
    const wanted = issued.sequences.get(name)
    if (wanted === undefined || wanted === next) continue
    const where = `${quoted(database)}.${quoted(name)}`
    const [row] = await db.query(`SELECT increment FROM ${where}`)
    // It may count downwards; MariaDB never sets a sequence back.
    const further = Number(row?.['increment']) < 0 ? wanted < next : wanted > next
    if (further) await db.query(`SELECT SETVAL(${where}, ${wanted}, 0)`)
  }
}
