import type { Json } from './json.ts'
import type { RunState } from './words.ts'

/**
 * What a workflow sees. Code between calls is deterministic: after a crash the workflow runs again from its start and
 * every call that was journalled answers as it did. Never two calls of one Ctx in flight at once.
 */
export interface Ctx {
  readonly runId: string
  /**
   * Journalled once, executed at least once. fn begins once all that was journalled before is on disk; its own result is
   * on disk before anything that comes after it begins. After `ms` the signal aborts and the call throws, whatever fn goes
   * on doing.
   */
  run<T extends Json>(key: string, fn: (act: Act) => Promise<T>, options?: RunOptions): Promise<T>
  /**
   * The newest signal of these names that this workflow has not seen, or null after `ms` (0 = look, Infinity = for ever).
   * A `$cancel` comes before all newer ones: nothing takes it back. The deadline is durable. Children see the signals of
   * their root that their parent had not seen when it began them. `as` is the run's state while this waits for a person's
   * answer; else it is paused once nothing of it goes on any more.
   */
  wait(key: string, names: readonly string[], ms: number, as?: 'waiting'): Promise<{ name: string; value: Json } | null>
  /**
   * The only concurrency: child runs. Starts an item once those in its `after` succeeded; after more than `maxFailures`
   * failures, or on `$cancel`, starts nothing more, lets the running finish (those too that an earlier process had
   * started), and answers null for the rest. While a `$pause` stands it starts nothing.
   */
  map(key: string, workflow: string, items: readonly MapItem[], options: MapOptions): Promise<Record<string, Outcome>>
  /** Writes an event to the journal, once, in the order of the calls. */
  tell(key: string, type: string, data: Json, options?: TellOptions): void
}

export interface RunOptions {
  /** Milliseconds. */
  readonly ms?: number
  /** Calls that name the same one share what `note` keeps, over the whole root run. */
  readonly handle?: string
  /** fn touches nothing outside this process, so that it need not wait for the disk. */
  readonly pure?: boolean
  /** What fn answers is kept as it is: it holds no secret, and what it says is gone by later. */
  readonly asIs?: boolean
}

export interface TellOptions {
  /** A field that holds no secret, and is kept as it is. */
  readonly asIs?: string
}

export interface MapItem {
  readonly id: string
  readonly after?: readonly string[]
  readonly input: Json
}
export interface MapOptions {
  readonly concurrency: number
  readonly maxFailures?: number
  /** Whether nothing more is started after this error, however many failures may be. */
  readonly stopsAll?: (error: string) => boolean
  /** Neither `$pause` nor `$cancel` keeps anything from being started. */
  readonly regardless?: boolean
}
export type Outcome = { ok: true; value: Json } | { ok: false; error: string } | { ok: null }

/** What the code inside one `run` is given. */
export interface Act {
  readonly signal: AbortSignal
  /** Throws when this process may no longer own the run. */
  guard(): void
  readonly handle: Json | null
  /** The key of the call that noted `handle`; null or left out: there is none, or the journal does not say. */
  readonly notedBy?: string | null
  /** Somebody asked for an abort that the workflow has not seen. Left out: nobody can tell. */
  cancelled?(): boolean
  /** What calls with the handle of that name have noted, of whatever child. Left out: nothing can be looked up. */
  handleOf?(name: string): Json | null
  /** Kept as it is, and never a secret. */
  note(handle: Json): Promise<void>
  /** An event that is not durable and not part of the chain: progress for people who watch. */
  progress(data: Json): void
  /** A durable event, in the journal once this resolves. */
  tell(type: string, data: Json): Promise<void>
}

export interface RunInfo {
  readonly id: string
  readonly workflow: string
  readonly version: number
  readonly exclusive: string | null
  readonly state: RunState
  readonly input: Json
  readonly output: Json | null
  readonly error: string | null
  readonly createdAt: string
  readonly updatedAt: string
}

export interface Event {
  /** Counts from 1 over the whole store, without gaps. */
  readonly seq: number
  /** Root run; a name beginning with '-' for what happens outside any run (captures, marks). */
  readonly run: string
  readonly at: string
  readonly type: string
  readonly data: Json
  /** HMAC over this event and the one before. */
  readonly mac: string
}

export interface Head {
  readonly length: number
  readonly mac: string
}

export interface StartOptions {
  readonly exclusive?: string
  readonly over?: readonly string[]
  /** What the journal tells of a new run's beginning, beside the keyed hash of its input: who, why, how confirmed. */
  readonly told?: Readonly<Record<string, Json>>
}

export interface Engine {
  /** A run of another version is not resumed: raise it when the order of calls changes. */
  define(name: string, version: number, workflow: (ctx: Ctx, input: Json) => Promise<Json>): void
  /** A worker executes runs; without, it reads and signals only. */
  open(options: { worker: boolean }): Promise<void>
  /**
   * Starts a run, or goes on with it where it is known and not ended. Idempotent by runId. Holds `exclusive` (the
   * environment) until it ends or the process does: a second owner gets the error `environment_busy`. While another run
   * of that environment has not ended, though nobody is at work on it, a new one gets `run_open`; `over` names runs that it
   * takes the place of instead, where they were interrupted: they end as aborted.
   */
  start(workflow: string, runId: string, input: Json, options?: StartOptions): Promise<void>
  /** Idempotent by `idem`. */
  signal(runId: string, name: string, value: Json, idem: string): Promise<void>
  /**
   * Resolves when this process can do no more for the run: ended, or parked on a wait that only a signal can end. A run
   * that waits for a time is not parked.
   */
  settled(runId: string): Promise<RunInfo>
  get(runId: string): Promise<RunInfo | null>
  list(filter?: { state?: RunState; exclusive?: string }): Promise<RunInfo[]>
  /** Journals something that happens outside any run. */
  record(type: string, data: Json): Promise<Event>
  /**
   * The journal so far, then live until the run ends or is left. `after`: the last seq already known. `type`: only events
   * of that type.
   */
  events(runId: string, options?: { after?: number; follow?: boolean; type?: string }): AsyncIterable<Event>
  /** Progress of acts in this process; not durable. Returns the way to stop listening. */
  onProgress(listener: (runId: string, data: Json) => void): () => void
  head(): Promise<Head>
  /**
   * Lets go of everything at once: acts are told to abort, runs stay as the journal has them, locks are freed. Resolves
   * when no act is alive any more.
   */
  close(): Promise<void>
}

/** Signals that every workflow may look for; `$resumed` is the engine's own, sent when a run is taken up again. */
export const CONTROL = ['$pause', '$resume', '$cancel', '$resumed'] as const
