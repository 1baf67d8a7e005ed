/**
 * Loaded into the real command line before it starts (`--import`): kills the process with SIGKILL (or what BACKOUT_TEST_SIGNAL says) right before or right
 * after a point. Points are the commits of the journal, named by the calls and events that they hold (so that a name means
 * the same in every run, whatever was committed together), and the writes to files and to the traffic switch. Where to die
 * stands in BACKOUT_TEST_KILL; the file BACKOUT_TEST_KILLED receives where it was, BACKOUT_TEST_TRACE every point that is
 * come to, and every process that is started in between. At the point BACKOUT_TEST_FULL the disk of the journal is full, as SQLite says it. BACKOUT_TEST_CLOCK sets the
 * clock by so many milliseconds once the process has a run, BACKOUT_TEST_CLOCK_BEFORE from its start on.
 */
import processes from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync, promises } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

interface Kill {
  readonly when: 'before' | 'after'
  readonly point: string
}

const kills = JSON.parse(process.env['BACKOUT_TEST_KILL'] ?? '[]') as Kill[]
const killed = process.env['BACKOUT_TEST_KILLED'] ?? '/dev/null'
const trace = process.env['BACKOUT_TEST_TRACE']
const times = new Map<string, number>()

/** The same in every run: without the run's id and what was drawn by lot. */
function named(text: string): string {
  const plain = text.replaceAll(/r?\d{8}T\d{6}Z-[0-9a-f]{4}\b/g, 'RUN').replaceAll(/\d{8}T\d{6}Z/g, 'TIME')
  const label = plain.replaceAll(/\b[0-9a-f]{6}\b/g, 'HEX').replaceAll(/[0-9a-f]{32,}/g, 'HEX')
  const n = (times.get(label) ?? 0) + 1
  times.set(label, n)
  return n === 1 ? label : `${label} (${n})`
}

/** Comes to a point that has these names, and dies there where that was asked for. */
function at(when: Kill['when'], points: readonly string[]): void {
  if (when === 'before' && trace !== undefined) appendFileSync(trace, `${points.at(-1)}\n`)
  const kill = kills.find(k => k.when === when && points.includes(k.point))
  if (kill === undefined) return
  appendFileSync(killed, `${JSON.stringify(kill)}\n`)
  process.kill(process.pid, process.env['BACKOUT_TEST_SIGNAL'] ?? 'SIGKILL')
}

/** What an event is about: a step, a gate, a phase. */
function subject(data: string): string {
  const about = JSON.parse(data) as { step?: string; gate?: string; phase?: string } | null
  return about?.step ?? about?.gate ?? about?.phase ?? ''
}

const full = process.env['BACKOUT_TEST_FULL']

/** From here on the file cannot grow: the commit fails, and so does every later write that needs room. */
function fillUp(db: DatabaseSync): void {
  const pages = Number(Object.values(prepare.call(db, 'PRAGMA page_count').get() ?? {})[0])
  db.exec(
    `PRAGMA max_page_count = ${pages}; CREATE TABLE filler (content BLOB); INSERT INTO filler VALUES (randomblob(9999999))`,
  )
}

const jump = Number(process.env['BACKOUT_TEST_CLOCK'] ?? '0')
let jumped = Number(process.env['BACKOUT_TEST_CLOCK_BEFORE'] ?? '0')
const now = Date.now.bind(Date)
Date.now = () => now() + jumped

let batch: string[] = []
type Prepare = (this: DatabaseSync, sql: string, ...rest: never[]) => StatementSync
const prepare = Reflect.get(DatabaseSync.prototype, 'prepare') as Prepare
DatabaseSync.prototype.prepare = function (sql: string, ...rest: never[]): StatementSync {
  const statement = prepare.call(this, sql, ...rest)
  if (!this.location()?.endsWith('/journal.db')) return statement
  const run = statement.run.bind(statement)
  const said = (label: (...values: string[]) => string) => {
    statement.run = (...values: never[]) => {
      batch.push(named(label(...values.map(String))))
      return run(...values)
    }
  }
  if (sql.startsWith('INSERT INTO calls')) said((_root, _n, child, key, done) => `${child} ${key} ${done}`)
  if (sql.startsWith('INSERT OR REPLACE INTO runs'))
    said((...values) => {
      if (jump !== 0) jumped = jump
      return `run ${values[0]} ${values[5]}`
    })
  if (sql.startsWith('INSERT INTO events')) said((...values) => `event ${values[3]} ${subject(values[4] ?? 'null')}`)
  if (sql !== 'COMMIT') return statement
  statement.run = () => {
    if (full !== undefined && batch.includes(full)) fillUp(this)
    const points = batch.length > 0 ? batch : [named('nothing')]
    batch = []
    at('before', points)
    const result = run()
    at('after', points)
    return result
  }
  return statement
}

const files = promises as unknown as Record<string, (from: string, to: string) => Promise<void>>
for (const name of ['rename', 'link', 'symlink']) {
  const original = files[name]
  if (original === undefined) continue
  files[name] = async (from: string, to: string) => {
    const point = [named(`${name} ${to.replaceAll(`${process.cwd()}/`, '')}`)]
    at('before', point)
    try {
      await original(from, to)
    } finally {
      at('after', point)
    }
  }
}
syncBuiltinESMExports()

if (trace !== undefined) {
  const { spawn } = processes
  Object.assign(processes, {
    spawn: (...args: never[]) => {
      appendFileSync(trace, 'spawn\n')
      return (spawn as (...all: never[]) => unknown)(...args)
    },
  })
  syncBuiltinESMExports()
}

const puts = new WeakMap<object, string[]>()
subscribe('undici:request:create', message => {
  const { request } = message as { request: { method: string; path: string; body: unknown } }
  if (request.method !== 'PUT') return
  const point = [named(`put ${request.path} ${String(request.body)}`)]
  puts.set(request, point)
  at('before', point)
})
subscribe('undici:request:headers', message => {
  const { request } = message as { request: object }
  const point = puts.get(request)
  if (point !== undefined) at('after', point)
})
