import { resolve } from 'node:path'
import { messageOf } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { redact, reveal } from '../core/secret.ts'
import { runLocal } from '../exec/local.ts'
import { parsed } from '../exec/pointer.ts'
import type { SqliteProbe } from './config.ts'
import { mismatch, shown } from './expect.ts'
import { type Found, failed, noData, passed } from './sample.ts'

/**
 * `node:sqlite` answers synchronously and cannot be interrupted: a slow query would stop this whole process. So it runs
 * in a child with a time limit. The question comes by standard input, where no process list shows it.
 */
const CHILD = `
const { DatabaseSync } = require('node:sqlite')
const { path, query, busyMs } = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const plain = v => typeof v === 'bigint' ? (Number.isSafeInteger(Number(v)) ? Number(v) : String(v))
  : v instanceof Uint8Array ? 'blob of ' + v.length + ' bytes' : v
let answer
try {
  const db = new DatabaseSync(path, { readOnly: true, timeout: busyMs })
  const statement = db.prepare(query)
  statement.setReadBigInts(true)
  statement.setReturnArrays(true)
  let rows = 0, value
  for (const row of statement.iterate()) {
    if (rows === 0) value = plain(row[0])
    if (++rows >= 10000) break
  }
  answer = value === undefined ? { rows } : { rows, value }
} catch (error) {
  answer = { error: String(error.message), code: error.errcode ?? null }
}
process.stdout.write(JSON.stringify(answer))
`

/** SQLite's primary result codes that say nothing about the content: busy, locked, out of memory, I/O, cannot open. */
const NO_ANSWER = new Set([5, 6, 7, 10, 14])

/** Asks a SQLite database one reading statement. */
export async function measureSqlite(config: SqliteProbe, baseDir: string, signal: AbortSignal): Promise<Found> {
  const path = resolve(baseDir, config.path)
  const stdin = JSON.stringify({ path, query: reveal(config.query), busyMs: Math.min(config.timeout / 2, 2000) })
  try {
    const argv = [process.execPath, '--no-warnings', '-e', CHILD]
    const { code, stdout, stderr } = await runLocal({ argv, stdin, limitMs: config.timeout }, signal)
    const answer = parsed(stdout) as Answer | undefined
    if (answer === undefined) return noData(redact(`asking ${config.path} ended with exit ${code}: ${stderr}`))
    const found = look(config, answer)
    return { ...found, text: redact(`${config.path}: ${found.text}`) }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const late = (error as { code?: unknown }).code === 'command_timed_out'
    return noData(redact(late ? `${config.path} gave no answer within ${config.timeout} ms` : messageOf(error)))
  }
}

/** What the child writes. */
type Answer = { error: string; code: number | null } | { rows: number; value?: Json }

function look({ expect }: SqliteProbe, answer: Answer): Found {
  if ('error' in answer) {
    const silent = answer.code === null || NO_ANSWER.has(answer.code & 0xff)
    return silent ? noData(`no answer: ${answer.error}`) : failed(`refused: ${answer.error}`)
  }
  const { rows, value } = answer
  const measured = typeof value === 'number' || typeof value === 'string' ? value : rows
  const wrong =
    (expect.rows === undefined ? null : mismatch('the number of rows', rows, expect.rows)) ??
    (expect.value === undefined ? null : mismatch('the value', value, expect.value))
  if (wrong !== null) return failed(wrong, measured)
  return passed(`${rows} rows${value === undefined ? '' : `, the first value is ${shown(value)}`}`, measured)
}
