import { BackoutError, type ExitName, messageOf } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { withoutRows } from '../../exec/without-rows.ts'

/** SQLSTATE of an error of the server's; '' for any other. */
export function sqlState(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^[0-9A-Z]{5}$/.test(code) && code !== 'EPIPE' ? code : ''
}

interface Meaning {
  readonly code: string
  readonly what: (name: string) => string
  readonly next: string
  readonly exit?: ExitName
}

const UNREACHABLE: Meaning = {
  code: 'database_unreachable',
  what: name => `The database ${name} cannot be reached`,
  next: 'look whether the server runs and answers this machine (`host`, `port`, firewall), then try again',
}
const DENIED: Meaning = {
  code: 'database_denied',
  what: name => `The server lets this role not do that on ${name}`,
  next: 'give the role the rights that docs/adapters/postgres.md lists, or name another in `user:`',
}
const LOGIN: Meaning = {
  code: 'database_denied',
  what: name => `The server of ${name} refuses this login`,
  next: 'correct `user:` and `password:`, or the line for this machine in pg_hba.conf',
}
const MISSING: Meaning = {
  code: 'database_missing',
  what: name => `There is no database ${name}`,
  next: 'correct `database:`, or go back by the rung `restore`',
}
const DAMAGED: Meaning = {
  code: 'database_damaged',
  what: name => `PostgreSQL cannot read ${name}`,
  next: "look at the server's log and disk, then go back by the rung `restore`",
}
const DISK_FULL: Meaning = {
  code: 'disk_full',
  what: name => `The disk of the server of ${name} is full`,
  next: 'free space on it, then try again',
}
const BUSY: Meaning = {
  code: 'database_busy',
  what: name => `The database ${name} is kept busy by others`,
  next: 'wait until they are done, or end them, then try again',
}
const SLOW: Meaning = {
  code: 'database_busy',
  what: name => `A statement on ${name} was ended by its time limit`,
  next: 'raise `statementLimit:`, or look at what the server is busy with',
}
const OPEN: Meaning = {
  code: 'database_open',
  what: name => `The database ${name} is in use`,
  next: 'stop what uses it, then resume the run',
}
const FAILED: Meaning = {
  code: 'database_failed',
  what: name => `PostgreSQL refused to work with ${name}`,
  next: 'look at the cause',
}

const BY_STATE: Readonly<Record<string, Meaning>> = {
  '28P01': LOGIN,
  '28000': LOGIN,
  '3D000': MISSING,
  '42501': DENIED,
  '53100': DISK_FULL,
  '53300': BUSY,
  '55006': OPEN,
  '55P03': BUSY,
  '40P01': BUSY,
  '40001': BUSY,
  '55000': FAILED,
  '57014': SLOW,
  '57P01': UNREACHABLE,
  '57P02': UNREACHABLE,
  '57P03': UNREACHABLE,
  '58030': DAMAGED,
  '58P01': DAMAGED,
  XX001: DAMAGED,
  XX002: DAMAGED,
}

const GONE = /^(ECONN|EHOST|ENET|ENOTFOUND|EAI_|ETIMEDOUT|EPIPE|ENOENT|EACCES)/
const GONE_TEXT =
  /Connection terminated|connection timeout|timeout expired|not queryable|Client was closed|SSL|certificate/i

/** An error of the driver or the server as one that says what to do. BackoutErrors and errors of code stay as they are. */
export function explained(name: string, error: unknown): unknown {
  if (error instanceof BackoutError || !(error instanceof Error)) return error
  const meaning = meaningOf(error)
  return meaning === null ? error : made(meaning, name, withoutValues(error), error)
}

/** What the server says of data that it cannot take holds that data: `invalid input syntax for type integer: "…"`. */
function withoutValues(error: Error): string {
  const text = messageOf(error)
  return sqlState(error).startsWith('22') ? text.replace(/".*"/s, '"***"') : text
}

function meaningOf(error: Error): Meaning | null {
  const state = sqlState(error)
  if (state.startsWith('08')) return UNREACHABLE
  if (state !== '') return BY_STATE[state] ?? FAILED
  const code = 'code' in error ? String(error.code) : ''
  if (GONE.test(code) || GONE_TEXT.test(error.message)) return UNREACHABLE
  return error instanceof AggregateError && error.errors.length > 0 ? meaningOf(error.errors[0] as Error) : null
}

function made(meaning: Meaning, name: string, cause: string, from: unknown): BackoutError {
  return new BackoutError({
    code: meaning.code,
    what: meaning.what(name),
    cause: redact(cause),
    next: meaning.next,
    exit: meaning.exit ?? 'failed',
    from,
  })
}

const TEXTS: readonly (readonly [RegExp, Meaning])[] = [
  [/password authentication failed|no pg_hba.conf entry|role ".*" is not permitted to log in/, LOGIN],
  [/database ".*" does not exist/, MISSING],
  [/No space left on device|could not extend file/, DISK_FULL],
  [/lock timeout|could not obtain lock/, BUSY],
  [/statement timeout/, SLOW],
  [/permission denied|must be owner|must be superuser|must be able to SET ROLE|must be member/, DENIED],
  [
    /server closed the connection|terminating connection|could not connect|Connection refused|connection to server .* failed|the database system is/,
    UNREACHABLE,
  ],
]

/** What a tool of PostgreSQL complained of, where it is something that happens to any database; null: something else. */
export function saidByTool(name: string, stderr: string): BackoutError | null {
  const said = endOf(stderr)
  const found = TEXTS.find(([pattern]) => pattern.test(said))
  return found === undefined ? null : made(found[1], name, said, undefined)
}

/** The end of what a tool of PostgreSQL complained of, without rows and secrets. */
export function endOf(stderr: string): string {
  return redact(withoutRows(stderr).trim().slice(-2000))
}

/** The same error, with who stands in the way. */
export function heldBy(name: string, error: unknown, who: string): BackoutError {
  const by = who === '' ? 'another session' : who
  return new BackoutError({
    code: 'database_busy',
    what: `The database ${name} is locked by ${by}`,
    cause: messageOf(error),
    next: 'let it finish or end it, then try again',
    exit: 'failed',
    from: error,
  })
}
