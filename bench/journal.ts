import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Store, Tx } from '../src/engine/store.ts'
import { freshStore, openEngine, rollBack } from './support/engine.ts'
import { inFolder, interleave, median, ratio } from './support/measure.ts'
import { ms, type Row, times } from './support/row.ts'

const ROUNDS = 15
const CALLS = 60

/** What it costs that a step is on disk before and after it is done, against a file that is appended to and synced. */
export async function bench(): Promise<Row[]> {
  return inFolder(async dir => {
    const call = await bytesOf(freshStore(dir), store => calls(store, 3))
    const step = await bytesOf(freshStore(dir), store => rollBack(store, { targets: 8, stepMs: 0, limit: 1 }))
    const perCall = call.slice(1, -1)
    // One transaction a step: what came of the one before, and the intent.
    const perStep = step.slice(-7, -1)
    const measured = await interleave(ROUNDS, {
      call: async () => (await calls(freshStore(dir), CALLS)) / CALLS,
      callBare: () => appended(dir, perCall),
      step: async () => stepMs(dir),
      stepBare: () => appended(dir, perStep),
      stepTwice: () =>
        appended(
          dir,
          perStep.map(size => size / 2),
        ) * 2,
    })
    const { call: ours, callBare, step: steps, stepBare, stepTwice } = measured
    const whole = 'a whole step: intent synced before it, its result before the next'
    const bytes = sum(perStep) / perStep.length
    return [
      rowOf('one durable call (one write, synced)', ours, callBare, sum(perCall) / perCall.length),
      // What a file must do to promise the same: the intent is on it before the effect, the result after it.
      {
        ...rowOf(whole, steps, stepTwice, bytes / 2),
        compared: `a file that syncs the intent and then the result, ${Math.round(bytes / 2)} bytes each: ${ms(median(stepTwice))}`,
      },
      { ...rowOf(`${whole}, against one sync for both`, steps, stepBare, bytes), goal: null },
    ]
  })
}

function rowOf(what: string, ours: number[], bare: number[], bytes: number): Row {
  const factor = ratio(ours, bare)
  return {
    what,
    backout: ms(median(ours)),
    compared: `bare append and fsync of the same ${Math.round(bytes)} bytes, as often: ${ms(median(bare))}`,
    ratio: times(factor),
    goal: { text: 'within 2x', met: factor <= 2 },
  }
}

/** Milliseconds a step, without what a run costs once. */
async function stepMs(dir: string): Promise<number> {
  const few = await rollBack(freshStore(dir), { targets: 1, stepMs: 0, limit: 1 })
  const many = await rollBack(freshStore(dir), { targets: CALLS + 1, stepMs: 0, limit: 1 })
  return (many - few) / CALLS
}

/** Milliseconds for so many journalled calls, one after another. */
async function calls(store: Store, count: number): Promise<number> {
  const engine = await openEngine(store)
  let took = 0
  engine.define('calls', 1, async ctx => {
    const began = performance.now()
    for (let i = 0; i < count; i++) await ctx.run(`call/${i}`, async () => ({ is: 'done', ms: i }))
    took = performance.now() - began
    return null
  })
  await engine.start('calls', 'r1', null)
  await engine.settled('r1')
  await engine.close()
  return took
}

/** Milliseconds for one write and sync, over writes of these sizes. */
function appended(dir: string, sizes: readonly number[]): number {
  const file = openSync(join(dir, 'bare'), 'a')
  const contents = sizes.map(size => Buffer.alloc(size, 'x'))
  const rounds = Math.ceil(CALLS / contents.length)
  const began = performance.now()
  for (let i = 0; i < rounds; i++) {
    for (const content of contents) {
      writeSync(file, content)
      fsyncSync(file)
    }
  }
  const took = performance.now() - began
  closeSync(file)
  return took / (rounds * contents.length)
}

/** The bytes of what a workflow hands to its journal, one number a transaction. */
async function bytesOf(store: Store, work: (store: Store) => Promise<unknown>): Promise<number[]> {
  const sizes: number[] = []
  let open = 0
  const counted: Store = {
    ...store,
    write(change) {
      if (open === 0) {
        setImmediate(() => {
          if (open > 0) sizes.push(open)
          open = 0
        })
      }
      open += sizeOf(change)
      return store.write(change)
    },
  }
  await work(counted)
  return sizes
}

function sizeOf(change: (tx: Tx) => void): number {
  let bytes = 0
  const count = (row: unknown) => void (bytes += Buffer.byteLength(JSON.stringify(row)))
  change({
    putRun: count,
    markRun: count,
    putOp: count,
    seal: () => '0'.repeat(64),
    addSignal: row => (count(row), true),
    addEvent: event => (count(event), { ...event, seq: 0, mac: '0'.repeat(64) }),
  })
  return bytes
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}
