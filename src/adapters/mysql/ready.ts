import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Lack, Ready } from '../../data/engine.ts'
import type { MysqlSettings } from './config.ts'
import { type Grants, grantsOf } from './grants.ts'
import { besideName } from './image.ts'
import { quoted, text } from './names.ts'
import { type Access, connect, type Session } from './session.ts'
import { findTool } from './tools.ts'

const LOOKING = ['SELECT', 'SHOW VIEW', 'TRIGGER', 'EVENT', 'LOCK TABLES']

/** What a copy is filled by and looked at. */
const FILLING = [
  ...LOOKING,
  'INSERT',
  'UPDATE',
  'DELETE',
  'CREATE',
  'DROP',
  'ALTER',
  'INDEX',
  'REFERENCES',
  'CREATE VIEW',
  'CREATE ROUTINE',
  'ALTER ROUTINE',
  'CREATE TEMPORARY TABLES',
]

/** Asks the server in use, and the one for proofs, what this login may do, and looks for the tools that fit it. */
export async function ready(
  settings: MysqlSettings,
  live: Access,
  scratch: Access,
  signal: AbortSignal,
): Promise<Ready> {
  const { database } = settings
  await using db = await connect(live, database, signal)
  const grants = await grantsOf(db)
  const tools = await toolsFor(settings, live, db, signal)
  const lacks = [
    ...tools.lacks,
    ...reading(grants, db, database),
    ...(await proving(grants, live, scratch, database, signal)),
    ...restoring(grants, database),
    ...(await definers(grants, db, database)),
    ...comforts(grants, db),
    ...(await firing(db, database)),
  ]
  const suffices = `${grants.account} may do all that capturing and going back take`
  return { well: [...tools.well, ...(lacks.some(l => l.for !== 'comfort') ? [] : [suffices])], lacks }
}

async function toolsFor(
  settings: MysqlSettings,
  { baseDir }: Access,
  db: Session,
  signal: AbortSignal,
): Promise<Ready> {
  const well: string[] = []
  const lacks: Lack[] = []
  for (const which of ['dump', 'client'] as const) {
    try {
      well.push((await findTool(which, db.flavour, settings.tools, baseDir, signal)).shown)
    } catch (error) {
      if (!(error instanceof BackoutError)) throw error
      lacks.push({ for: 'capture', code: error.code, what: messageOf(error), remedy: error.next ?? '' })
    }
  }
  return { well: well.length === 0 ? [] : [`${well.join(', ')}; the server is ${db.flavour.version}`], lacks }
}

function lack(what: Lack['for'], text_: string, remedy: string): Lack {
  return { for: what, code: 'right_missing', what: text_, remedy }
}

function reading(grants: Grants, db: Session, database: string): Lack[] {
  const { account } = grants
  const out: Lack[] = []
  const missing = grants.missing(LOOKING, database)
  if (missing.length > 0) {
    const rights = missing.join(', ')
    out.push(lack('capture', `${account} lacks ${rights} on ${database}`, grant(rights, like(database), account)))
  }
  const grantRoutines = routinesGrant(grants, db)
  if (grantRoutines !== null) {
    out.push(
      lack(
        'comfort',
        `${account} may not read functions and procedures of others, which then are in no backup`,
        grantRoutines,
      ),
    )
  }
  return out
}

/** The statement that lets routines of others be read; null: they can be. */
function routinesGrant(grants: Grants, { flavour }: Session): string | null {
  const { account } = grants
  if (flavour.mariadb && flavour.number < 110_300) {
    return grants.missing(['SELECT'], 'mysql', 'proc').length === 0 ? null : `GRANT SELECT ON mysql.proc TO ${account}`
  }
  const right = flavour.mariadb ? 'SHOW CREATE ROUTINE' : 'SHOW_ROUTINE'
  const may = grants.missing([right], null).length === 0 || grants.missing(['SELECT'], null).length === 0
  return may ? null : `GRANT ${right} ON *.* TO ${account}`
}

async function proving(
  grants: Grants,
  live: Access,
  scratch: Access,
  database: string,
  signal: AbortSignal,
): Promise<Lack[]> {
  if (scratch === live) return copying(grants, database, 'try', 'capture')
  await using db = await connect(scratch, null, signal)
  return copying(await grantsOf(db), database, 'try', 'capture')
}

function copying(grants: Grants, database: string, use: 'try' | 'new', what: Lack['for']): Lack[] {
  const missing = grants.missing(FILLING, besideName(database, use, ''))
  if (missing.length === 0) return []
  const copies = quoted(`${escaped(database)}\\_backout\\_%`)
  const says = `${grants.account} may not make and fill the databases ${database}_backout_… that backups are loaded into`
  return [lack(what, says, grant('ALL', copies, grants.account))]
}

/** Where proofs are made beside the database, the right to make copies was asked for already. */
function restoring(grants: Grants, database: string): Lack[] {
  const { account } = grants
  const beside = copying(grants, database, 'new', 'restore')
  const missing = grants.missing(FILLING, database)
  const own =
    missing.length === 0
      ? []
      : [
          lack(
            'restore',
            `${account} lacks ${missing.join(', ')} on ${database}`,
            grant('ALL', like(database), account),
          ),
        ]
  return [...beside, ...own]
}

async function definers(grants: Grants, db: Session, database: string): Promise<Lack[]> {
  const sources = [
    ['VIEWS', 'TABLE_SCHEMA'],
    ['TRIGGERS', 'TRIGGER_SCHEMA'],
    ['ROUTINES', 'ROUTINE_SCHEMA'],
    ['EVENTS', 'EVENT_SCHEMA'],
  ]
  const found = new Set<string>()
  for (const [view, column] of sources) {
    const sql = `SELECT DISTINCT DEFINER AS definer, CURRENT_USER() AS own FROM information_schema.${view} WHERE ${column} = ?`
    for (const row of await db.query(sql, [database])) {
      if (text(row['definer']) !== text(row['own'])) found.add(text(row['definer']))
    }
  }
  const { mariadb, number } = db.flavour
  const right = mariadb ? 'SET USER' : number < 80_200 ? 'SET_USER_ID' : 'SET_ANY_DEFINER'
  if (found.size === 0 || has(grants, right)) return []
  const what = `${grants.account} may not make anew what ${[...found].join(', ')} defined (views, triggers, routines, events)`
  return [lack('capture', what, grant(right, '*', grants.account))]
}

/** Triggers that fire for what is carried: MySQL cannot replace one in a single statement, so that none is touched there. */
export async function firing(db: Session, database: string): Promise<Lack[]> {
  if (db.flavour.mariadb) return []
  const rows = await db.query(
    'SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ? ORDER BY 1',
    [database],
  )
  if (rows.length === 0) return []
  const names = rows.map(row => text(row['name'])).join(', ')
  const what = `the triggers ${names} fire for what is carried forward: of what they write into other tables nothing is right then, and carrying ends unproven`
  const remedy =
    'where one writes into another table: set `carryForward: report`, and after going back drop it, run backout data apply, and make it again'
  return [{ for: 'comfort', code: 'triggers_fire', what, remedy }]
}

function comforts(grants: Grants, { flavour }: Session): Lack[] {
  const { account } = grants
  const admin = flavour.mariadb ? 'CONNECTION ADMIN' : 'CONNECTION_ADMIN'
  const wanted = [
    [admin, 'may not end sessions of others, so a restore waits for people to do so'],
    ['PROCESS', 'does not see who else is in the database'],
    ['RELOAD', 'may not stop writers for the instant in which several connections begin, so one connection reads'],
  ] as const
  return wanted.flatMap(([right, why]) =>
    has(grants, right) ? [] : [lack('comfort', `${account} ${why}`, grant(right, '*', account))],
  )
}

function has(grants: Grants, right: string): boolean {
  return grants.missing([right], null).length === 0
}

/** `on`: a database as grants name it, or "*" for the server. */
function grant(rights: string, on: string, account: string): string {
  return `GRANT ${rights} ON ${on}.* TO ${account}`
}

function like(database: string): string {
  return quoted(escaped(database))
}

function escaped(database: string): string {
  return database.replaceAll(/[_%]/g, '\\$&')
}
