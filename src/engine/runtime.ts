import { type Clock, iso, systemClock } from '../core/clock.ts'
import type { Ctx, Engine, Event, RunInfo, StartOptions } from '../core/engine.ts'
import { BackoutError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { spare } from '../core/secret.ts'
import { ENDED, type RunState } from '../core/words.ts'
import { ActiveRun, endOf, type Workflow } from './active.ts'
import { WorkflowCtx } from './ctx.ts'
import { scrub } from './pack.ts'
import { runAltered } from './seals.ts'
import type { RunRow, Store } from './store.ts'

export interface RuntimeOptions {
  readonly clock?: Clock
  /** How often the journal is looked at for what other processes wrote. Milliseconds. */
  readonly pollMs?: number
  /** Under what `record` files its events, beginning with '-'; '-' where it is not said. */
  readonly outside?: string
  /** Resolves once nothing that an earlier owner of the run began is alive in this machine any more. */
  readonly beforeTakeover?: (runId: string) => Promise<void>
}

/** The engine over any store: replays journalled calls, executes the rest, and keeps at most one owner a run. */
export class Runtime implements Engine {
  readonly #store: Store
  readonly #clock: Clock
  readonly #options: RuntimeOptions
  readonly #workflows = new Map<string, Workflow>()
  readonly #active = new Map<string, ActiveRun>()
  readonly #listeners = new Set<(runId: string, data: Json) => void>()
  /** Wake who follows a journal. */
  readonly #followers = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #seen = -1
  #worker = false
  #closed = false

  constructor(store: Store, options: RuntimeOptions = {}) {
    this.#store = store
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  define(name: string, version: number, workflow: (ctx: Ctx, input: Json) => Promise<Json>): void {
    this.#workflows.set(name, { version, body: workflow })
  }

  async open(options: { worker: boolean }): Promise<void> {
    this.#worker ||= options.worker
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.#poll(), this.#options.pollMs ?? 100)
    this.#timer.unref()
  }

  async start(workflow: string, runId: string, input: Json, options: StartOptions = {}): Promise<void> {
    if (!this.#worker) throw new BackoutError({ code: 'not_a_worker', what: 'This process only reads the journal' })
    if (this.#active.has(runId)) return
    spare([runId], true)
    const exclusive = this.#store.run(runId)?.exclusive ?? options.exclusive ?? null
    const lock = exclusive === null ? null : this.#store.lock(exclusive, runId)
    try {
      const known = this.#store.run(runId)
      if (known !== null && ENDED.has(known.state)) return lock?.release()
      if (known === null && exclusive !== null) await this.#alone(exclusive, runId, options.over ?? [])
      const row = known === null ? this.#fresh(workflow, runId, input, exclusive) : await this.#takeOver(known)
      const active = new ActiveRun(row, {
        store: this.#store,
        clock: this.#clock,
        lock,
        workflows: this.#workflows,
        ctx: (id, run, seen) => new WorkflowCtx(id, run, seen),
        progress: data => this.#emit(runId, data),
        ended: () => {
          this.#active.delete(runId)
          this.#wake()
        },
      })
      this.#active.set(runId, active)
      await (known === null ? this.#announce(row, options.told ?? {}) : this.#announceAgain(row))
      active.begin()
    } catch (error) {
      this.#active.delete(runId)
      lock?.release()
      throw error
    }
  }

  /** Of one environment only one run goes on, also where the process of another one is gone. Holds the lock. */
  async #alone(exclusive: string, runId: string, over: readonly string[]): Promise<void> {
    const open = this.#store.runs({ exclusive }).filter(run => !ENDED.has(run.state))
    const other = open.find(run => run.state !== 'running' || !over.includes(run.id))
    if (other !== undefined) throw runOpen(other)
    const updatedAt = iso(this.#clock.now())
    const [state, error] = ['aborted', `run ${runId} took its place`] as const
    await this.#store.write(tx => {
      for (const run of open) {
        const ended = { ...run, state, error, updatedAt }
        tx.markRun(ended)
        tx.addEvent({ run: run.id, at: updatedAt, type: 'run-ended', data: endOf(tx, ended) })
      }
    })
  }

  #fresh(workflow: string, id: string, input: Json, exclusive: string | null): RunRow {
    const version = this.#workflows.get(workflow)?.version
    if (version === undefined) throw new BackoutError({ code: 'workflow_unknown', what: `No workflow ${workflow}` })
    const at = iso(this.#clock.now())
    return {
      id,
      root: id,
      workflow,
      version,
      exclusive,
      state: 'running',
      input,
      output: null,
      error: null,
      createdAt: at,
      updatedAt: at,
    }
  }

  async #takeOver(row: RunRow): Promise<RunRow> {
    const mine = this.#workflows.get(row.workflow)?.version
    if (mine !== row.version) {
      throw new BackoutError({
        code: 'run_of_other_version',
        what: `Run ${row.id} was begun by another version of Backout (workflow ${row.workflow} ${row.version}, here ${mine ?? 'none'})`,
        next: 'resume it, or abort it, with the version of Backout that began it (docs/recovery.md, "Errors of resume")',
        exit: 'blocked',
      })
    }
    const told = (type: string) => this.#store.events({ run: row.id, after: 0, limit: 1, type })
    const altered = this.#store.altered(row, [...told('run-started'), ...told('run-ended')])
    if (altered !== null) throw runAltered(row.id, altered)
    await this.#options.beforeTakeover?.(row.id)
    return { ...row, state: 'running', updatedAt: iso(this.#clock.now()) }
  }

  #announce(row: RunRow, told: Readonly<Record<string, Json>>): Promise<void> {
    const at = iso(this.#clock.now())
    return this.#store.write(tx => {
      tx.putRun(row)
      const data = scrub({ pid: process.pid, ...told, input: tx.seal(row.id, 'input', row.input) })
      tx.addEvent({ run: row.id, at, type: 'run-started', data })
    })
  }

  #announceAgain(row: RunRow): Promise<void> {
    const at = iso(this.#clock.now())
    return this.#store.write(tx => {
      tx.markRun(row)
      const { seq } = tx.addEvent({ run: row.id, at, type: 'run-resumed', data: { pid: process.pid } })
      tx.addSignal({ root: row.id, name: '$resumed', value: seq, idem: `resumed-${seq}` })
    })
  }

  async signal(runId: string, name: string, value: Json, idem: string): Promise<void> {
    const row = this.#store.run(runId)
    if (row === null) throw noRun(runId)
    const safe = scrub(value)
    await this.#store.write(tx => {
      if (!tx.addSignal({ root: runId, name, value: safe, idem })) return
      tx.addEvent({ run: runId, at: iso(this.#clock.now()), type: 'signal', data: { name, value: safe } })
    })
    this.#active.get(runId)?.lookForSignals()
  }

  async settled(runId: string): Promise<RunInfo> {
    const active = this.#active.get(runId)
    await active?.settled()
    // Of a run of this process the journal says nothing else, and it would be read with all of its plan.
    const row = active?.row ?? this.#store.run(runId)
    if (row === null) throw noRun(runId)
    return row
  }

  async get(runId: string): Promise<RunInfo | null> {
    spare([runId], true)
    return this.#store.run(runId)
  }

  async list(filter: { state?: RunState; exclusive?: string } = {}): Promise<RunInfo[]> {
    const runs = this.#store.runs(filter)
    spare(
      runs.map(run => run.id),
      true,
    )
    return runs
  }

  async record(type: string, data: Json): Promise<Event> {
    let event: Event | undefined
    await this.#store.write(tx => {
      event = tx.addEvent({ run: this.#options.outside ?? '-', at: iso(this.#clock.now()), type, data: scrub(data) })
    })
    if (event === undefined)
      throw new BackoutError({ code: 'journal_failed', what: `The event ${type} was not written` })
    return event
  }

  async *events(
    runId: string,
    options: { after?: number; follow?: boolean; type?: string } = {},
  ): AsyncIterable<Event> {
    let after = options.after ?? 0
    const run = runId === '*' ? null : runId
    for (;;) {
      if (options.follow && this.#closed) return
      const over = run !== null && ENDED.has(this.#store.run(run)?.state ?? 'running')
      const batch = this.#store.events({ run, after, limit: 500, type: options.type })
      for (const event of batch) {
        after = event.seq
        yield event
      }
      if (batch.length > 0) continue
      if (!options.follow || over) return
      await this.#more()
    }
  }

  /** Until the journal is to be looked at again: every so often, and at once where a run of this process has ended. */
  #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = () => {
      cancel()
      this.#followers.delete(wake)
      resolve()
    }
    const cancel = this.#clock.after(this.#options.pollMs ?? 100, wake)
    this.#followers.add(wake)
    return promise
  }

  #wake(): void {
    for (const wake of this.#followers) wake()
  }

  onProgress(listener: (runId: string, data: Json) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async head() {
    return this.#store.head()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    await Promise.all([...this.#active.values()].map(run => run.halt()))
    this.#wake()
    await this.#store.close()
  }

  #emit(runId: string, data: Json): void {
    for (const listener of this.#listeners) listener(runId, data)
  }

  #poll(): void {
    if (this.#active.size === 0) return
    try {
      const version = this.#store.version()
      if (version === this.#seen) return
      for (const run of this.#active.values()) run.lookForSignals()
      this.#seen = version
    } catch {
      // A journal that cannot be read shows at the next write, which stops the run.
    }
  }
}

function runOpen({ id, exclusive, state }: RunRow): BackoutError {
  return new BackoutError({
    code: 'run_open',
    what: `Run ${id} of ${exclusive} has not ended: ${state}; no process is at work on it`,
    next: 'backout resume; or backout abort',
    exit: 'busy',
  })
}

function noRun(runId: string): BackoutError {
  return new BackoutError({
    code: 'run_unknown',
    what: `There is no run ${runId}`,
    next: 'backout status',
    exit: 'usage',
  })
}
