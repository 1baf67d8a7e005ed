import type { Row } from '../../data/engine.ts'
import type { SchemaShape } from '../../data/schema.ts'
import { unguarded } from './guard.ts'
import { isOwn, quoted, shownName, text } from './names.ts'
import type { Session } from './session.ts'

/** What is no table and binds an application: views, triggers, functions, procedures, events, sequences. */
export async function programs(db: Session, database: string): Promise<Omit<SchemaShape, 'tables'>> {
  return {
    views: await views(db, database),
    triggers: await triggers(db, database),
    others: {
      ...(await defaults(db, database)),
      ...(await routines(db, database)),
      ...(await events(db, database)),
      ...(await sequences(db, database)),
    },
  }
}

/** The server qualifies every name in it; those of the database itself are shown without. */
async function views(db: Session, database: string): Promise<Record<string, string>> {
  const rows = await db.query(
    `SELECT TABLE_NAME AS name, VIEW_DEFINITION AS body, CHECK_OPTION AS checked, SECURITY_TYPE AS security, DEFINER AS definer
     FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? ORDER BY 1`,
    [database],
  )
  const own = `${quoted(database)}.`
  return record(rows, row => {
    const checked = row['checked'] === 'NONE' ? '' : ` with ${text(row['checked']).toLowerCase()} check option`
    const rights = `sql security ${text(row['security']).toLowerCase()} definer ${text(row['definer'])}`
    return `${rights} as ${text(row['body']).replaceAll(own, '')}${checked}`
  })
}

async function triggers(db: Session, database: string): Promise<Record<string, string>> {
  const rows = await db.query(
    `SELECT TRIGGER_NAME AS name, ACTION_TIMING AS timing, EVENT_MANIPULATION AS event, EVENT_OBJECT_TABLE AS t,
       ACTION_ORDER AS place, ACTION_STATEMENT AS body, SQL_MODE AS mode, DEFINER AS definer
     FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ? ORDER BY 1`,
    [database],
  )
  return record(rows, row => {
    const on = `${text(row['timing'])} ${text(row['event'])} on`.toLowerCase()
    const rest = `(${text(row['place'])}) definer ${text(row['definer'])} mode ${modeOf(row)}`
    return `${on} ${text(row['t'])} ${rest}: ${unguarded(text(row['body']))}`
  })
}

/** What a table or column gets that is made without saying more. */
async function defaults(db: Session, database: string): Promise<Record<string, string>> {
  const [row] = await db.query(
    `SELECT DEFAULT_COLLATION_NAME AS collation FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?`,
    [database],
  )
  return row === undefined ? {} : { 'default collation': text(row['collation']) }
}

async function routines(db: Session, database: string): Promise<Record<string, string>> {
  const rows = await db.query(
    `SELECT ROUTINE_NAME AS name, ROUTINE_TYPE AS type, DTD_IDENTIFIER AS gives, ROUTINE_DEFINITION AS body,
       IS_DETERMINISTIC AS determined, SQL_DATA_ACCESS AS access, SECURITY_TYPE AS security, DEFINER AS definer, SQL_MODE AS mode
     FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? ORDER BY 2, 1`,
    [database],
  )
  const params = await db.query(
    `SELECT SPECIFIC_NAME AS name, ROUTINE_TYPE AS type, PARAMETER_MODE AS mode, PARAMETER_NAME AS param, DTD_IDENTIFIER AS is_a
     FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = ? AND ORDINAL_POSITION > 0 ORDER BY 1, ORDINAL_POSITION`,
    [database],
  )
  const given = Map.groupBy(params, p => `${text(p['type'])} ${text(p['name'])}`)
  return Object.fromEntries(
    rows
      .filter(row => !isOwn(text(row['name'])))
      .map(row => {
        const kind = `${text(row['type'])} ${text(row['name'])}`
        const list = (given.get(kind) ?? []).map(p => [p['mode'], p['param'], p['is_a']].map(text).join(' ').trim())
        const traits = [
          row['determined'] === 'YES' ? 'deterministic' : '',
          text(row['access']).toLowerCase(),
          `sql security ${text(row['security']).toLowerCase()}`,
          `definer ${text(row['definer'])}`,
          `mode ${modeOf(row)}`,
        ]
        const head = `(${list.join(', ')})${text(row['gives']) === '' ? '' : ` returns ${text(row['gives'])}`}`
        return [kindOf(row), `${head} ${traits.filter(t => t !== '').join(' ')}: ${text(row['body'])}`]
      }),
  )
}

function kindOf(row: Row): string {
  return `${text(row['type']).toLowerCase()} ${shownName(text(row['name']))}`
}

/** Whether it is switched on does not show: those of a database that lies beside never are. */
async function events(db: Session, database: string): Promise<Record<string, string>> {
  const rows = await db.query(
    `SELECT EVENT_NAME AS name, EVENT_DEFINITION AS body, EVENT_TYPE AS type, EXECUTE_AT AS at, INTERVAL_VALUE AS n,
       INTERVAL_FIELD AS unit, STARTS AS starts, ENDS AS ends, ON_COMPLETION AS after, DEFINER AS definer,
       SQL_MODE AS mode, TIME_ZONE AS zone
     FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? ORDER BY 1`,
    [database],
  )
  return Object.fromEntries(
    rows
      .filter(row => !isOwn(text(row['name'])))
      .map(row => {
        const when = ['type', 'at', 'n', 'unit', 'starts', 'ends', 'zone', 'after'].map(c => text(row[c]))
        const rest = `definer ${text(row['definer'])} mode ${modeOf(row)}: ${text(row['body'])}`
        return [
          `event ${shownName(text(row['name']))}`,
          `${when
            .filter(w => w !== '')
            .join(' ')
            .toLowerCase()} ${rest}`,
        ]
      }),
  )
}

/** How each counts, not where it stands. */
async function sequences(db: Session, database: string): Promise<Record<string, string>> {
  if (!db.flavour.mariadb) return {}
  const out: Record<string, string> = {}
  for (const name of await sequenceNames(db, database)) {
    const [row] = await db.query(
      `SELECT minimum_value, maximum_value, start_value, increment, cache_size, cycle_option FROM ${quoted(database)}.${quoted(name)}`,
    )
    const said = Object.entries(row ?? {}).map(([key, value]) => `${key} ${text(value)}`)
    out[`sequence ${shownName(name)}`] = said.join(' ')
  }
  return out
}

export async function sequenceNames(db: Session, database: string): Promise<string[]> {
  const rows = await db.query(
    `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'SEQUENCE' ORDER BY 1`,
    [database],
  )
  return rows.map(row => text(row['name'])).filter(name => !isOwn(name))
}

function modeOf(row: Row): string {
  return text(row['mode']) === '' ? 'none' : text(row['mode']).toLowerCase()
}

function record(rows: readonly Row[], shown: (row: Row) => string): Record<string, string> {
  return Object.fromEntries(
    rows
      .map(row => [text(row['name']), row] as const)
      .flatMap(([name, row]) => (isOwn(name) ? [] : [[shownName(name), shown(row)]])),
  )
}
