import { z } from 'zod'
import { duration, text } from '../../config/fields.ts'

const ssl = z
  .strictObject({
    ca: z.string().optional().describe('File with the certificates to trust, relative to backout.yaml. PEM.'),
    cert: z.string().optional().describe('File with the certificate to show to the server. PEM.'),
    key: z.string().optional().describe('File with the key of that certificate. PEM.'),
    verify: z.boolean().default(true).describe('false: any certificate will do. Encrypted, but anybody may answer.'),
  })
  .describe('Encrypts the connection, and gives up where the server cannot. Left out: not encrypted.')

/** How a server is reached. */
const server = {
  host: z.string().default('127.0.0.1').describe('The server. 127.0.0.1 where it is left out.'),
  port: z.int().min(1).max(65535).default(3306).describe('Its port.'),
  socket: z.string().optional().describe('Its socket file, instead of host and port.'),
  user: z
    .string()
    .min(1)
    .describe('The user to log in as. What it must be allowed to do stands in docs/adapters/mysql.md.'),
  password: text().optional().describe('Its password, as "${env:…}", "${file:…}" or "${cmd:…}".'),
  ssl: ssl.optional(),
}

const dump = z
  .strictObject({
    from: z
      .strictObject(server)
      .optional()
      .describe('A replica to dump from, so that production does not feel it. Holds the database under the same name.'),
    throttle: z
      .string()
      .regex(/^\d+(\.\d+)?(KB|MB|GB)$/, 'expected so much a second, such as "20MB"')
      .optional()
      .describe('The most that is read of the dump in a second, such as "20MB". Left out: as fast as it comes.'),
    lock: z
      .enum(['brief', 'never'])
      .default('brief')
      .describe(
        'How several connections come to see one instant. brief: FLUSH TABLES WITH READ LOCK for some milliseconds. never: reads on one connection, and a dump locks the tables of this database alone while it begins.',
      ),
  })
  .describe('How backups are made.')

const database = z.string().min(1).max(64).describe('The database.')

const more = {
  identity: z
    .string()
    .min(1)
    .optional()
    .describe('A name for the server that stays when it moves: for containers and for servers behind a failover.'),
  scratch: z
    .strictObject(server)
    .optional()
    .describe('Another server to restore backups on when they are proven. Left out: beside the database itself.'),
  tools: z
    .string()
    .optional()
    .describe('Folder of mariadb-dump and mariadb, or mysqldump and mysql, relative to backout.yaml. Left out: PATH.'),
  dump: dump.prefault({}),
  connectLimit: duration().default(10_000).describe('How long to wait for the server to answer.'),
  busyLimit: duration().default(5_000).describe('How long to wait for a lock that another session holds.'),
}

/** Settings of a MySQL or MariaDB database, without those that all databases share, as they are written. */
export const mysqlFields = {
  url: text()
    .optional()
    .describe('mysql://USER:PASSWORD@HOST:PORT/DATABASE, in place of `host` and `port`; the other fields win over it.'),
  ...server,
  user: server.user.optional(),
  database: database.optional(),
  ...more,
}
export type MysqlGiven = z.output<z.ZodObject<typeof mysqlFields>>

/** The same, whole. */
export const mysqlSettings = z.object({ ...server, database, ...more })
export type MysqlSettings = z.output<typeof mysqlSettings>
export type ServerSettings = Pick<MysqlSettings, 'host' | 'port' | 'socket' | 'user' | 'password' | 'ssl'>

/** Bytes of "20MB". */
export function bytesOf(amount: string): number {
  const unit = { KB: 1e3, MB: 1e6, GB: 1e9 }[amount.slice(-2)] ?? 1
  return Number.parseFloat(amount) * unit
}
