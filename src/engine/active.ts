import { onAbort } from '../core/abort.ts'
import { type Clock, iso } from '../core/clock.ts'
import type { Ctx } from '../core/engine.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { redact } from '../core/secret.ts'
import type { RunState } from '../core/words.ts'
import { Halted } from './halted.ts'
import { scrub } from './pack.ts'
import type { Lock, OpRow, RunRow, SignalRow, Store, Tx } from './store.ts'

export interface Workflow {
  readonly version: number
  readonly body: (ctx: Ctx, input: Json) => Promise<Json>
}

/** What makes the body of a run, be it the root or a child. */
export type Child = Pick<RunRow, 'id' | 'workflow' | 'input'>

interface Surroundings {
  readonly store: Store
  readonly clock: Clock
  readonly lock: Lock | null
  readonly workflows: ReadonlyMap<string, Workflow>
  readonly ctx: (runId: string, active: ActiveRun, seen: ReadonlyMap<string, number>) => Ctx
  readonly progress: (data: Json) => void
  readonly ended: () => void
}

/** One root run, with its children, executed by this process. */
export class ActiveRun {
  readonly root: string
  readonly #around: Surroundings
  readonly #halt = new AbortController()
  readonly #ops = new Map<string, OpRow>()
  /** Root and children that the journal knew of when this process began. */
  readonly #earlier = new Set<string>()
  readonly #wakers = new Set<() => void>()
  readonly #acts = new Set<Promise<unknown>>()
  readonly #settled: { resolve: () => void; reject: (e: unknown) => void }[] = []
  #signals: SignalRow[] = []
  #row: RunRow
  #busy = 0
  /** Calls that wait for a person's answer. */
  #asking = 0
  #over = false
  #failure: unknown
  #body: Promise<void> = Promise.resolve()

  constructor(row: RunRow, around: Surroundings) {
    this.root = row.id
    this.#row = row
    this.#around = around
  }

  begin(): void {
    for (const op of this.#around.store.load(this.root)) {
      this.#ops.set(`${op.run}\n${op.key}`, op)
      this.#earlier.add(op.run)
    }
    this.lookForSignals()
    this.#body = this.#execute()
  }

  async #execute(): Promise<void> {
    this.#busy++
    try {
      const output = scrub(await this.#bodyOf(this.#row))
      await this.#end(endState(output), output, null)
    } catch (error) {
      if (this.halted || isJournalFailure(error)) await this.#letGo(this.halted ? undefined : error)
      else await this.#end('failed', null, redact(messageOf(error))).catch(reason => void (this.#failure = reason))
    }
    this.#over = true
    this.#around.lock?.release()
    this.#around.ended()
    this.#busy--
    this.#wake()
  }

  /** Other branches may be in the middle of something: nobody else gets the run before they have ended. */
  async #letGo(failure: unknown): Promise<void> {
    this.#failure = failure
    this.#halt.abort(new Halted('this process lets go of the run'))
    await Promise.all(this.#acts)
  }

  async #end(state: RunState, output: Json, error: string | null): Promise<void> {
    const at = iso(this.#around.clock.now())
    this.#row = { ...this.#row, state, output, error, updatedAt: at }
    await this.#around.store.write(tx => {
      tx.markRun(this.#row)
      tx.addEvent({ run: this.root, at, type: 'run-ended', data: endOf(tx, this.#row) })
    })
  }

  /** Runs the body of a child run, counted as busy while it can go on by itself. */
  async child(row: Child, seen: ReadonlyMap<string, number>): Promise<Json> {
    this.#busy++
    this.#tellState()
    try {
      return await this.#bodyOf(row, seen)
    } finally {
      this.#busy--
      this.#settleIfIdle()
    }
  }

  #bodyOf(row: Child, seen: ReadonlyMap<string, number> = new Map()): Promise<Json> {
    const workflow = this.#around.workflows.get(row.workflow)
    if (workflow !== undefined) return workflow.body(this.#around.ctx(row.id, this, seen), row.input)
    throw new BackoutError({ code: 'workflow_unknown', what: `No workflow ${row.workflow}` })
  }

  /** As the journal has it: nobody but this process writes it. */
  get row(): RunRow {
    return this.#row
  }
  get store(): Store {
    return this.#around.store
  }
  get clock(): Clock {
    return this.#around.clock
  }
  get halted(): boolean {
    return this.#halt.signal.aborted
  }
  get haltSignal(): AbortSignal {
    return this.#halt.signal
  }
  get signals(): readonly SignalRow[] {
    return this.#signals
  }

  op(run: string, key: string): OpRow | undefined {
    return this.#ops.get(`${run}\n${key}`)
  }
  /** An earlier process had started this child, or one of its own. */
  startedBefore(child: string): boolean {
    if (this.#earlier.has(child)) return true
    for (const run of this.#earlier) if (run.startsWith(`${child}/`)) return true
    return false
  }
  keepOp(op: OpRow): void {
    this.#ops.set(`${op.run}\n${op.key}`, op)
  }
  progress(data: Json): void {
    this.#around.progress(data)
  }
  guard(): void {
    if (this.halted) throw new Halted('this process lets go of the run')
    this.#around.lock?.check()
    this.#around.store.check()
  }

  /** Keeps an act in sight, so that letting go of the run waits for it. */
  track<T>(act: Promise<T>): Promise<T> {
    const quiet = act.then(
      () => {},
      () => {},
    )
    this.#acts.add(quiet)
    void quiet.then(() => this.#acts.delete(quiet))
    return act
  }

  /** From here on this part of the run can only go on by a signal, until the returned function is called. */
  park(as?: 'waiting'): () => void {
    let parked = true
    this.#busy--
    if (as !== undefined) this.#ask(1)
    this.#settleIfIdle()
    return () => {
      if (!parked) return
      parked = false
      this.#busy++
      if (as !== undefined) this.#ask(-1)
    }
  }

  #ask(by: number): void {
    this.#asking += by
    this.#tellState()
  }

  /** What keeps the run from going on: a person's answer, a pause once all that was under way is through, or nothing. */
  #state(): RunState {
    if (this.#asking > 0) return 'waiting'
    return this.#busy === 0 ? 'paused' : 'running'
  }

  #tellState(): void {
    const state = this.#state()
    if (state === this.#row.state || this.halted || this.#over) return
    const at = iso(this.#around.clock.now())
    this.#row = { ...this.#row, state, updatedAt: at }
    const row = this.#row
    const change = (tx: Tx) => {
      tx.markRun(row)
      tx.addEvent({ run: this.root, at, type: 'run-state', data: { state } })
    }
    // A store that failed once refuses all that follows.
    this.#around.store.write(change).catch(() => {})
  }

  lookForSignals(): void {
    const fresh = this.#around.store.signals(this.root, this.#signals.at(-1)?.seq ?? 0)
    if (fresh.length === 0) return
    this.#signals = [...this.#signals, ...fresh]
    for (const waker of this.#wakers) waker()
  }

  /** Calls back at each new signal and when the run is let go of. Returns the way to stop. */
  onSignal(waker: () => void): () => void {
    this.#wakers.add(waker)
    const listened = onAbort(this.#halt.signal, waker)
    return () => {
      this.#wakers.delete(waker)
      listened()
    }
  }

  settled(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settled.push({ resolve, reject })
      this.#settleIfIdle()
    })
  }

  #settleIfIdle(): void {
    // Looked at a turn later: what parked may have been woken by what parked it.
    setImmediate(() => {
      if (this.#busy > 0) return
      this.#tellState()
      void this.#flushed().then(() => this.#wake())
    })
  }

  async #flushed(): Promise<void> {
    await this.#around.store.write(() => {}).catch(error => void (this.#failure ??= error))
  }

  #wake(): void {
    if (this.#busy > 0) return
    for (const { resolve, reject } of this.#settled.splice(0)) {
      if (this.#failure === undefined) resolve()
      else reject(this.#failure)
    }
  }

  /** Aborts every act, waits until none is alive, and frees the lock. The journal stays as it is. */
  async halt(): Promise<void> {
    this.#halt.abort(new Halted('this process lets go of the run'))
    await Promise.all(this.#acts)
    await this.#body
  }
}

/** A workflow may say itself how its run ended: `{ state: 'aborted' }`. */
/** What is told of the end of a run, with the seal of its output. */
export function endOf(tx: Tx, { id, state, error, output }: RunRow): Json {
  return { state, error, output: tx.seal(id, 'output', output) }
}

function endState(output: Json): RunState {
  const said = output !== null && typeof output === 'object' && !Array.isArray(output) ? output['state'] : undefined
  return said === 'aborted' || said === 'failed' ? said : 'succeeded'
}

function isJournalFailure(error: unknown): boolean {
  return error instanceof BackoutError && error.code === 'journal_failed'
}
