import { BackoutError } from '../../core/errors.ts'
import { reveal, Secret } from '../../core/secret.ts'
import type { MysqlGiven, MysqlSettings } from './config.ts'

/** What was written, with what `url` says. Throws `settings_incomplete`. */
export function complete({ url, ...given }: MysqlGiven): MysqlSettings {
  const named = url === undefined ? {} : partsOf(reveal(url))
  const { user = named.user, database = named.database, password = named.password, ssl = named.ssl } = given
  if (user === undefined) throw incomplete('`user` is missing', 'name the login in `user:` or in `url:`')
  if (database === undefined) throw incomplete('`database` is missing', 'name it in `database:` or in `url:`')
  const { host = given.host, port = given.port, socket = given.socket } = named
  return {
    ...given,
    host,
    port,
    user,
    database,
    ...(socket === undefined ? {} : { socket }),
    ...(password === undefined ? {} : { password }),
    ...(ssl === undefined ? {} : { ssl }),
  }
}

type Parts = Partial<Pick<MysqlSettings, 'host' | 'port' | 'socket' | 'user' | 'password' | 'database' | 'ssl'>>

function partsOf(url: string): Parts {
  const parsed = URL.parse(url)
  if (parsed === null || !/^(mysql2?|mariadb):$/.test(parsed.protocol)) {
    throw incomplete('`url` is no URL of a MySQL or MariaDB database', 'write mysql://USER:PASSWORD@HOST:PORT/DATABASE')
  }
  const asked = (...names: string[]) =>
    names.map(name => parsed.searchParams.get(name)).find(value => value !== null) ?? undefined
  const word = (text: string) => (text === '' ? undefined : decodeURIComponent(text))
  const password = word(parsed.password)
  const ssl = sslOf(asked('ssl-mode', 'sslmode', 'sslaccept', 'ssl'))
  return defined({
    host: word(parsed.hostname.replace(/^\[|\]$/g, '')),
    port: parsed.port === '' ? undefined : Number(parsed.port),
    socket: asked('socket', 'unix_socket'),
    user: word(parsed.username),
    // A secret from here on, however it was written: it shows nowhere, and is hidden in what others print.
    password: password === undefined ? undefined : new Secret('password', password),
    database: word(parsed.pathname.slice(1)),
    ssl,
  })
}

/** The words of the drivers that people use. What is not known is refused: it may have meant a check. */
function sslOf(mode: string | undefined): MysqlSettings['ssl'] {
  if (mode === undefined || /^(disabled?|preferred|false|0)$/i.test(mode)) return undefined
  if (
    /^(verify_ca|verify_identity|verify-ca|verify-full|strict)$/i.test(mode) ||
    /"rejectUnauthorized": *true/.test(mode)
  )
    return { verify: true }
  if (/^(required?|accept_invalid_certs|true|1)$/i.test(mode) || /"rejectUnauthorized": *false/.test(mode))
    return { verify: false }
  throw incomplete(`what \`url\` says of TLS is not known: ${mode}`, 'say it in `ssl:`, and leave it out of the URL')
}

function defined(parts: { [K in keyof Parts]: Parts[K] | undefined }): Parts {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as Parts
}

function incomplete(what: string, next: string): BackoutError {
  return new BackoutError({
    code: 'settings_incomplete',
    what: `The settings do not say which database: ${what}`,
    next,
    exit: 'usage',
  })
}
