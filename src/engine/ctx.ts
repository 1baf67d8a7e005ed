import { iso, systemClock } from '../core/clock.ts'
import type { Act, Ctx, MapItem, MapOptions, Outcome, RunOptions, TellOptions } from '../core/engine.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import { type Json, toJson } from '../core/json.ts'
import { spare } from '../core/secret.ts'
import type { ActiveRun, Child } from './active.ts'
import { Halted } from './halted.ts'
import { mapChildren } from './map.ts'
import { packError, scrub, unpackError } from './pack.ts'
import type { OpRow, SignalRow, Tx } from './store.ts'

/** The calls of one workflow: answered from the journal where it has them, executed and journalled otherwise. */
export class WorkflowCtx implements Ctx {
  readonly runId: string
  readonly #active: ActiveRun
  /** Highest signal seen, by name. */
  readonly #seen: Map<string, number>
  #inFlight: string | null = null

  /** @param seen What the parent had seen when it began the children. */
  constructor(runId: string, active: ActiveRun, seen: ReadonlyMap<string, number>) {
    this.runId = runId
    this.#active = active
    this.#seen = new Map(seen)
  }

  async run<T extends Json>(key: string, fn: (act: Act) => Promise<T>, options: RunOptions = {}): Promise<T> {
    return this.#alone(key, async () => {
      const known = this.#active.op(this.runId, key)
      if (known?.done) return replay(known) as T
      if (options.pure !== true) await this.#active.store.durable()
      const op: OpRow = known ?? this.#op(key)
      let noted = options.handle === undefined ? op : this.#handle(options.handle)
      const limit = options.ms === undefined ? null : { ms: options.ms, over: new AbortController() }
      const halt = this.#active.haltSignal
      const signal = limit === null ? halt : AbortSignal.any([limit.over.signal, halt])
      const act: Act = {
        signal,
        get handle() {
          return noted.handle
        },
        get notedBy() {
          return noted.handle === null ? null : (noted.value as string | null)
        },
        cancelled: () => this.#newest(['$cancel']) !== null,
        handleOf: name => this.#handle(name).handle,
        guard: () => {
          this.#active.guard()
          signal.throwIfAborted()
        },
        note: async handle => {
          noted = { ...noted, handle: toJson(handle), value: key }
          this.#active.keepOp(noted)
          await this.#write(noted)
        },
        progress: data => this.#active.progress(data),
        tell: (type, data) => this.#active.store.write(tx => void tx.addEvent({ ...this.#event(type, data) })),
      }
      const outcome = await this.#execute(fn, act, limit, options.asIs)
      if (this.#active.halted) throw new Halted('this process lets go of the run')
      const done: OpRow = { ...op, done: true, ...outcome }
      this.#active.keepOp(done)
      this.#soon(tx => tx.putOp(done))
      return replay(done) as T
    })
  }

  async #execute(fn: (act: Act) => Promise<Json>, act: Act, limit: Limit | null, asIs = false) {
    try {
      this.#active.guard()
      const running = this.#active.track(fn(act))
      const value = limit === null ? await running : await within(running, limit)
      return { value: asIs ? toJson(value) : scrub(value), error: null }
    } catch (error) {
      if (error instanceof BackoutError && error.code === 'journal_failed') throw error
      return { value: null, error: packError(error) }
    }
  }

  async wait(key: string, names: readonly string[], ms: number, as?: 'waiting') {
    return this.#alone(key, async () => {
      const known = this.#active.op(this.runId, key)
      if (known?.done) return this.#saw(names, known.value as unknown as Seen | null)
      const deadline = this.#deadline(key, known, ms)
      const found = this.#newest(names) ?? (ms === 0 ? null : await this.#await(names, deadline, as))
      const value = found === null ? null : { name: found.name, value: found.value, seq: found.seq }
      const op: OpRow = { ...this.#op(key), done: true, value }
      this.#active.keepOp(op)
      // A look that found nothing decides nothing that could not be decided again: no need to wait for the disk.
      const written = this.#write(op)
      if (ms !== 0 || value !== null) await written
      return this.#saw(names, value)
    })
  }

  /** What is left of the wait, in milliseconds. A clock that was set back cannot make it longer than it was. */
  #deadline(key: string, known: OpRow | undefined, ms: number): number {
    if (ms === 0 || ms === Infinity) return ms
    const now = this.#active.clock.now()
    const until = known === undefined ? now + ms : Number(known.value)
    if (known === undefined) this.#soon(tx => tx.putOp({ ...this.#op(key), value: until }))
    return Math.max(0, Math.min(ms, until - now))
  }

  /** The newest that was not seen; an abort before all else, for nothing that is said after it takes it back. */
  #newest(names: readonly string[]): SignalRow | null {
    const fresh = this.#active.signals.filter(s => names.includes(s.name) && s.seq > (this.#seen.get(s.name) ?? 0))
    return fresh.find(s => s.name === '$cancel') ?? fresh.at(-1) ?? null
  }

  #saw(names: readonly string[], value: Seen | null): { name: string; value: Json } | null {
    if (value === null) return null
    for (const name of names) this.#seen.set(name, Math.max(value.seq, this.#seen.get(name) ?? 0))
    return { name: value.name, value: value.value }
  }

  #await(names: readonly string[], ms: number, as?: 'waiting'): Promise<SignalRow | null> {
    const { promise, resolve, reject } = Promise.withResolvers<SignalRow | null>()
    const timer = new AbortController()
    // Taken out of the park in the same turn in which the answer comes, so that nobody sees an idle run in between.
    const unpark = ms === Infinity ? this.#active.park(as) : () => {}
    const stop = this.#active.onSignal(() => {
      if (this.#active.halted) return reject(new Halted('this process lets go of the run'))
      const found = this.#newest(names)
      if (found === null) return
      unpark()
      resolve(found)
    })
    if (ms !== Infinity) {
      this.#active.clock.sleep(ms, timer.signal).then(
        () => resolve(null),
        () => {},
      )
    }
    return promise.finally(() => {
      unpark()
      stop()
      timer.abort()
    })
  }

  async map(key: string, workflow: string, items: readonly MapItem[], options: MapOptions) {
    return this.#alone(key, async () => {
      const known = this.#active.op(this.runId, key)
      if (known?.done) return known.value as unknown as Record<string, Outcome>
      const idOf = (item: MapItem) => `${this.runId}/${key}/${item.id}`
      const outcomes = await mapChildren(this.#active, items, options, {
        start: item => this.#child(idOf(item), workflow, item.input),
        started: item => this.#active.startedBefore(idOf(item)),
      })
      if (this.#active.halted) throw new Halted('this process lets go of the run')
      const op: OpRow = { ...this.#op(key), done: true, value: toJson(outcomes) }
      this.#active.keepOp(op)
      this.#soon(tx => tx.putOp(op))
      return outcomes
    })
  }

  async #child(id: string, workflow: string, input: Json): Promise<Outcome> {
    // Only its end is kept: until then it is begun again by its parent, which makes up the same input again.
    const known = this.#active.op(id, ENDED)
    if (known !== undefined) return known.value as unknown as Outcome
    const outcome = await this.#childBody({ id, workflow, input })
    const op: OpRow = { ...this.#op(ENDED), run: id, done: true, value: toJson(outcome) }
    this.#active.keepOp(op)
    this.#soon(tx => tx.putOp(op))
    return outcome
  }

  async #childBody(row: Child): Promise<Outcome> {
    try {
      return { ok: true, value: scrub(await this.#active.child(row, this.#seen)) }
    } catch (error) {
      if (this.#active.halted || (error instanceof BackoutError && error.code === 'journal_failed')) throw error
      return { ok: false, error: messageOf(error) }
    }
  }

  tell(key: string, type: string, data: Json, { asIs }: TellOptions = {}): void {
    if (this.#active.op(this.runId, key)?.done || this.#active.halted) return
    const fields = data as Record<string, Json>
    // A question is answered by the name of the call that asks it.
    const token = data === null ? null : fields['token']
    if (typeof token === 'string' && key.startsWith(token)) spare([token])
    const op: OpRow = { ...this.#op(key), done: true }
    this.#active.keepOp(op)
    const told = this.#event(type, data)
    const kept = asIs === undefined ? {} : { [asIs]: fields[asIs] ?? null }
    const event = asIs === undefined ? told : { ...told, data: { ...(told.data as object), ...kept } }
    this.#soon(tx => void tx.addEvent(event, op))
  }

  #event(type: string, data: Json) {
    return { run: this.#active.root, at: iso(this.#active.clock.now()), type, data: scrub(data) }
  }

  #op(key: string): OpRow {
    return { run: this.runId, root: this.#active.root, key, done: false, value: null, error: null, handle: null }
  }

  /** The handle of that name, shared by all calls of the root run and its children. */
  #handle(name: string): OpRow {
    const key = `handle:${name}`
    return this.#active.op(this.#active.root, key) ?? { ...this.#op(key), run: this.#active.root }
  }

  #write(op: OpRow): Promise<void> {
    return this.#active.store.write(tx => tx.putOp(op))
  }

  /** Goes to disk with what comes next, before anything else is touched. A store that failed once refuses all that follows. */
  #soon(change: (tx: Tx) => void): void {
    this.#active.store.write(change).catch(() => {})
  }

  /** A workflow that has two calls in flight would not replay alike. */
  async #alone<T>(key: string, call: () => Promise<T>): Promise<T> {
    if (this.#active.halted) throw new Halted('this process lets go of the run')
    if (this.#inFlight !== null) throw new Error(`${this.runId}: ${key} while ${this.#inFlight} is in flight`)
    this.#inFlight = key
    try {
      return await call()
    } finally {
      this.#inFlight = null
    }
  }
}

/** The call under which a child run keeps how it ended. */
const ENDED = 'ended'

interface Seen {
  readonly name: string
  readonly value: Json
  readonly seq: number
}

function replay(op: OpRow): Json {
  if (op.error !== null) throw unpackError(op.error)
  return op.value
}

interface Limit {
  /** Milliseconds. */
  readonly ms: number
  readonly over: AbortController
}

async function within<T>(running: Promise<T>, { ms, over }: Limit): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const untimed = systemClock.after(ms, () => {
    const late = new BackoutError({ code: 'timed_out', what: `It did not end within ${ms} ms`, exit: 'failed' })
    over.abort(late)
    reject(late)
  })
  try {
    return await Promise.race([running, promise])
  } finally {
    untimed()
  }
}
