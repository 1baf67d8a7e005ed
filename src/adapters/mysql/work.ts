import { quoted, text } from './names.ts'
import { type Session, WRITE_MODE } from './session.ts'

/** Longer columns are indexed by their beginning. Characters. */
const INDEXED = 180

/**
 * Fills a table with a query, and numbers its rows as `n` in the order of those columns. `temporary`: it is of this session
 * alone, goes with it, and is in no log of the server. Its indexes are there before its rows: these come in order.
 */
export async function makeWork(
  db: Session,
  table: string,
  temporary: boolean,
  query: { select: string; indexes: readonly (readonly string[])[]; order: readonly string[] | undefined },
): Promise<void> {
  const { select, indexes, order } = query
  const kind = temporary ? 'TEMPORARY TABLE' : 'TABLE'
  const counts = order === undefined ? '' : ' (n INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY)'
  await db.run(`DROP ${kind} IF EXISTS ${table}`)
  await db.run(`CREATE ${kind} ${table}${counts} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    AS SELECT d.* FROM (${select}) AS d LIMIT 0`)
  const columns = await columnsOf(db, table)
  const added = indexes.filter(of => order === undefined || of.join() !== 'n').map(of => indexSql(of, columns))
  if (added.length > 0) await db.run(`ALTER TABLE ${table} ${added.join(', ')}`)
  const names = [...columns.keys()].filter(c => order === undefined || c !== 'n').map(quoted)
  // Servers of a cluster leave out the numbers of the others: these are of this table only.
  await db.run('SET SESSION auto_increment_increment = 1, auto_increment_offset = 1')
  const sorted = order === undefined ? '' : ` ORDER BY ${order.map(quoted).join(', ')}`
  const insert = `INSERT INTO ${table} (${names.join(', ')}) SELECT ${names.join(', ')} FROM (${select}) AS d${sorted}`
  await (NARROWER.test(select) ? loosely(db, insert) : db.run(insert))
  await db.run('SET SESSION auto_increment_increment = DEFAULT, auto_increment_offset = DEFAULT')
}

/** A character that the other set does not have ends a statement that writes; whether it has it is what is asked. */
const NARROWER = /\bUSING (?!utf8mb4\b)/

async function loosely(db: Session, insert: string): Promise<void> {
  await db.run(`SET SESSION sql_mode = '${WRITE_MODE.replace('STRICT_ALL_TABLES,', '')}'`)
  await db.run(insert)
  await db.run(`SET SESSION sql_mode = '${WRITE_MODE}'`)
}

/** Name and type of each. information_schema does not show what is of one session. */
async function columnsOf(db: Session, table: string): Promise<Map<string, string>> {
  const rows = await db.query(`SHOW COLUMNS FROM ${table}`)
  return new Map(rows.map(row => [text(row['Field']), text(row['Type'])]))
}

function indexSql(of: readonly string[], columns: ReadonlyMap<string, string>): string {
  const parts = of.map(c => `${quoted(c)}${isLong(columns.get(c) ?? '') ? `(${INDEXED})` : ''}`)
  return `ADD INDEX (${parts.join(', ')})`
}

function isLong(type: string): boolean {
  const [, kind = '', size = ''] = /^((?:var)?(?:char|binary)|[a-z]*(?:text|blob))(?:\((\d+)\))?/.exec(type) ?? []
  return /text|blob/.test(kind) || Number(size) > INDEXED
}
