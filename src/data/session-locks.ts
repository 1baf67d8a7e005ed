import { crc32 } from 'node:zlib'
import type { Dialect, Reader } from './engine.ts'
import { partsOf, type Recognised } from './recognise.ts'

/** Where a tool's bookkeeping is: locks are named by it. */
interface Place {
  readonly database: string
  readonly schema: string
  readonly table: string
}

/** A lock that the server keeps for the session in which a tool works, and that goes with the session. */
interface SessionLock {
  /** The number of an advisory lock of PostgreSQL. */
  readonly postgres?: (at: Place) => bigint
  /** The name that MySQL's GET_LOCK knows it by. */
  readonly mysql?: (at: Place) => string
}

const GOLANG_SALT = 1_486_364_155n
const RAILS_SALT = 2_053_462_845n
/** "Flyway" as bytes. */
const FLYWAY = 0x46_6c_79_77_61_79n
const ATLAS = 'atlas_migrate_execute'

/** As the tools' own sources have it. Tools that are not here take none, or mark a table. */
const SESSION_LOCKS: Readonly<Record<string, SessionLock>> = {
  prisma: { postgres: () => 72_707_369n, mysql: () => 'prisma_migrate' },
  'node-pg-migrate': { postgres: () => 7_241_865_325_823_964n },
  goose: { postgres: () => 5_887_940_537_704_921_958n },
  rails: { postgres: railsLock, mysql: at => String(railsLock(at)) },
  'golang-migrate': {
    postgres: at => golangLock(`${at.schema}\0${at.table}\0${at.database}`),
    mysql: at => String(golangLock(`${at.database}:${at.table}`)),
  },
  flyway: { postgres: at => FLYWAY + javaHash(`"${at.schema}"."${at.table}"`) },
  atlas: { postgres: () => fnv32(ATLAS), mysql: () => ATLAS },
}

/** The session that holds the tool's lock right now, by the server's own number of it; null: none, or the tool has none here. */
export async function sessionHolder(
  db: Reader,
  { kind }: Dialect,
  { tool, table }: Recognised,
): Promise<string | null> {
  const lock = SESSION_LOCKS[tool.tool]
  if (lock === undefined || kind === 'sqlite') return null
  const { schema: own, name: bare } = partsOf(table)
  if (kind === 'mysql') {
    if (lock.mysql === undefined) return null
    const [here] = await db.query('SELECT DATABASE() AS name')
    const name = lock.mysql({ database: textOf(here?.['name']), schema: '', table: bare })
    return idOf(await db.query('SELECT IS_USED_LOCK(?) AS id', [name]))
  }
  if (lock.postgres === undefined) return null
  const [here] = await db.query('SELECT current_database() AS name, current_schema() AS home')
  const schema = own ?? textOf(here?.['home'])
  const key = BigInt.asUintN(64, lock.postgres({ database: textOf(here?.['name']), schema, table: bare }))
  return idOf(
    await db.query(`SELECT pid AS id FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = ${key >> 32n}::oid AND objid = ${key & 0xffff_ffffn}::oid`),
  )
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function idOf(rows: readonly Record<string, unknown>[]): string | null {
  const id = rows[0]?.['id']
  return typeof id === 'number' || typeof id === 'bigint' || typeof id === 'string' ? String(id) : null
}

function railsLock({ database }: Place): bigint {
  return RAILS_SALT * BigInt(crc32(database))
}

function golangLock(name: string): bigint {
  return BigInt.asUintN(32, BigInt(crc32(name)) * GOLANG_SALT)
}

/** `String.hashCode` of Java. */
function javaHash(text: string): bigint {
  let hash = 0
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0
  return BigInt(hash)
}

/** FNV-1, 32 bits. */
function fnv32(text: string): bigint {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = (Math.imul(hash, 0x01000193) ^ byte) >>> 0
  return BigInt(hash)
}
