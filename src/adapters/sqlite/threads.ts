import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import type { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import type { TableFingerprint } from '../../data/fingerprint.ts'
import { type Again, count, quoted } from './database.ts'
import { hasRowId, orderOf, type Part } from './digests.ts'

/** A smaller database is read before threads have started. Bytes. */
export const WORTH_IT = 24 * 1024 * 1024
/** Each takes 25 MB. */
const MOST_THREADS = 2
/** What is read lies outside of what a thread allocates. */
const resourceLimits = { maxYoungGenerationSizeMb: 2 }

/** The same file in the sources and in what is built of them. */
const WORKER = new URL(`./digest-worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

/**
 * The digests of every part, read on several threads, each of which opens the database for itself at the same instant.
 * null: that could not be, or would not help; then the caller's own connection reads.
 */
export async function digestsOnThreads(
  db: DatabaseSync,
  again: Again,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<TableFingerprint[] | null> {
  const threads = Math.min(availableParallelism(), MOST_THREADS)
  if (threads < 2 || parts.some(part => part.rows !== undefined) || sizeOf(db) < WORTH_IT) return null
  const tasks = tasksOf(db, parts, threads)
  const workers: Worker[] = []
  try {
    for (let i = 0; i < Math.min(threads, tasks.length); i++)
      workers.push(new Worker(WORKER, { workerData: again.how, resourceLimits }))
    await Promise.all(workers.map(worker => once(worker, 'message', { signal })))
    if (!again.still()) return null
    const found = await Promise.all(workers.map(worker => worked(worker, tasks, signal)))
    return parts.map((_, i) => joined(found.flat().filter(each => each.part === i)))
  } catch {
    // Whatever it was: the caller's own connection meets it again, and says what it is.
    signal.throwIfAborted()
    return null
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
}

function sizeOf(db: DatabaseSync): number {
  return count(db, 'SELECT page_count * page_size FROM pragma_page_count, pragma_page_size')
}

interface Task {
  /** Number of the part that it belongs to. */
  readonly part: number
  readonly read: Part
}

interface Found {
  readonly part: number
  readonly digests: TableFingerprint
}

/** A table that is most of the whole is read by all threads at once, each of them other columns. The longest come first. */
function tasksOf(db: DatabaseSync, parts: readonly Part[], threads: number): Task[] {
  const sizes = parts.map(part => about(db, part))
  const all = sizes.reduce((sum, size) => sum + size, 0)
  const tasks = parts.flatMap((read, part) => {
    const size = sizes[part] ?? 0
    if (size <= all / (2 * threads) || read.columns.length < threads) return [{ part, read, size }]
    const groups = Array.from({ length: threads }, (_, i) => read.columns.filter((_, at) => at % threads === i))
    return groups.map(columns => ({ part, read: { ...read, columns }, size: size / threads }))
  })
  return tasks.toSorted((a, b) => b.size - a.size)
}

/** About how many values there are: the highest row id is no less than the number of rows. */
function about(db: DatabaseSync, { table, shape, columns }: Part): number {
  const rows = hasRowId(shape) ? `max(${orderOf(table, shape).join()})` : 'count(*)'
  return count(db, `SELECT ${rows} FROM ${quoted(table)}`) * columns.length
}

/** Takes one task after another until there are none. */
async function worked(worker: Worker, tasks: Task[], signal: AbortSignal): Promise<Found[]> {
  const found: Found[] = []
  for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
    const answer = once(worker, 'message', { signal })
    worker.postMessage(task.read, [])
    const [digests] = (await answer) as [TableFingerprint]
    found.push({ part: task.part, digests })
  }
  return found
}

/** Throws where threads did not read the same rows. */
function joined(found: readonly Found[]): TableFingerprint {
  const rows = found[0]?.digests.rows ?? Number.NaN
  if (!found.every(each => each.digests.rows === rows)) throw new Error('threads read other rows')
  return { rows, columns: Object.assign({}, ...found.map(each => each.digests.columns)) as Record<string, string> }
}
