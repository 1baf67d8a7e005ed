import type { Event, Head, RunInfo } from '../core/engine.ts'
import type { Json } from '../core/json.ts'
import type { RunState } from '../core/words.ts'

/** What the runtime keeps. A store makes it durable; it knows nothing of workflows. */
export interface Store {
  /**
   * Queues writes; all that is queued in one turn of the event loop goes to disk in one transaction, in order. Resolves
   * once it is durable. After one failure every later write fails too: nothing may happen that the journal lacks.
   */
  write(change: (tx: Tx) => void): Promise<void>
  /** Resolves once everything that was written before is durable; rejects where a write has failed. */
  durable(): Promise<void>
  /** Throws where a write has failed. */
  check(): void
  run(id: string): RunRow | null
  runs(filter: { state?: RunState | undefined; exclusive?: string | undefined }): RunRow[]
  /** Every journalled call of a root run and its children, in the order of writing: of one call, the last one counts. */
  load(root: string): OpRow[]
  signals(root: string, after: number): SignalRow[]
  events(filter: { run: string | null; after: number; limit: number; type?: string | undefined }): Event[]
  head(): Head
  /** What of a run is not as its events tell, in words; null: nothing. */
  altered(run: RunInfo, own: readonly Event[]): string | null
  /** A number that changes when another process wrote. */
  version(): number
  /** Takes the exclusive right to an environment; throws `environment_busy`. */
  lock(name: string, owner: string): Lock
  close(): Promise<void>
}

export interface Tx {
  putRun(row: RunRow): void
  /** How a run that is there already stands now: its state, output and error. */
  markRun(row: RunRow): void
  putOp(row: OpRow): void
  /** False where a signal of that idem was there already. */
  addSignal(row: Omit<SignalRow, 'seq'>): boolean
  /** @param call The journalled call that it stands for: `load` answers that one as done. */
  /** Keyed hash of what a run began with or ended as, for the event that tells of it. */
  seal(run: string, what: 'input' | 'output', value: Json): string
  addEvent(event: { run: string; at: string; type: string; data: Json }, call?: { run: string; key: string }): Event
}

export interface Lock {
  /** Throws where the right was lost. */
  check(): void
  release(): void
}

export interface RunRow extends RunInfo {
  /** The run that a person started; its own id for that one. */
  readonly root: string
}

export interface OpRow {
  readonly run: string
  readonly root: string
  readonly key: string
  readonly done: boolean
  readonly value: Json
  readonly error: Json | null
  readonly handle: Json | null
}

export interface SignalRow {
  readonly seq: number
  readonly root: string
  readonly name: string
  readonly value: Json
  readonly idem: string
}

/** A call that did nothing but tell an event. */
export function told(root: string, run: string, key: string): OpRow {
  return { root, run, key, done: true, value: null, error: null, handle: null }
}
