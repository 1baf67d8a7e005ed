import type { Backup } from '../../core/contract.ts'
import { reveal } from '../../core/secret.ts'
import type { Beside, Engine, Images, Job, Reader } from '../../data/engine.ts'
import type { MysqlSettings, ServerSettings } from './config.ts'
import { dialect } from './dialect.ts'
import { dump } from './dump.ts'
import { endSession, holdersOf } from './holders.ts'
import { besideName, besideOf, imageOf, load, stateOf } from './image.ts'
import { MysqlMerger } from './merging.ts'
import { text } from './names.ts'
import { ready } from './ready.ts'
import { type Access, connect, nameOf } from './session.ts'
import { inSnapshot } from './snapshot.ts'
import { isSwapped, swap } from './swap.ts'

/** A database of a MySQL or MariaDB server. `baseDir`: relative paths of the settings are resolved against it. */
export function mysqlEngine(settings: MysqlSettings, baseDir: string): Engine {
  const { database } = settings
  const accessTo = (server: ServerSettings): Access => ({
    server,
    baseDir,
    connectLimit: settings.connectLimit,
    busyLimit: settings.busyLimit,
    own: new Set(),
  })
  const live = accessTo(settings)
  const scratch = settings.scratch === undefined ? live : accessTo(settings.scratch)
  const place = (use: 'scratch' | 'merge' | 'swap', mark: string) =>
    use === 'swap'
      ? { access: live, name: besideName(database, 'new', mark) }
      : // Databases of one server are merged where they lie; rows of another one would be copied by statements.
        { access: use === 'merge' ? live : scratch, name: besideName(database, 'try', mark) }
  return {
    dialect,
    name: nameOf(settings, database),
    identity: signal => identityOf(settings, live, signal),
    reading: <T>(signal: AbortSignal, work: (db: Reader) => Promise<T>) =>
      inSnapshot(live, database, settings.dump.lock, signal, work),
    async holders(signal) {
      await using db = await connect(live, database, signal)
      return await holdersOf(db, live, database)
    },
    async end(session, signal) {
      await using db = await connect(live, null, signal)
      await endSession(db, session)
    },
    toolEnv: () => toolEnv(settings),
    dump: <T>(dir: string, job: Job, work: (db: Reader) => Promise<T>) => dump(settings, live, dir, job, work),
    async beside(backup: Backup, use, mark, job): Promise<Beside> {
      const { access, name } = place(use, mark)
      return load(settings, access, name, backup, job)
    },
    async found(use, mark, signal) {
      const { access, name } = place(use, mark)
      await using db = await connect(access, null, signal)
      return (await stateOf(db, name)) === 'ready' ? besideOf(access, name) : null
    },
    swap: (mark, job) =>
      swap(
        { access: live, database, staged: besideName(database, 'new', mark), kept: besideName(database, 'old', mark) },
        job,
      ),
    async kept(mark, signal) {
      const name = besideName(database, 'old', mark)
      await using db = await connect(live, null, signal)
      return (await isSwapped(db, name)) ? imageOf(live, name) : null
    },
    freeBytes: async () => null,
    ready: signal => ready(settings, live, scratch, signal),
    merging: (images: Images | null, job: Job) => MysqlMerger.open({ live, database }, images, job),
    [Symbol.asyncDispose]: async () => {},
  }
}

/** MySQL servers have an id of their own. MariaDB's have none that lasts: where it listens and where its files lie. */
async function identityOf(settings: MysqlSettings, access: Access, signal: AbortSignal): Promise<string> {
  await using db = await connect(access, null, signal)
  if (settings.identity !== undefined) return `mysql:${settings.identity}/${settings.database}`
  const id = db.flavour.mariadb ? `CONCAT_WS(':', @@hostname, @@port, @@datadir)` : '@@server_uuid'
  const [row] = await db.query(`SELECT ${id} AS id`)
  return `mysql:${text(row?.['id'])}/${settings.database}`
}

function toolEnv(settings: MysqlSettings): Record<string, string> {
  const { port, user, socket, database } = settings
  // By the name localhost the client programs take the socket.
  const host = socket === undefined ? settings.host : 'localhost'
  const password = settings.password === undefined ? '' : reveal(settings.password)
  const login = `${encodeURIComponent(user)}${password === '' ? '' : `:${encodeURIComponent(password)}`}`
  const at = socket === undefined ? '' : `?socket=${encodeURIComponent(socket)}`
  return {
    DATABASE_URL: `mysql://${login}@${host.includes(':') ? `[${host}]` : host}:${port}/${encodeURIComponent(database)}${at}`,
    MYSQL_HOST: host,
    MYSQL_TCP_PORT: String(port),
    MYSQL_USER: user,
    MYSQL_PWD: password,
    MYSQL_DATABASE: database,
    ...(socket === undefined ? {} : { MYSQL_UNIX_PORT: socket }),
  }
}
