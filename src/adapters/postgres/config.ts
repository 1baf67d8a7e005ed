import { z } from 'zod'
import { duration, text } from '../../config/fields.ts'
import { databaseSettings } from '../../data/flow/settings.ts'

export const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const

const ssl = z
  .strictObject({
    mode: z
      .enum(SSL_MODES)
      .default('prefer')
      .describe(
        'As in libpq. prefer: TLS where the server has it, unchecked. verify-full: checks the certificate and the name in it.',
      ),
    ca: z.string().optional().describe('File with the certificates that are trusted, relative to backout.yaml.'),
    cert: z.string().optional().describe('File with the certificate that Backout shows.'),
    key: z.string().optional().describe('File with its key, readable by its owner only.'),
  })
  .describe('TLS to the server.')

/** How one server is reached. */
const server = {
  url: text()
    .optional()
    .describe('postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…, in place of the fields below; they win over it.'),
  host: z.string().optional().describe('Name or address; a folder that begins with "/" is that of a socket.'),
  port: z.int().min(1).max(65535).optional().describe('5432 where this is left out.'),
  user: z
    .string()
    .optional()
    .describe('Role that Backout works as. See the page of the adapter for the rights it needs.'),
  password: text().optional().describe('Its password; from ~/.pgpass where this is left out.'),
  ssl: ssl.optional(),
}

const maintenance = z
  .string()
  .default('postgres')
  .describe('A database that is always there, from which others are made, renamed and dropped.')

const dump = z
  .strictObject({
    jobs: z
      .int()
      .min(1)
      .max(64)
      .default(1)
      .describe('Tables dumped and restored at a time. Above 1 each has a file, packed by pg_dump itself.'),
    level: z.int().min(1).max(19).default(1).describe('How hard zstd packs where `jobs` is 1.'),
    throttle: z
      .int()
      .min(1024)
      .optional()
      .describe('Bytes per second that are taken from the server at the most, before packing. Only where `jobs` is 1.'),
    from: z
      .strictObject(server)
      .optional()
      .describe('A replica to dump from, so that the server in use does not feel it. What is left out is as for it.'),
    catchUpLimit: duration()
      .default(300_000)
      .describe('How long to wait until that replica has what the server in use had when the dump began.'),
  })
  .refine(d => d.jobs === 1 || d.throttle === undefined, {
    path: ['throttle'],
    message: 'only works with `jobs: 1`',
  })
  .describe('How dumps are made.')

/** Settings of the PostgreSQL adapter that no other database shares. */
export const postgresConnection = {
  ...server,
  database: z.string().min(1).optional().describe('The database. From `url` where this is left out.'),
  maintenance,
  scratch: z
    .strictObject({ ...server, maintenance })
    .optional()
    .describe('Another server on which backups are proven; the same where this is left out.'),
  tools: z
    .string()
    .optional()
    .describe(
      'Folder of pg_dump, pg_restore and pg_dumpall. Found by PATH and by where packages put them if left out.',
    ),
  dump: dump.prefault({}),
  lockLimit: duration().default(10_000).describe('How long to wait for a lock that another session holds.'),
  statementLimit: duration()
    .optional()
    .describe('How long one statement of Backout may take; no limit but that of the step where this is left out.'),
  connectLimit: duration().default(10_000).describe('How long to wait for the server to answer.'),
  parallel: z
    .int()
    .min(1)
    .max(32)
    .default(2)
    .describe('Connections that read at a time for a fingerprint; the server may use processes of its own for each.'),
}

export const postgresConnectionShape = z.strictObject(postgresConnection)
export type PostgresSettings = z.output<typeof postgresConnectionShape>

export const postgresConfig = z.strictObject({ ...postgresConnection, ...databaseSettings })
export type PostgresConfig = z.output<typeof postgresConfig>

export type ServerSettings = Pick<PostgresSettings, keyof typeof server>
