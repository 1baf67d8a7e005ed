import { randomBytes } from 'node:crypto'
import type { Event } from '../../core/engine.ts'
import { BackoutError } from '../../core/errors.ts'
import { chainKey, EMPTY, macOf } from '../chain.ts'
import { alteredIn, sealOf } from '../seals.ts'
import { type OpRow, type RunRow, type SignalRow, type Store, type Tx, told } from '../store.ts'

/** A store that dies with the process: for tests, and the model of what a store must do. */
export function memoryStore(key: Uint8Array = randomBytes(32)): Store {
  const secret = chainKey(key)
  const runs = new Map<string, RunRow>()
  const ops = new Map<string, OpRow>()
  const signals: SignalRow[] = []
  const events: Event[] = []
  const locks = new Set<string>()
  const head = () => {
    const last = events.at(-1)
    return last === undefined ? EMPTY : { length: last.seq, mac: last.mac }
  }
  const tx: Tx = {
    putRun: row => void runs.set(row.id, row),
    markRun: row => void runs.set(row.id, row),
    putOp: row => void ops.set(`${row.run}\n${row.key}`, row),
    addSignal(row) {
      if (signals.some(s => s.root === row.root && s.idem === row.idem)) return false
      signals.push({ ...row, seq: signals.length + 1 })
      return true
    },
    seal: (run, what, value) => sealOf(secret, run, what, value),
    addEvent(event, call) {
      const before = head()
      const numbered = { seq: before.length + 1, ...event }
      const full = { ...numbered, mac: macOf(secret, before.mac, numbered) }
      events.push(full)
      if (call !== undefined) tx.putOp(told(event.run, call.run, call.key))
      return full
    },
  }
  return {
    write: async change => change(tx),
    durable: async () => {},
    check: () => {},
    run: id => runs.get(id) ?? null,
    runs: filter =>
      [...runs.values()].filter(
        r =>
          r.id === r.root &&
          (filter.state ?? r.state) === r.state &&
          (filter.exclusive === undefined || filter.exclusive === r.exclusive),
      ),
    load: root => [...ops.values()].filter(o => o.root === root),
    signals: (root, after) => signals.filter(s => s.root === root && s.seq > after),
    events: ({ run, after, limit, type }) =>
      events
        .filter(e => e.seq > after && (run === null || e.run === run) && (type === undefined || e.type === type))
        .slice(0, limit),
    head,
    altered: (run, own) => alteredIn(secret, run, own),
    version: () => 0,
    lock(name) {
      if (locks.has(name)) {
        throw new BackoutError({ code: 'environment_busy', what: `Another run owns ${name}`, exit: 'busy' })
      }
      locks.add(name)
      return { check: () => {}, release: () => void locks.delete(name) }
    },
    close: async () => {},
  }
}
