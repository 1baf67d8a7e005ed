import { mkdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { Event, Head } from '../../core/engine.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { chainKey, EMPTY, macOf } from '../chain.ts'
import type { OpRow, RunRow, SignalRow, Store, Tx } from '../store.ts'
import { takeLock } from './lock.ts'
import { FORMAT, SCHEMA } from './schema.ts'

interface Options {
  /** Folder of the journal and the locks; made where it is missing. */
  readonly home: string
  /** Key of the event chain; kept outside the store, so that who can rewrite the one cannot forge the other. */
  readonly key: Uint8Array
}

type Row = Record<string, string | number | null>

/** Journal on disk: WAL with synchronous=FULL, so that what was answered as written survives a power cut. */
export function sqliteStore({ home, key }: Options): Store {
  const db = openJournal(home)
  const sql = statements(db)
  const queue: { change: (tx: Tx) => void; resolve: () => void; reject: (e: unknown) => void }[] = []
  let broken: BackoutError | null = null
  let scheduled = false
  const tx = transaction(sql, key)

  function flush(): void {
    scheduled = false
    const batch = queue.splice(0)
    if (batch.length === 0) return
    try {
      if (broken !== null) throw broken
      sql.begin.run()
      for (const item of batch) item.change(tx)
      sql.commit.run()
      for (const item of batch) item.resolve()
    } catch (error) {
      broken ??= journalFailed(home, error)
      if (db.isOpen && db.isTransaction) db.exec('ROLLBACK')
      for (const item of batch) item.reject(broken)
    }
  }

  return {
    write(change) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      promise.catch(() => {})
      queue.push({ change, resolve, reject })
      if (!scheduled) setImmediate(flush)
      scheduled = true
      return promise
    },
    check() {
      if (broken !== null) throw broken
    },
    run: id => toRun(sql.run.get(id) as Row | undefined),
    runs: ({ state, exclusive }) =>
      (sql.runs.all({ state: state ?? null, exclusive: exclusive ?? null }) as Row[]).flatMap(r => toRun(r) ?? []),
    load: root => ({
      runs: (sql.runsOf.all(root) as Row[]).flatMap(r => toRun(r) ?? []),
      ops: (sql.opsOf.all(root) as Row[]).map(toOp),
    }),
    signals: (root, after) => (sql.signals.all(root, after) as Row[]).map(toSignal),
    events: ({ run, after, limit }) => (sql.events.all({ run, after, limit }) as Row[]).map(toEvent),
    head: () => headOf(sql),
    version: () => (sql.version.get() as { data_version: number }).data_version,
    lock: (name, owner) => takeLock(join(home, 'locks'), name, owner),
    async close() {
      flush()
      db.close()
    },
  }
}

function openJournal(home: string): DatabaseSync {
  mkdirSync(home, { recursive: true, mode: 0o700 })
  refuseNetwork(home)
  const file = join(home, 'journal.db')
  try {
    const db = new DatabaseSync(file, { timeout: 5_000 })
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    db.exec(SCHEMA)
    const format = db.prepare("SELECT value FROM meta WHERE key = 'format'").get() as { value: string } | undefined
    if (format === undefined) db.prepare("INSERT OR IGNORE INTO meta VALUES ('format', ?)").run(String(FORMAT))
    else if (Number(format.value) > FORMAT) throw newer(file, format.value)
    return db
  } catch (error) {
    if (error instanceof BackoutError) throw error
    throw new BackoutError({
      code: 'journal_unreadable',
      what: `The journal ${file} cannot be opened`,
      cause: error instanceof Error ? error.message : String(error),
      next: 'see docs/recovery.md, "The journal cannot be opened"; change nothing in that folder before',
      from: error,
    })
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

/** Locks and synced writes cannot be relied on there: NFS, SMB, CIFS, sshfs and other FUSE. */
const NETWORK = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546])

function refuseNetwork(home: string): void {
  if (!NETWORK.has(statfsSync(home).type)) return
  throw new BackoutError({
    code: 'home_on_network',
    what: `The home ${home} lies on a network file system, where locks cannot be relied on`,
    next: 'put `home:` on a local disk, or on one machine for all: home: ssh://HOST/PATH',
    exit: 'blocked',
  })
}

function journalFailed(home: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'journal_failed',
    what: `The journal in ${home} could not be written, so nothing more is touched`,
    cause: error instanceof Error ? error.message : String(error),
    next: 'make room or mend the disk, then: backout resume',
    exit: 'failed',
    from: error,
  })
}

function statements(db: DatabaseSync) {
  const p = (text: string): StatementSync => db.prepare(text)
  return {
    begin: p('BEGIN IMMEDIATE'),
    commit: p('COMMIT'),
    run: p('SELECT * FROM runs WHERE id = ?'),
    runs: p(`SELECT * FROM runs WHERE id = root AND ($state IS NULL OR state = $state)
             AND ($exclusive IS NULL OR exclusive = $exclusive) ORDER BY created_at, id`),
    runsOf: p('SELECT * FROM runs WHERE root = ?'),
    opsOf: p('SELECT * FROM ops WHERE root = ?'),
    signals: p('SELECT * FROM signals WHERE root = ? AND seq > ? ORDER BY seq'),
    events: p('SELECT * FROM events WHERE seq > $after AND ($run IS NULL OR run = $run) ORDER BY seq LIMIT $limit'),
    last: p('SELECT seq, mac FROM events ORDER BY seq DESC LIMIT 1'),
    version: p('PRAGMA data_version'),
    putRun: p('INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?)'),
    putOp: p('INSERT OR REPLACE INTO ops VALUES (?,?,?,?,?,?,?)'),
    addSignal: p('INSERT OR IGNORE INTO signals (root, name, value, idem) VALUES (?,?,?,?)'),
    addEvent: p('INSERT INTO events VALUES (?,?,?,?,?,?)'),
  }
}

function headOf(sql: ReturnType<typeof statements>): Head {
  const last = sql.last.get() as { seq: number; mac: string } | undefined
  return last === undefined ? EMPTY : { length: last.seq, mac: last.mac }
}

const text = (value: Json): string => JSON.stringify(value)
const orNull = (value: Json): SQLInputValue => (value === null ? null : JSON.stringify(value))

function transaction(sql: ReturnType<typeof statements>, key: Uint8Array): Tx {
  const secret = chainKey(key)
  return {
    putRun(r) {
      const io = [text(r.input), orNull(r.output), r.error]
      sql.putRun.run(r.id, r.root, r.workflow, r.version, r.exclusive, r.state, ...io, r.createdAt, r.updatedAt)
    },
    putOp(o) {
      sql.putOp.run(o.root, o.run, o.key, o.done ? 1 : 0, text(o.value), orNull(o.error), orNull(o.handle))
    },
    addSignal(s) {
      return Number(sql.addSignal.run(s.root, s.name, text(s.value), s.idem).changes) === 1
    },
    addEvent(event) {
      const before = headOf(sql)
      const numbered = { seq: before.length + 1, ...event }
      const full = { ...numbered, mac: macOf(secret, before.mac, numbered) }
      sql.addEvent.run(full.seq, full.run, full.at, full.type, text(full.data), full.mac)
      return full
    },
  }
}

function parse(value: string | number | null | undefined): Json {
  return value === null || value === undefined ? null : (JSON.parse(String(value)) as Json)
}

function toRun(r: Row | undefined): RunRow | null {
  if (r === undefined) return null
  return {
    id: String(r['id']),
    root: String(r['root']),
    workflow: String(r['workflow']),
    version: Number(r['version']),
    exclusive: r['exclusive'] as string | null,
    state: r['state'] as RunRow['state'],
    input: parse(r['input']),
    output: parse(r['output']),
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
