import type { Job } from '../../data/engine.ts'
import type { MysqlImage } from './image.ts'
import { bareName, literal, quoted, tableSql, text } from './names.ts'
import type { Session } from './session.ts'
import { isBytes } from './types.ts'

const ROWS_AT_ONCE = 500

/** Brings a table of another server over, whole: its rows with its key, and nothing that would act on them. */
export async function copyTable(from: MysqlImage, table: string, to: Session, name: string, job: Job): Promise<void> {
  await from.on(job.signal, async source => {
    const columns = await source.query(
      `SELECT COLUMN_NAME AS name, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, COLUMN_KEY AS part
       FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
      [from.database, bareName(table)],
    )
    const defined = columns.map(c => {
      const charset =
        c['charset'] === null ? '' : ` CHARACTER SET ${text(c['charset'])} COLLATE ${text(c['collation'])}`
      return `${quoted(text(c['name']))} ${text(c['type'])}${charset} ${c['part'] === 'PRI' ? 'NOT NULL' : 'NULL'}`
    })
    const key = await source.query(
      `SELECT COLUMN_NAME AS name FROM information_schema.STATISTICS
       WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX`,
      [from.database, bareName(table)],
    )
    const primary = key.length === 0 ? '' : `, PRIMARY KEY (${key.map(k => quoted(text(k['name']))).join(', ')})`
    job.guard()
    await to.run(`DROP TABLE IF EXISTS ${name}`)
    await to.run(`CREATE TABLE ${name} (${defined.join(', ')}${primary}) ENGINE=InnoDB`)
    const kinds = columns.map(c => ({ name: quoted(text(c['name'])), type: text(c['type']) }))
    const shown = kinds.map(({ name: c, type }, i) => {
      if (isBytes(type)) return `HEX(CAST(${c} AS BINARY)) AS c${i}`
      return `${type.startsWith('float') ? `CAST(${c} + 0e0 AS CHAR)` : `CAST(${c} AS CHAR)`} AS c${i}`
    })
    let rows: string[] = []
    const flush = async () => {
      if (rows.length > 0) await to.run(`INSERT INTO ${name} VALUES ${rows.join(', ')}`)
      rows = []
    }
    await source.each(`SELECT ${shown.join(', ')} FROM ${tableSql(table, from.database)}`, [], async row => {
      const cells = kinds.map(({ type }, i) => {
        const cell = row[`c${i}`]
        if (cell === null || cell === undefined) return 'NULL'
        return isBytes(type) ? `x'${text(cell)}'` : literal(text(cell))
      })
      rows.push(`(${cells.join(', ')})`)
      if (rows.length >= ROWS_AT_ONCE) await flush()
    })
    await flush()
  })
}
