import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type ConnectionOptions, checkServerIdentity } from 'node:tls'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { redact, reveal, Secret, type Text } from '../../core/secret.ts'
import { type PostgresSettings, type ServerSettings, SSL_MODES } from './config.ts'

type SslMode = (typeof SSL_MODES)[number]

/** One server, with everything that is needed to reach it. */
export interface Place {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: Secret | null
  readonly ssl: {
    readonly mode: SslMode
    readonly ca: string | null
    readonly cert: string | null
    readonly key: string | null
  }
  readonly connectMs: number
}

interface Parts {
  host?: string | undefined
  port?: number | undefined
  user?: string | undefined
  password?: Text | undefined
  database?: string | undefined
  ssl?: { mode?: SslMode | undefined; ca?: string | undefined; cert?: string | undefined; key?: string | undefined }
}

export interface Places {
  readonly live: Place
  readonly database: string
  readonly scratch: Place
  readonly from: Place | null
}

/** The servers of the settings. Files of certificates are named relative to `baseDir`. Throws `settings_incomplete`. */
export function placesOf(settings: PostgresSettings, baseDir: string): Places {
  const own = partsOf(settings)
  const database = settings.database ?? own.database
  if (database === undefined) throw incomplete('`database` is missing, and `url` names none', 'name it in `database:`')
  const live = placeOf(own, settings, baseDir)
  const other = (more: ServerSettings) => placeOf({ ...own, ...defined(partsOf(more)) }, settings, baseDir)
  return {
    live,
    database,
    scratch: settings.scratch === undefined ? live : other(settings.scratch),
    from: settings.dump.from === undefined ? null : other(settings.dump.from),
  }
}

function placeOf(parts: Parts, settings: PostgresSettings, baseDir: string): Place {
  if (parts.host === undefined) throw incomplete('`host` is missing', 'name the server in `host:` or in `url:`')
  if (parts.user === undefined) throw incomplete('`user` is missing', 'name the role in `user:` or in `url:`')
  const file = (path: string | undefined) => (path === undefined ? null : resolve(baseDir, path))
  const { mode = 'prefer', ca, cert, key } = parts.ssl ?? {}
  return {
    host: parts.host,
    port: parts.port ?? 5432,
    user: parts.user,
    // A secret from here on, however it was written: it shows nowhere, and is hidden in what others print.
    password: parts.password === undefined ? null : new Secret('password', reveal(parts.password)),
    ssl: { mode: parts.host.startsWith('/') ? 'disable' : mode, ca: file(ca), cert: file(cert), key: file(key) },
    connectMs: settings.connectLimit,
  }
}

function partsOf(settings: ServerSettings): Parts {
  const { host, port, user, password, ssl } = settings
  const own = defined({ host, port, user, password, ssl }) as Parts
  return { ...(settings.url === undefined ? {} : partsOfUrl(reveal(settings.url))), ...own }
}

function partsOfUrl(url: string): Parts {
  const parsed = URL.parse(url)
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw incomplete('`url` is no URL of a PostgreSQL database', 'write postgres://USER:PASSWORD@HOST:PORT/DATABASE')
  }
  const asked = (name: string) => parsed.searchParams.get(name) ?? undefined
  const word = (text: string) => (text === '' ? undefined : decodeURIComponent(text))
  return defined({
    host: asked('host') ?? word(parsed.hostname.replace(/^\[|\]$/g, '')),
    port: parsed.port === '' ? undefined : Number(parsed.port),
    user: word(parsed.username) ?? asked('user'),
    password: word(parsed.password),
    database: word(parsed.pathname.slice(1)),
    ssl: defined({
      mode: modeOf(asked('sslmode')),
      ca: asked('sslrootcert'),
      cert: asked('sslcert'),
      key: asked('sslkey'),
    }),
  })
}

function modeOf(word: string | undefined): SslMode | undefined {
  if (word === undefined) return undefined
  const mode = SSL_MODES.find(known => known === word)
  if (mode === undefined) throw incomplete(`sslmode=${word} is not known`, `use one of ${SSL_MODES.join(', ')}`)
  return mode
}

function incomplete(what: string, next: string): BackoutError {
  return new BackoutError({
    code: 'settings_incomplete',
    what: `The settings do not say which database: ${what}`,
    next,
    exit: 'usage',
  })
}

function defined<T extends object>(parts: T): T {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as T
}

/** TLS for Node's driver. `prefer` gives TLS too: who asks tries again without where the server has none. */
export async function tlsOf({ ssl, host }: Place): Promise<ConnectionOptions | false> {
  if (ssl.mode === 'disable') return false
  const [ca, cert, key] = await Promise.all([ssl.ca, ssl.cert, ssl.key].map(readOrNull))
  const checked = ssl.mode === 'verify-ca' || ssl.mode === 'verify-full'
  return {
    ...(ca == null ? {} : { ca }),
    ...(cert == null ? {} : { cert }),
    ...(key == null ? {} : { key }),
    rejectUnauthorized: checked || (ssl.mode === 'require' && ca != null),
    // By the name that was asked for, also where it is an address: the driver would then look for "localhost".
    checkServerIdentity: (_name, given) => (ssl.mode === 'verify-full' ? checkServerIdentity(host, given) : undefined),
  }
}

async function readOrNull(path: string | null): Promise<Buffer | null> {
  if (path === null) return null
  try {
    return await readFile(path)
  } catch (error) {
    throw new BackoutError({
      code: 'settings_incomplete',
      what: `The file ${path} of \`ssl:\` cannot be read`,
      cause: messageOf(error),
      next: 'correct the path or the rights',
      exit: 'usage',
      from: error,
    })
  }
}

/** The environment by which libpq (pg_dump, psql, most drivers) reaches a database. Holds the password. */
export function libpqEnv(place: Place, database: string): Record<string, string> {
  const { ca, cert, key, mode } = place.ssl
  return {
    PGHOST: place.host,
    PGPORT: String(place.port),
    PGUSER: place.user,
    PGDATABASE: database,
    // The default of libpq; other drivers take it for "TLS or nothing".
    ...(mode === 'prefer' ? {} : { PGSSLMODE: mode }),
    ...(place.password === null ? {} : { PGPASSWORD: place.password.reveal() }),
    ...(ca === null ? {} : { PGSSLROOTCERT: ca }),
    ...(cert === null ? {} : { PGSSLCERT: cert }),
    ...(key === null ? {} : { PGSSLKEY: key }),
  }
}

/** The same as one URL, as most migration tools want it. */
export function urlOf(place: Place, database: string): string {
  const word = encodeURIComponent
  const who = `${word(place.user)}${place.password === null ? '' : `:${word(place.password.reveal())}`}`
  const socket = place.host.startsWith('/')
  const { mode, ca, cert, key } = place.ssl
  const asked = new URLSearchParams()
  if (socket) asked.set('host', place.host)
  if (mode !== 'prefer' && !socket) asked.set('sslmode', mode)
  if (ca !== null) asked.set('sslrootcert', ca)
  if (cert !== null) asked.set('sslcert', cert)
  if (key !== null) asked.set('sslkey', key)
  const host = socket ? 'localhost' : place.host.includes(':') ? `[${place.host}]` : place.host
  const query = asked.size === 0 ? '' : `?${asked.toString()}`
  return `postgres://${who}@${host}:${place.port}/${word(database)}${query}`
}

export function shownPlace(place: Place, database: string): string {
  return redact(`${database} on ${place.host}:${place.port}`)
}
