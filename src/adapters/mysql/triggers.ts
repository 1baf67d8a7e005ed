import { BackoutError } from '../../core/errors.ts'
import { asWritten, type Definition, readDefinitions } from './definitions.ts'
import { guarded, unguarded } from './guard.ts'
import { literal, quoted, text } from './names.ts'
import { type Access, connect, type Session } from './session.ts'

/**
 * Makes the triggers of a database quiet for the session that carries, or as they were again (`quiet` false). Each is replaced in
 * one statement, in its place, so that whatever ends this, every trigger is there and acts for the application as
 * before; and what it was is in what it is. Not on MySQL, which can drop a trigger or make one, and not replace it. Answers
 * whether none could fire for that session until now, or can from now on.
 */
export async function guardTriggers(
  access: Access,
  database: string,
  quiet: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  await using db = await connect(access, database, signal)
  const all = await triggersIn(db, database)
  if (!db.flavour.mariadb) return all.length === 0
  const before = all.every(t => isGuarded(t.body))
  if (all.every(t => isGuarded(t.body) === quiet)) return before
  let others = 0
  for (const { definition, sql, body } of await replacements(db, database, all, quiet)) {
    if (sql === null || definition === null) others++
    else if (isGuarded(body) !== quiet) {
      await asWritten(db, definition)
      await db.run(sql)
    }
  }
  await db.run(`SET SESSION sql_mode = '${db.mode}'`)
  await expectAlike(db, database, all)
  return quiet ? others === 0 : before
}

/** Whether a trigger of the database would fire for the session that carries, although `guardTriggers` was called. */
export async function firesGuarded(access: Access, database: string, signal: AbortSignal): Promise<boolean> {
  await using db = await connect(access, database, signal)
  const all = await triggersIn(db, database)
  if (!db.flavour.mariadb) return all.length > 0
  return (await replacements(db, database, all, true)).some(r => r.sql === null)
}

interface Replacement {
  readonly body: string
  readonly definition: Definition | null
  /** null: the trigger stays as it is. */
  readonly sql: string | null
}

async function replacements(
  db: Session,
  database: string,
  all: readonly Trigger[],
  quiet: boolean,
): Promise<Replacement[]> {
  if (all.length === 0) return []
  const written = new Map((await readDefinitions(db, database, 'trigger')).map(d => [d.name, d]))
  return all.map(({ name, body, on }, i) => {
    const definition = written.get(name) ?? null
    const next = all[i + 1]
    const place = next?.on === on ? `PRECEDES ${quoted(next.name)}` : ''
    return { body, definition, sql: definition === null ? null : replacing(definition, unguarded(body), place, quiet) }
  })
}

function isGuarded(body: string): boolean {
  return unguarded(body) !== body
}

interface Trigger {
  readonly name: string
  readonly body: string
  /** Table, time and event: those of one fire one after the other. */
  readonly on: string
}

async function triggersIn(db: Session, database: string): Promise<Trigger[]> {
  const rows = await db.query(
    `SELECT TRIGGER_NAME AS name, ACTION_STATEMENT AS body, EVENT_OBJECT_TABLE AS t, ACTION_TIMING AS time, EVENT_MANIPULATION AS event
     FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ${literal(database)} ORDER BY 3, 4, 5, ACTION_ORDER`,
  )
  return rows.map(row => ({
    name: text(row['name']),
    body: text(row['body']),
    on: ['time', 'event', 't'].map(c => text(row[c])).join(' '),
  }))
}

/**
 * The server keeps neither OR REPLACE in a trigger's text nor its place, which it cuts out with the space before it or without, as
 * the mode is: there is one on both sides. null: the trigger is written as none is, and stays as it is.
 */
function replacing({ sql }: Definition, was: string, place: string, quiet: boolean): string | null {
  const [, head] = /^CREATE (.+)$/s.exec(sql.slice(0, sql.length - was.length)) ?? []
  if (head === undefined || was === '' || !sql.endsWith(was)) return null
  const start = head.replace(UNLESS_THERE, '$1')
  return `CREATE OR REPLACE ${place === '' ? start : `${start.trimEnd()} ${place} `}${quiet ? guarded(was) : was}`
}

/** Cannot be said of what is replaced. */
const UNLESS_THERE = /^(DEFINER=.+?\sTRIGGER\s+)IF\s+NOT\s+EXISTS\s+/is

/** Nothing but the guards may have changed: names, order and what they do. */
async function expectAlike(db: Session, database: string, before: readonly Trigger[]): Promise<void> {
  const now = await triggersIn(db, database)
  const unlike = before.find((t, i) => now[i]?.name !== t.name || unguarded(now[i].body) !== unguarded(t.body))
  if (unlike === undefined && now.length === before.length) return
  throw new BackoutError({
    code: 'triggers_changed',
    what: `The triggers of ${db.name} changed while data was carried`,
    cause: `${unlike?.name ?? 'another one'} is not as it was`,
    next: 'see that nobody changes them meanwhile, make them again as they were, then resume the run',
    exit: 'failed',
  })
}
