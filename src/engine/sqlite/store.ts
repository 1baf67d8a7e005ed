import type { KeyObject } from 'node:crypto'
import { mkdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { Event, Head } from '../../core/engine.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { canonicalJson, type Json } from '../../core/json.ts'
import { chainKey, EMPTY, macOf } from '../chain.ts'
import { alteredIn, sealOf } from '../seals.ts'
import { type OpRow, type RunRow, type SignalRow, type Store, type Tx, told } from '../store.ts'
import { isBusy, takeLock } from './lock.ts'
import { FORMAT, SCHEMA, UPGRADES } from './schema.ts'
import { HELD, unreadable } from './unreadable.ts'

interface Options {
  /** Folder of the journal and the locks; made where it is missing. */
  readonly home: string
  /** Key of the event chain; kept outside the store, so that who can rewrite the one cannot forge the other. */
  readonly key: Uint8Array
  /** The kind of file system that a folder lies on, as statfs(2) numbers it. */
  readonly fileSystem?: (folder: string) => number
}

interface Waiting {
  readonly change: (tx: Tx) => void
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (e: unknown) => void
}

type Row = Record<string, string | number | null>

/** Journal on disk: WAL with synchronous=FULL, so that what was answered as written survives a power cut. */
export function sqliteStore({ home, key, fileSystem }: Options): Store {
  const { db, sql } = openJournal(home, fileSystem ?? (folder => statfsSync(folder).type))
  const queue: Waiting[] = []
  let broken: BackoutError | null = null
  let scheduled = false
  const secret = chainKey(key)

  function flush(): void {
    scheduled = false
    const batch = queue.splice(0)
    if (batch.length === 0) return
    try {
      if (broken !== null) throw broken
      sql.begin.run()
      const tx = transaction(sql, secret)
      for (const item of batch) item.change(tx)
      sql.commit.run()
      for (const item of batch) item.resolve()
    } catch (error) {
      broken ??= journalFailed(home, error)
      for (const item of batch) item.reject(broken)
      undo(db)
    }
  }

  function read<T>(query: () => T): T {
    try {
      return query()
    } catch (error) {
      throw db.isOpen ? unreadable(join(home, JOURNAL), error) : error
    }
  }

  return {
    write(change) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      promise.catch(() => {})
      queue.push({ change, done: promise, resolve, reject })
      if (!scheduled) setImmediate(flush)
      scheduled = true
      return promise
    },
    async durable() {
      if (broken !== null) throw broken
      await queue.at(-1)?.done
    },
    check() {
      if (broken !== null) throw broken
    },
    run: id => read(() => toRun(sql.run.get(id) as Row | undefined, read)),
    runs: ({ state, exclusive }) =>
      read(() => {
        const rows = sql.runs.all({ state: state ?? null, exclusive: exclusive ?? null }) as Row[]
        return rows.flatMap(r => toRun(r, read) ?? [])
      }),
    load: root =>
      read(() => [...(sql.callsOf.all(root) as Row[]).map(toOp), ...(sql.toldOf.all(root) as Row[]).map(toTold)]),
    signals: (root, after) => read(() => (sql.signals.all(root, after) as Row[]).map(toSignal)),
    events: ({ run, after, limit, type = null }) =>
      read(() => (sql.events.all({ run, after, limit, type }) as Row[]).map(toEvent)),
    head: () => read(() => headOf(sql)),
    altered: (run, own) => read(() => alteredIn(secret, run, own)),
    version: () => read(() => (sql.version.get() as { data_version: number }).data_version),
    lock: (name, owner) => takeLock(join(home, 'locks'), name, owner),
    async close() {
      flush()
      db.close()
    },
  }
}

const JOURNAL = 'journal.db'

function openJournal(home: string, fileSystem: (folder: string) => number) {
  mkdirSync(home, { recursive: true, mode: 0o700 })
  refuseNetwork(home, fileSystem)
  const file = join(home, JOURNAL)
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(file, { timeout: 5_000 })
    // Looked at before anything is written: a newer Backout's journal stays as it is.
    refuseNewer(db, file)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 256')
    db.exec(SCHEMA)
    bringUp(db)
    return { db, sql: statements(db) }
  } catch (error) {
    db?.close()
    throw error instanceof BackoutError ? error : unreadable(file, error)
  }
}

function formatOf(db: DatabaseSync): string | undefined {
  const made = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get() !== undefined
  const row = made ? db.prepare("SELECT value FROM meta WHERE key = 'format'").get() : undefined
  return (row as { value: string } | undefined)?.value
}

/** Brings the journal to this format. Only once: who only looks needs no right to write, which a stopped process may hold. */
function bringUp(db: DatabaseSync): void {
  if (Number(formatOf(db)) === FORMAT) return
  db.exec('BEGIN IMMEDIATE')
  const found = formatOf(db)
  for (let format = Number(found ?? FORMAT); format < FORMAT; format++) db.exec(UPGRADES[format] ?? '')
  db.prepare("INSERT OR REPLACE INTO meta VALUES ('format', ?)").run(String(FORMAT))
  db.exec('COMMIT')
}

function refuseNewer(db: DatabaseSync, file: string): void {
  const format = formatOf(db)
  if (format !== undefined && !(Number(format) <= FORMAT)) throw newer(file, format)
}

function undo(db: DatabaseSync): void {
  try {
    if (db.isOpen && db.isTransaction) db.exec('ROLLBACK')
  } catch {
    // SQLite undoes it by itself where even that cannot be written: at the latest when the journal is opened again.
  }
}

function newer(file: string, format: string): BackoutError {
  return new BackoutError({
    code: 'journal_newer',
    what: `The journal ${file} was written by a newer Backout (format ${format}, this one knows ${FORMAT})`,
    next: 'use the version of Backout that wrote it, or a newer one',
    exit: 'blocked',
  })
}

/** Locks and synced writes cannot be relied on there. */
const NETWORK: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB2',
  0x65735546: 'FUSE, as of sshfs',
  0x00c36400: 'Ceph',
  0x0bd00bd0: 'Lustre',
  0x5346414f: 'AFS',
}

function refuseNetwork(home: string, fileSystem: (folder: string) => number): void {
  // The kernel's number may have come through a signed one.
  const kind = NETWORK[fileSystem(home) >>> 0]
  if (kind === undefined) return
  throw new BackoutError({
    code: 'home_on_network',
    what: `The home ${home} lies on a network file system (${kind}), where locks cannot be relied on`,
    next: 'put `home:` on a local disk, or on one machine for all: home: ssh://HOST/PATH',
    exit: 'blocked',
  })
}

function journalFailed(home: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'journal_failed',
    what: `The journal in ${home} could not be written, so nothing more is touched`,
    cause: messageOf(error),
    next: isBusy(error) ? HELD : 'make room or mend the disk, then: backout resume',
    exit: isBusy(error) ? 'busy' : 'failed',
    from: error,
  })
}

function statements(db: DatabaseSync) {
  const p = (text: string): StatementSync => db.prepare(text)
  return {
    begin: p('BEGIN IMMEDIATE'),
    commit: p('COMMIT'),
    run: p('SELECT * FROM runs WHERE id = ?'),
    // By what the journal holds first of each, for a clock that was set back would put a new run before an old one.
    runs: p(`SELECT * FROM runs WHERE id = root AND ($state IS NULL OR state = $state)
             AND ($exclusive IS NULL OR exclusive = $exclusive) ORDER BY (SELECT min(seq) FROM events WHERE run = runs.id), id`),
    callsOf: p('SELECT * FROM calls WHERE root = ? ORDER BY n'),
    lastCall: p('SELECT max(n) AS n FROM calls WHERE root = ?'),
    toldOf: p('SELECT run, op_run, op_key FROM events WHERE run = ? AND op_key IS NOT NULL'),
    signals: p('SELECT * FROM signals WHERE root = ? AND seq > ? ORDER BY seq'),
    events: p(`SELECT * FROM events WHERE seq > $after AND ($run IS NULL OR run = $run)
               AND ($type IS NULL OR type = $type) ORDER BY seq LIMIT $limit`),
    last: p('SELECT seq, mac FROM events ORDER BY seq DESC LIMIT 1'),
    version: p('PRAGMA data_version'),
    putRun: p('INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?)'),
    markRun: p('UPDATE runs SET state = ?, output = ?, error = ?, updated_at = ? WHERE id = ?'),
    putCall: p('INSERT INTO calls VALUES (?,?,?,?,?,?,?,?)'),
    addSignal: p('INSERT OR IGNORE INTO signals (root, name, value, idem) VALUES (?,?,?,?)'),
    addEvent: p('INSERT INTO events (seq, run, at, type, data, mac, op_run, op_key) VALUES (?,?,?,?,?,?,?,?)'),
  }
}

function headOf(sql: ReturnType<typeof statements>): Head {
  const last = sql.last.get() as { seq: number; mac: string } | undefined
  return last === undefined ? EMPTY : { length: last.seq, mac: last.mac }
}

const text = (value: Json): string => JSON.stringify(value)
const orNull = (value: Json): SQLInputValue => (value === null ? null : JSON.stringify(value))

/** The writes of one transaction, in which nobody else adds to the chain. */
function transaction(sql: ReturnType<typeof statements>, secret: KeyObject): Tx {
  let head: Head | null = null
  // Looked up in each transaction anew: another process may have gone on with the run since.
  const last = new Map<string, number>()
  const next = (root: string) => {
    const n = (last.get(root) ?? (sql.lastCall.get(root) as { n: number | null }).n ?? 0) + 1
    last.set(root, n)
    return n
  }
  return {
    putRun(r) {
      const io = [text(r.input), orNull(r.output), r.error]
      sql.putRun.run(r.id, r.root, r.workflow, r.version, r.exclusive, r.state, ...io, r.createdAt, r.updatedAt)
    },
    markRun({ state, output, error, updatedAt, id }) {
      sql.markRun.run(state, orNull(output), error, updatedAt, id)
    },
    putOp(o) {
      sql.putCall.run(
        o.root,
        next(o.root),
        o.run,
        o.key,
        o.done ? 1 : 0,
        text(o.value),
        orNull(o.error),
        orNull(o.handle),
      )
    },
    addSignal(s) {
      return Number(sql.addSignal.run(s.root, s.name, text(s.value), s.idem).changes) === 1
    },
    seal: (run, what, value) => sealOf(secret, run, what, value),
    addEvent(event, call) {
      head ??= headOf(sql)
      const numbered = { seq: head.length + 1, ...event }
      const data = canonicalJson(event.data)
      const full = { ...numbered, mac: macOf(secret, head.mac, numbered, data) }
      const op = [call?.run ?? null, call?.key ?? null]
      sql.addEvent.run(full.seq, full.run, full.at, full.type, data, full.mac, ...op)
      head = { length: full.seq, mac: full.mac }
      return full
    },
  }
}

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | null = null
  return () => (made ??= { value: make() }).value
}

function parse(value: string | number | null | undefined): Json {
  return value === null || value === undefined ? null : (JSON.parse(String(value)) as Json)
}

/** Inputs hold whole plans: of many runs they are parsed where somebody looks at them. */
function toRun(r: Row | undefined, read: <T>(query: () => T) => T): RunRow | null {
  if (r === undefined) return null
  const input = lazy(() => read(() => parse(r['input'])))
  const output = lazy(() => read(() => parse(r['output'])))
  return {
    id: String(r['id']),
    root: String(r['root']),
    workflow: String(r['workflow']),
    version: Number(r['version']),
    exclusive: r['exclusive'] as string | null,
    state: r['state'] as RunRow['state'],
    get input() {
      return input()
    },
    get output() {
      return output()
    },
    error: r['error'] as string | null,
    createdAt: String(r['created_at']),
    updatedAt: String(r['updated_at']),
  }
}

function toOp(r: Row): OpRow {
  return {
    root: String(r['root']),
    run: String(r['run']),
    key: String(r['key']),
    done: r['done'] === 1,
    value: parse(r['value']),
    error: parse(r['error']),
    handle: parse(r['handle']),
  }
}

function toTold(r: Row): OpRow {
  return told(String(r['run']), String(r['op_run']), String(r['op_key']))
}

function toSignal(r: Row): SignalRow {
  return {
    seq: Number(r['seq']),
    root: String(r['root']),
    name: String(r['name']),
    value: parse(r['value']),
    idem: String(r['idem']),
  }
}

function toEvent(r: Row): Event {
  return {
    seq: Number(r['seq']),
    run: String(r['run']),
    at: String(r['at']),
    type: String(r['type']),
    data: parse(r['data']),
    mac: String(r['mac']),
  }
}
