import { BackoutError } from '../../core/errors.ts'
import type { Holder, Row } from '../../data/engine.ts'
import { codeOf } from './errors.ts'
import { literal, text } from './names.ts'
import type { Access, Session } from './session.ts'

const NO_SUCH_SESSION = 1094

/** Sessions of others in the database. Without the right PROCESS the server shows those of the same user only. */
export async function holdersOf(session: Session, access: Access, database: string): Promise<Holder[]> {
  const open = await transactions(session)
  const rows = await session.query(
    `SELECT ID AS id, USER AS user, HOST AS host, COMMAND AS command, TIME AS seconds, STATE AS state
     FROM information_schema.PROCESSLIST WHERE DB = ${literal(database)} ORDER BY ID`,
  )
  return rows
    .filter(row => !access.own.has(Number(row['id'])))
    .filter(row => !['Daemon', 'Binlog Dump'].includes(text(row['command'])))
    .map(row => holderOf(row, open.get(text(row['id']))))
}

function holderOf(row: Row, since: string | undefined): Holder {
  const idle = row['command'] === 'Sleep'
  const doing =
    since !== undefined
      ? `${idle ? 'idle in' : 'in'} a transaction since ${since}`
      : idle
        ? `idle for ${text(row['seconds'])} s`
        : `busy for ${text(row['seconds'])} s`
  return {
    id: text(row['id']),
    text: `session ${text(row['id'])} of ${text(row['user'])} from ${text(row['host']) || 'here'}, ${doing}`,
    busy: since !== undefined || !idle,
  }
}

/** Sessions with a transaction open, and since when. Empty where the right to see them is missing. */
async function transactions(session: Session): Promise<Map<string, string>> {
  const sql = `SELECT trx_mysql_thread_id AS id, trx_started AS since FROM information_schema.INNODB_TRX`
  const rows = await session.query(sql).catch(() => [])
  return new Map(rows.map(row => [text(row['id']), text(row['since'])]))
}

/** For messages: who is in the way. */
export async function blockers(session: Session, access: Access, database: string): Promise<string> {
  const all = await holdersOf(session, access, database)
  const busy = all.filter(h => h.busy)
  return (busy.length > 0 ? busy : all).map(h => h.text).join('; ')
}

/** Tells a session of somebody else to end. One that is gone by now is no error. */
export async function endSession(session: Session, id: string): Promise<void> {
  await session.query(`KILL CONNECTION ${BigInt(id)}`).catch((error: unknown) => {
    if (codeOf(error instanceof BackoutError ? error.cause : error) !== NO_SUCH_SESSION) throw error
  })
}
