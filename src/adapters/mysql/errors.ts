import { BackoutError, messageOf } from '../../core/errors.ts'

/** The server's number of an error, or the name that the network or the driver gave it; null: no error of a database. */
export function codeOf(error: unknown): number | string | null {
  if (!(error instanceof Error)) return null
  const { errno, code, fatal } = error as { errno?: unknown; code?: unknown; fatal?: unknown }
  if (typeof code === 'string' && !code.startsWith('ER_')) return code
  if (typeof errno === 'number' && errno > 0) return errno
  if (typeof code === 'string') return code
  // What is asked on a connection that was lost before has no code.
  return fatal === true ? 'PROTOCOL_CONNECTION_LOST' : null
}

interface Meaning {
  readonly code: string
  readonly what: (name: string) => string
  readonly next: string
}

const DENIED: Meaning = {
  code: 'database_denied',
  what: name => `The user of ${name} may not do what is needed`,
  next: 'grant it what docs/adapters/mysql.md lists',
}

const LOGIN: Meaning = {
  code: 'database_denied',
  what: name => `${name} refused the user or the password`,
  next: 'look at `user:` and `password:`',
}

const MISSING: Meaning = {
  code: 'database_missing',
  what: name => `There is no database ${name}`,
  next: 'look at `database:`; where it was dropped, go back by the rung `restore`',
}

const UNREACHABLE: Meaning = {
  code: 'database_unreachable',
  what: name => `${name} cannot be reached, or went away`,
  next: 'see that the server runs and that host, port, socket and firewall are right, then try again',
}

const TLS: Meaning = {
  code: 'database_unreachable',
  what: name => `No trusted connection to ${name} could be made`,
  next: 'look at `ssl:` and at the certificate of the server',
}

const BUSY: Meaning = {
  code: 'database_busy',
  what: name => `${name} is locked by another session`,
  next: 'end the transaction that holds the lock, then try again',
}

const MOVED: Meaning = {
  code: 'database_busy',
  what: name => `The tables of ${name} were changed while they were read`,
  next: 'wait until the migration has ended, then try again',
}

const DAMAGED: Meaning = {
  code: 'database_damaged',
  what: name => `${name} cannot be read`,
  next: "look at the server's log; go back by the rung `restore`, or repair the table",
}

const FULL: Meaning = {
  code: 'disk_full',
  what: name => `The server of ${name} has no room left on its disk`,
  next: 'free space there, then try again',
}

const MEANINGS: readonly (readonly [readonly (number | string)[], Meaning])[] = [
  [[1045, 1698, 1251, 1862, 1820, 1524, 4151], LOGIN],
  [[1044, 1142, 1143, 1227, 1370, 1095, 1419, 1141, 1096], DENIED],
  [[1049], MISSING],
  [[1205, 1213, 1020, 3572, 1689], BUSY],
  [[1412, 1146, 1054], MOVED],
  [[1021, 1114, 1041], FULL],
  [[1194, 1195, 1034, 1035, 1712, 1877, 1932, 1033, 1016, 1296], DAMAGED],
  [[1040, 1053, 1927, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 3024, 4031], UNREACHABLE],
  [
    ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EPIPE'],
    UNREACHABLE,
  ],
  [['ENOENT', 'EACCES', 'PROTOCOL_CONNECTION_LOST', 'PROTOCOL_SEQUENCE_TIMEOUT'], UNREACHABLE],
  [['HANDSHAKE_NO_SSL_SUPPORT', 'HANDSHAKE_SSL_ERROR'], TLS],
]

/** An error of the server or the driver, with the database's name and what to do. Other errors stay as they are. */
export function explained(name: string, error: unknown): unknown {
  if (error instanceof BackoutError) return error
  const code = codeOf(error)
  if (code === null) return error
  const { code: known, what, next } = meaningOf(code, messageOf(error))
  return new BackoutError({
    code: known,
    what: what(name),
    cause: withoutValues(messageOf(error)),
    next,
    exit: 'failed',
    from: error,
  })
}

/** What the server says of data that it cannot take holds that data: `Duplicate entry '…' for key 'mail'`. */
function withoutValues(text: string): string {
  return text
    .replace(/\b(entry|value|string|record):? '.*'(?= for | would |, key |$)/s, "$1 '***'")
    .replace(/\b(partition for value) .*$/s, "$1 '***'")
}

function meaningOf(code: number | string, message: string): Meaning {
  if (/errno: 28\b|errcode: 28\b|error 28\b|no space left/i.test(message)) return FULL
  if (typeof code === 'string' && /CERT|TLS|SSL|ISSUER|SELF_SIGNED/.test(code)) return TLS
  const found = MEANINGS.find(([codes]) => codes.includes(code))
  if (found !== undefined) return found[1]
  return { code: 'database_failed', what: name => `${name} refused what was asked`, next: 'look at the cause' }
}
