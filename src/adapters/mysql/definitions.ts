import { z } from 'zod'
import { BackoutError } from '../../core/errors.ts'
import { codeOf } from './errors.ts'
import { unguarded } from './guard.ts'
import { isOwn, literal, quoted, text } from './names.ts'
import type { Session } from './session.ts'

/** What is no table, as the statement that makes it, and the settings that the statement was written under. */
const definition = z.object({
  kind: z.enum(['trigger', 'view', 'function', 'procedure', 'package', 'package body', 'event']),
  name: z.string(),
  sql: z.string(),
  mode: z.string(),
  client: z.string(),
  collation: z.string(),
  zone: z.string(),
})
export type Definition = z.infer<typeof definition>
export const definitions = z.array(definition)

type Kind = Definition['kind']

/** The order in which they are made: what others stand on comes first. */
const KINDS: readonly Kind[] = ['package', 'package body', 'function', 'procedure', 'view', 'trigger', 'event']

/** All that the database has, definers and all. Names of its own objects stand without the database's. */
export async function readDefinitions(db: Session, database: string, only?: Kind): Promise<Definition[]> {
  await db.run(`USE ${quoted(database)}`)
  await db.run(`SET SESSION sql_mode = ''`)
  try {
    const out: Definition[] = []
    for (const kind of KINDS) {
      if (only !== undefined && kind !== only) continue
      for (const name of await namesOf(db, database, kind)) out.push(await shown(db, kind, name))
    }
    return out
  } finally {
    await db.run(`SET SESSION sql_mode = '${db.mode}'`)
  }
}

export async function namesOf(db: Session, database: string, kind: Kind): Promise<string[]> {
  const [from, where, name] = {
    trigger: ['TRIGGERS', 'TRIGGER_SCHEMA', 'TRIGGER_NAME'],
    view: ['VIEWS', 'TABLE_SCHEMA', 'TABLE_NAME'],
    event: ['EVENTS', 'EVENT_SCHEMA', 'EVENT_NAME'],
    function: ['ROUTINES', 'ROUTINE_SCHEMA', 'ROUTINE_NAME'],
    procedure: ['ROUTINES', 'ROUTINE_SCHEMA', 'ROUTINE_NAME'],
    package: ['ROUTINES', 'ROUTINE_SCHEMA', 'ROUTINE_NAME'],
    'package body': ['ROUTINES', 'ROUTINE_SCHEMA', 'ROUTINE_NAME'],
  }[kind] as [string, string, string]
  const type = from === 'ROUTINES' ? ` AND ROUTINE_TYPE = ${literal(kind.toUpperCase())}` : ''
  // Triggers of one table and moment fire in the order in which they were made.
  const order = kind === 'trigger' ? 'EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER' : name
  const rows = await db.query(
    `SELECT ${name} AS name FROM information_schema.${from} WHERE ${where} = ${literal(database)}${type} ORDER BY ${order}`,
  )
  return rows.map(row => text(row['name'])).filter(n => !isOwn(n))
}

async function shown(db: Session, kind: Kind, name: string): Promise<Definition> {
  const [row] = await db.query(`SHOW CREATE ${kind.toUpperCase()} ${quoted(name)}`)
  const get = (column: string) => text(row?.[column])
  const sql = Object.entries(row ?? {}).find(([c]) => /^(Create |SQL Original Statement)/i.test(c))?.[1]
  return {
    kind,
    name,
    sql: kind === 'trigger' ? unguarded(text(sql)) : text(sql),
    mode: get('sql_mode'),
    client: get('character_set_client'),
    collation: get('collation_connection'),
    zone: get('time_zone') || '+00:00',
  }
}

/** What the server says of a view that names what is no longer there: table, column, view, function, database. */
const BROKEN = new Set<unknown>([1146, 1054, 1356, 1305, 1049])

function isBroken({ kind }: Definition, error: unknown): boolean {
  return kind === 'view' && BROKEN.has(codeOf(error instanceof BackoutError ? error.cause : error))
}

/**
 * Makes them in `database`, in place of those that have their names. `asleep`: events are switched off. `broken`: views that
 * did not work where they were read cannot be made anywhere.
 */
export async function makeDefinitions(
  db: Session,
  database: string,
  all: readonly Definition[],
  events: 'as they were' | 'asleep',
  broken: 'refused' | 'left out' = 'refused',
): Promise<void> {
  await db.run(`USE ${quoted(database)}`)
  let waiting = KINDS.flatMap(kind => all.filter(d => d.kind === kind))
  try {
    // A view may stand on another one that comes later by name: what fails is tried again as long as anything works.
    while (waiting.length > 0) {
      const failed: { definition: Definition; error: unknown }[] = []
      for (const definition of waiting) {
        await make(db, definition, events).catch((error: unknown) => failed.push({ definition, error }))
      }
      if (failed.length === waiting.length) {
        const refused = failed.find(f => broken === 'refused' || !isBroken(f.definition, f.error))
        if (refused !== undefined) throw refused.error
        return
      }
      waiting = failed.map(f => f.definition)
    }
  } finally {
    await db.run(
      `SET SESSION sql_mode = '${db.mode}', time_zone = '+00:00', character_set_client = utf8mb4, collation_connection = utf8mb4_bin`,
    )
  }
}

async function make(db: Session, d: Definition, events: 'as they were' | 'asleep'): Promise<void> {
  await drop(db, d)
  await asWritten(db, d)
  await db.run(d.kind === 'event' && events === 'asleep' ? asleep(d.sql) : d.sql)
}

/** The session is as that was in which the definition was written: the server keeps it so with what is made. */
export async function asWritten(db: Session, d: Definition): Promise<void> {
  const zone = d.zone === 'SYSTEM' ? 'SYSTEM' : literal(d.zone)
  const charset = `character_set_client = ${d.client || 'utf8mb4'}, collation_connection = ${d.collation || 'utf8mb4_bin'}`
  await db.run(`SET SESSION sql_mode = ${literal(d.mode)}, time_zone = ${zone}, ${charset}`)
}

export async function drop(db: Session, { kind, name }: Pick<Definition, 'kind' | 'name'>): Promise<void> {
  await db.run(`DROP ${kind.toUpperCase()} IF EXISTS ${quoted(name)}`)
}

/** An event that runs beside would write into what it names. */
function asleep(sql: string): string {
  return sql.replace(
    /(ON COMPLETION (?:NOT )?PRESERVE) (?:ENABLE|DISABLE ON (?:SLAVE|REPLICA)|DISABLE)\b/,
    '$1 DISABLE',
  )
}
