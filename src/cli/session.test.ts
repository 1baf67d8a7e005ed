import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore } from '../engine/memory/store.ts'
import { Runtime } from '../engine/runtime.ts'
import { findOpenRun, findRun } from './session.ts'

const environment = { config: { environment: 'toy' } }
const [FIRST, SECOND, THIRD] = ['r20260301-100000-1a2b', 'r20260302-100000-9c2b', 'r20260303-100000-77aa'] as const
let engine: Runtime

describe('a run, as a person names it', () => {
  beforeEach(async () => {
    engine = new Runtime(memoryStore(), { pollMs: 5 })
    engine.define('ends', 1, async () => null)
    engine.define('waits', 1, async ctx => (await ctx.wait('go', ['go'], Infinity, 'waiting'))?.value ?? null)
    await engine.open({ worker: true })
    for (const id of [FIRST, SECOND, THIRD]) {
      await engine.start('ends', id, null, { exclusive: 'toy' })
      await engine.settled(id)
    }
  })
  afterEach(() => engine.close())

  it('is the newest without a name, and else the one whose id it is or ends with', async () => {
    expect((await findRun(engine, environment, undefined)).id).toBe(THIRD)
    expect((await findRun(engine, environment, FIRST)).id).toBe(FIRST)
    expect((await findRun(engine, environment, '1a2b')).id).toBe(FIRST)
    expect((await findRun(engine, environment, '9c2b')).id).toBe(SECOND)
  })

  it.each([
    ['', 'run_unnamed'],
    [' ', 'run_unnamed'],
    ['a', 'run_part_short'],
    ['c2b', 'run_part_short'],
    ['0000-1a2c', 'run_unknown'],
  ])('is not guessed from %j', async (id, code) => {
    await expect(findRun(engine, environment, id)).rejects.toMatchObject({ code, exit: 'usage' })
  })

  it('is refused where a part of an id fits several', async () => {
    for (const id of ['x1-5e5e', 'x2-5e5e']) {
      await engine.start('ends', id, null, { exclusive: 'toy' })
      await engine.settled(id)
    }
    const error = await findRun(engine, environment, '5e5e').catch((e: unknown) => e)
    expect(error).toMatchObject({
      code: 'run_ambiguous',
      exit: 'usage',
      why: expect.stringContaining('x1-5e5e, x2-5e5e'),
    })
  })

  it('is the one that has not ended where one is asked for, whatever came after it', async () => {
    await engine.start('waits', 'open', null, { exclusive: 'toy' })
    await engine.settled('open')
    const [open, ended] = [await engine.get('open'), await engine.get(THIRD)]
    const late = { list: async () => [open, ended].flatMap(run => run ?? []) }
    expect((await findOpenRun(late, environment, undefined)).id).toBe('open')
    await expect(findOpenRun(late, environment, THIRD)).rejects.toMatchObject({ code: 'run_ended' })
  })
})
