import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Act, Ctx, Event, MapItem } from '../../src/core/engine.ts'
import { BackoutError } from '../../src/core/errors.ts'
import type { Json } from '../../src/core/json.ts'
import { remember } from '../../src/core/secret.ts'
import { firstBreak } from '../../src/engine/chain.ts'
import { memoryStore } from '../../src/engine/memory/store.ts'
import { Runtime } from '../../src/engine/runtime.ts'
import { sqliteStore } from '../../src/engine/sqlite/store.ts'
import type { Store } from '../../src/engine/store.ts'

const key = Buffer.alloc(32, 7)
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/** Each gives stores that share what they keep, as processes that follow one another would. */
const kinds: Record<string, () => () => Store> = {
  memory: () => {
    const store = memoryStore(key)
    return () => ({ ...store, close: async () => {} })
  },
  sqlite: () => {
    const home = mkdtempSync(join(tmpdir(), 'backout-engine-'))
    cleanups.push(() => rm(home, { recursive: true }))
    return () => sqliteStore({ home, key })
  },
}

async function engineOn(store: Store, pollMs = 5): Promise<Runtime> {
  const engine = new Runtime(store, { pollMs })
  await engine.open({ worker: true })
  cleanups.push(() => engine.close())
  return engine
}

async function all(events: AsyncIterable<Event>): Promise<Event[]> {
  const out: Event[] = []
  for await (const event of events) out.push(event)
  return out
}

describe.each(Object.keys(kinds))('C16: the engine on the %s store', kind => {
  it('journals a call once, and answers from the journal in the next process', async () => {
    const open = kinds[kind]?.() ?? (() => memoryStore())
    const calls: string[] = []
    for (const process of ['first', 'second']) {
      const engine = await engineOn(open())
      engine.define('w', 1, async ctx => {
        const a = await ctx.run('a', async () => {
          calls.push(process)
          return 'from a'
        })
        const said = await ctx.wait('go', ['go'], Infinity, 'waiting')
        return { a, said: said?.value ?? null }
      })
      await engine.start('w', 'r1', null, { exclusive: 'env' })
      if (process === 'first') {
        expect((await engine.settled('r1')).state).toBe('waiting')
        await engine.close()
      } else {
        await engine.signal('r1', 'go', 42, 'once')
        expect(await engine.settled('r1')).toMatchObject({ state: 'succeeded', output: { a: 'from a', said: 42 } })
      }
    }
    expect(calls).toEqual(['first'])
  })

  it('tells who follows a run of this process of its end at once, however seldom the journal is looked at', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))(), 600_000)
    const go = Promise.withResolvers<string>()
    engine.define('w', 1, async ctx => ctx.run('a', () => go.promise))
    await engine.start('w', 'r1', null, { exclusive: 'env' })
    const seen: string[] = []
    const following = (async () => {
      for await (const { type } of engine.events('r1', { follow: true })) seen.push(type)
    })()
    await expect.poll(() => seen).toEqual(['run-started'])
    go.resolve('from a')
    await following
    expect(seen).toEqual(['run-started', 'run-ended'])
    // Another one, that never ends: who follows it is let go of with the engine.
    engine.define('w', 1, async ctx => ctx.wait('go', ['go'], Infinity, 'waiting'))
    await engine.start('w', 'r2', null, { exclusive: 'env' })
    const left = all(engine.events('r2', { follow: true }))
    await engine.settled('r2')
    await engine.close()
    expect((await left).map(e => e.type)).toContain('run-started')
  })

  it('gives a journalled error again, and does not run the call again', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    let calls = 0
    engine.define('w', 1, async ctx => {
      const caught: string[] = []
      for (let i = 0; i < 2; i++) {
        try {
          await ctx.run('a', async () => {
            calls++
            throw new BackoutError({ code: 'nope', what: 'It does not', cause: 'because', next: 'try' })
          })
        } catch (error) {
          caught.push((error as BackoutError).format())
        }
      }
      return caught
    })
    await engine.start('w', 'r1', null)
    const { output } = await engine.settled('r1')
    expect(calls).toBe(1)
    const text = 'error [nope]: It does not\ncause: because\nnext:  try'
    expect(output).toEqual([text, text])
  })

  it('takes a signal once by its idem, and hands each to a wait once', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    engine.define('w', 1, async ctx => {
      const first = await ctx.wait('1', ['s'], Infinity)
      const look = await ctx.wait('2', ['s'], 0)
      const timed = await ctx.wait('3', ['s'], 20)
      return [first?.value ?? null, look, timed]
    })
    await engine.start('w', 'r1', null)
    await engine.signal('r1', 's', 'one', 'idem')
    await engine.signal('r1', 's', 'again', 'idem')
    expect((await engine.settled('r1')).output).toEqual(['one', null, null])
  })

  it('runs children in order of `after`, not more than `concurrency` at once, and stops at failures', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    const log: string[] = []
    let at = 0
    let most = 0
    engine.define('child', 1, async (ctx, input) => {
      const id = input as string
      return ctx.run('do', async () => {
        most = Math.max(most, ++at)
        await new Promise(resolve => setTimeout(resolve, 10))
        at--
        log.push(id)
        if (id === 'bad') throw new Error('bad luck')
        return id
      })
    })
    engine.define('w', 1, async ctx => {
      const items: MapItem[] = [
        { id: 'c', after: ['a', 'b'], input: 'c' },
        { id: 'a', input: 'a' },
        { id: 'b', input: 'b' },
        { id: 'bad', after: ['c'], input: 'bad' },
        { id: 'never', after: ['bad'], input: 'never' },
      ]
      return await ctx.map('m', 'child', items, { concurrency: 2 })
    })
    await engine.start('w', 'r1', null)
    expect((await engine.settled('r1')).output).toEqual({
      a: { ok: true, value: 'a' },
      b: { ok: true, value: 'b' },
      c: { ok: true, value: 'c' },
      bad: { ok: false, error: 'bad luck' },
      never: { ok: null },
    })
    expect(log.slice(0, 2).sort()).toEqual(['a', 'b'])
    expect(log.slice(2)).toEqual(['c', 'bad'])
    expect(most).toBe(2)
  })

  it('starts no further child while paused, and none after a cancel', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    const log: number[] = []
    engine.define('child', 1, async (ctx, input) =>
      ctx.run('do', async () => {
        log.push(Number(input))
        if (input === 1) await engine.signal('r1', '$pause', null, 'p')
        if (input === 2) await engine.signal('r1', '$cancel', null, 'c')
        return null
      }),
    )
    engine.define('w', 1, async ctx => {
      const items = [1, 2, 3].map(n => ({ id: String(n), input: n }))
      return await ctx.map('m', 'child', items, { concurrency: 1 })
    })
    await engine.start('w', 'r1', null)
    await engine.settled('r1')
    expect(log).toEqual([1])
    await engine.signal('r1', '$resume', null, 'r')
    expect((await engine.settled('r1')).output).toMatchObject({ 3: { ok: null } })
    expect(log).toEqual([1, 2])
  })

  it('refuses a second owner of an environment, and lets the next in when the first has ended', async () => {
    const open = kinds[kind]?.() ?? (() => memoryStore())
    const [one, two] = [await engineOn(open()), await engineOn(open())]
    for (const engine of [one, two]) engine.define('w', 1, async ctx => (await ctx.wait('x', ['x'], Infinity)) && null)
    await one.start('w', 'r1', null, { exclusive: 'env' })
    await expect(two.start('w', 'r2', null, { exclusive: 'env' })).rejects.toMatchObject({ code: 'environment_busy' })
    await one.signal('r1', 'x', null, 'x')
    await one.settled('r1')
    await two.start('w', 'r2', null, { exclusive: 'env' })
    expect((await two.get('r2'))?.state).toBe('running')
  })

  it('C1: begins no second run while one has not ended, though nobody is at work on it', async () => {
    const open = kinds[kind]?.() ?? (() => memoryStore())
    const waiting = async (engine: Runtime) =>
      engine.define('w', 1, async ctx => (await ctx.wait('x', ['x'], Infinity, 'waiting')) && null)
    const one = await engineOn(open())
    await waiting(one)
    await one.start('w', 'r1', null, { exclusive: 'env' })
    await one.settled('r1')
    await one.close()
    const two = await engineOn(open())
    await waiting(two)
    const busy = { code: 'run_open', exit: 'busy', message: expect.stringContaining('r1') as string }
    await expect(two.start('w', 'r2', null, { exclusive: 'env' })).rejects.toMatchObject(busy)
    await expect(two.start('w', 'r2', null, { exclusive: 'env', over: ['r1'] })).rejects.toMatchObject(busy)
    expect(await two.get('r2')).toBeNull()
    await two.start('w', 'other', null, { exclusive: 'another environment' })
    await two.start('w', 'r1', null)
    await two.signal('r1', 'x', null, 'x')
    expect((await two.settled('r1')).state).toBe('succeeded')
    await two.start('w', 'r2', null, { exclusive: 'env' })
  })

  it('C1: begins one in place of another that was interrupted, where that is named', async () => {
    const open = kinds[kind]?.() ?? (() => memoryStore())
    const slow = (engine: Runtime) => engine.define('w', 1, async ctx => (await ctx.wait('x', ['x'], 60_000)) && null)
    const one = await engineOn(open())
    slow(one)
    await one.start('w', 'r1', null, { exclusive: 'env' })
    await one.close()
    const two = await engineOn(open())
    slow(two)
    await two.start('w', 'r2', null, { exclusive: 'env', over: ['r1'] })
    expect(await two.get('r1')).toMatchObject({ state: 'aborted', error: 'run r2 took its place' })
    expect((await all(two.events('r1'))).at(-1)).toMatchObject({ type: 'run-ended', data: { state: 'aborted' } })
  })

  it('gives its children the signals that their parent has not seen', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    engine.define('child', 1, async ctx => (await ctx.wait('look', ['s'], 0))?.value ?? null)
    engine.define('w', 1, async ctx => {
      const seen = await ctx.wait('own', ['s'], Infinity)
      const before = await ctx.map('1', 'child', [{ id: 'a', input: null }], { concurrency: 1 })
      await ctx.wait('more', ['more'], Infinity)
      return [seen?.value ?? null, before, await ctx.map('2', 'child', [{ id: 'b', input: null }], { concurrency: 1 })]
    })
    await engine.start('w', 'r1', null)
    await engine.signal('r1', 's', 'one', '1')
    await engine.settled('r1')
    await engine.signal('r1', 's', 'two', '2')
    await engine.signal('r1', 'more', null, '3')
    const { output } = await engine.settled('r1')
    expect(output).toEqual(['one', { a: { ok: true, value: null } }, { b: { ok: true, value: 'two' } }])
  })

  it('lets go of a run whose journal failed only when nothing of it is alive', async () => {
    const store = (kinds[kind]?.() ?? (() => memoryStore()))()
    let full = false
    let alive = 0
    const atRelease: number[] = []
    const check = () => {
      if (full) throw new BackoutError({ code: 'journal_failed', what: 'The disk is full', exit: 'failed' })
    }
    const failing: Store = {
      ...store,
      write(change) {
        const written = Promise.resolve()
          .then(check)
          .then(() => store.write(change))
        written.catch(() => {})
        return written
      },
      durable: () =>
        Promise.resolve()
          .then(check)
          .then(() => store.durable()),
      check,
      lock: (name, owner) => {
        const lock = store.lock(name, owner)
        return { ...lock, release: () => (atRelease.push(alive), lock.release()) }
      },
    }
    const engine = await engineOn(failing)
    engine.define('child', 1, async (ctx, input) =>
      ctx.run('do', async () => {
        alive++
        await new Promise(resolve => setTimeout(resolve, input === 'quick' ? 20 : 200))
        full = true
        alive--
        return null
      }),
    )
    engine.define('w', 1, async ctx => {
      const items = ['quick', 'slow'].map(id => ({ id, input: id }))
      return await ctx.map('m', 'child', items, { concurrency: 2 })
    })
    await engine.start('w', 'r1', null, { exclusive: 'env' })
    await expect(engine.settled('r1')).rejects.toMatchObject({ code: 'journal_failed' })
    expect(atRelease).toEqual([0])
  })

  it('E7: chains its events, so that any change shows', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    engine.define('w', 1, async ctx => {
      ctx.tell('1', 'said', { n: 1 })
      await ctx.run('a', async () => null)
      ctx.tell('2', 'said', { n: 2 })
      return null
    })
    await engine.start('w', 'r1', null)
    await engine.settled('r1')
    const events = await all(engine.events('*'))
    expect(events.map(e => e.type)).toEqual(['run-started', 'said', 'said', 'run-ended'])
    expect(firstBreak(key, events)).toBeNull()
    const edited = events.map(e => (e.seq === 2 ? { ...e, data: { n: 9 } } : e))
    expect(firstBreak(key, edited)?.seq).toBe(2)
    expect(
      firstBreak(
        key,
        events.filter(e => e.seq !== 3),
      )?.seq,
    ).toBe(3)
    const [a, b, c, d] = events
    if (!a || !b || !c || !d) throw new Error('four events')
    expect(firstBreak(key, [a, { ...c, seq: 2 }, { ...b, seq: 3 }, d])?.seq).toBe(2)
    expect(firstBreak(Buffer.alloc(32, 8), events)?.seq).toBe(1)
  })

  it('keeps known secrets out of the journal', async () => {
    const engine = await engineOn((kinds[kind]?.() ?? (() => memoryStore()))())
    remember('hunter2-the-secret')
    engine.define('w', 1, async ctx => {
      ctx.tell('1', 'said', { text: 'pw hunter2-the-secret' })
      return ctx.run('a', async () => ({ got: 'hunter2-the-secret' }))
    })
    await engine.start('w', 'r1', { in: 1 })
    expect((await engine.settled('r1')).output).toEqual({ got: '[secret]' })
    expect(JSON.stringify(await all(engine.events('*')))).not.toContain('hunter2')
  })

  it('keeps what calls are told by, and what is read back, though a secret is part of it', async () => {
    const open = kinds[kind]?.() ?? (() => memoryStore())
    remember('shopdb')
    const seen: (Json | null)[] = []
    const body = async (ctx: Ctx) => {
      ctx.tell(
        '0/shopdb/asked',
        'asked',
        { token: '0/shopdb', why: 'shopdb?', next: { to: 'shopdb' } },
        { asIs: 'next' },
      )
      await ctx.run('plan', async () => ({ to: 'shopdb' }), { asIs: true })
      const noted = async (act: Act) => {
        seen.push(act.handle)
        if (act.handle === null) await act.note({ database: 'shopdb_1' })
        return null
      }
      await ctx.run('go', noted, { handle: 'go' })
      await ctx.wait('x', ['x'], Infinity)
      await ctx.run('again', noted, { handle: 'go' })
      return ctx.run('plan', async () => null)
    }
    const one = await engineOn(open())
    one.define('w', 1, body)
    await one.start('w', 'r-shopdb', null)
    await one.settled('r-shopdb')
    await one.close()
    const two = await engineOn(open())
    two.define('w', 1, body)
    await two.signal('r-shopdb', 'x', null, 'x')
    await two.start('w', 'r-shopdb', null)
    await two.settled('r-shopdb')
    expect(seen).toEqual([null, { database: 'shopdb_1' }])
    const [asked] = (await all(two.events('r-shopdb'))).filter(e => e.type === 'asked')
    expect(asked?.data).toEqual({ token: '0/shopdb', why: '[secret]?', next: { to: 'shopdb' } })
  })

  it('does not resume a run of another version', async () => {
    const open = kinds[kind]?.() ?? (() => memoryStore())
    const [one, two] = [await engineOn(open()), await engineOn(open())]
    one.define('w', 1, async ctx => (await ctx.wait('x', ['x'], Infinity)) && null)
    two.define('w', 2, async () => null)
    await one.start('w', 'r1', null)
    await one.settled('r1')
    await one.close()
    await expect(two.start('w', 'r1', null)).rejects.toMatchObject({ code: 'run_of_other_version' })
  })
})
