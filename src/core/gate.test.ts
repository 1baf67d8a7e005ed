import { describe, expect, it, vi } from 'vitest'
import { fastClock } from '../../test/support/rollback.ts'
import { systemClock } from './clock.ts'
import { askGate, type GateRule, measureAll, type Probe, type Sample, whyNot } from './gate.ts'

const good: Sample = { ok: true, value: 1, ms: 1, text: 'fine' }
const bad: Sample = { ok: false, value: 0, ms: 1, text: '503' }
const blind: Sample = { ok: null, value: null, ms: 1, text: 'no data' }
const { signal } = new AbortController()

/** A probe that says one thing after the other, the last one for ever. */
function probe(name: string, ...says: (Sample | Error)[]): Probe {
  let i = 0
  return {
    name,
    measure: async () => {
      const said = says[Math.min(i++, says.length - 1)]
      if (said === undefined) throw new Error('it has nothing to say')
      if (said instanceof Error) throw said
      return said
    },
  }
}

const ask = (rule: Partial<GateRule>, ...probes: Probe[]) =>
  askGate(
    { name: 'healthy', attempts: 3, intervalMs: 1000, pass: 1, timeoutMs: 1000, ...rule },
    probes,
    fastClock(),
    signal,
  )

describe('D1: a gate', () => {
  it('passes once so many passes in a row were seen, and asks no more', async () => {
    expect(await ask({}, probe('http', good))).toMatchObject({ outcome: 'pass', attempts: 1 })
    expect(await ask({ attempts: 9, pass: 3 }, probe('http', good, bad, good))).toMatchObject({
      outcome: 'pass',
      attempts: 5,
    })
  })

  it('fails where the last attempt failed, and gives up once it can no longer pass', async () => {
    expect(await ask({}, probe('http', bad))).toMatchObject({ outcome: 'fail', attempts: 3 })
    expect(await ask({ attempts: 5, pass: 3 }, probe('http', good, good, bad))).toMatchObject({
      outcome: 'fail',
      attempts: 3,
    })
  })

  it.each<[string, Partial<GateRule>, Probe[]]>([
    ['no data', {}, [probe('http', blind)]],
    ['no data of one', {}, [probe('http', good), probe('sql', blind)]],
    ['no probe', {}, []],
    ['a probe that throws', {}, [probe('http', new Error('connection refused'))]],
    ['too few passes at the end', { attempts: 4, pass: 3 }, [probe('http', bad, good, good, blind)]],
    ['more passes wanted than attempts', { attempts: 2, pass: 3 }, [probe('http', good)]],
  ])('is inconclusive, never passed, with %s', async (_, rule, probes) => {
    expect((await ask(rule, ...probes)).outcome).toBe('inconclusive')
  })

  it('says inconclusive rather than fail where nobody could say, and fail where one did', async () => {
    expect(await ask({}, probe('a', blind), probe('b', good))).toMatchObject({ outcome: 'inconclusive' })
    const failed = await ask({}, probe('a', blind), probe('b', bad), probe('c', good))
    expect(failed.outcome).toBe('fail')
    expect(whyNot(failed)).toBe('a: inconclusive, no data; b: 503')
  })

  it('does not wait for a probe that does not listen', async () => {
    const deaf: Probe = { name: 'deaf', measure: () => new Promise(() => {}) }
    const result = await ask({ attempts: 1, timeoutMs: 20 }, deaf, probe('b', good))
    expect(result.outcome).toBe('inconclusive')
    expect(result.samples).toMatchObject({ deaf: { ok: null, text: 'no answer within 20 ms' }, b: good })
  })

  it('is given up on with its run', async () => {
    const stop = new AbortController()
    const deaf: Probe = { name: 'deaf', measure: () => new Promise(() => {}) }
    const asked = measureAll([deaf], 60_000, stop.signal)
    stop.abort(new Error('let go'))
    await expect(asked).rejects.toThrow('let go')
    await expect(measureAll([deaf], 60_000, stop.signal)).rejects.toThrow('let go')
  })
})

describe('the clock', () => {
  it('sleeps longer than a timer can', async () => {
    vi.useFakeTimers()
    try {
      let awake = false
      const sleep = systemClock.sleep(60 * 86_400_000).then(() => (awake = true))
      await vi.advanceTimersByTimeAsync(59 * 86_400_000)
      expect(awake).toBe(false)
      await vi.advanceTimersByTimeAsync(2 * 86_400_000)
      await sleep
      expect(awake).toBe(true)
    } finally {
      vi.useRealTimers()
    }
  })

  it('wakes up with the reason of its signal', async () => {
    const stop = new AbortController()
    const sleep = systemClock.sleep(60_000, stop.signal)
    stop.abort(new Error('up'))
    await expect(sleep).rejects.toThrow('up')
    await expect(systemClock.sleep(1, stop.signal)).rejects.toThrow('up')
  })
})
