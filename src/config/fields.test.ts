import { describe, expect, it } from 'vitest'
import { duration, parseDuration, period } from './fields.ts'

describe('a duration', () => {
  it('is 24 days at most where a timer counts it, and as long as one likes where none does', () => {
    expect(duration().safeParse('24d').data).toBe(24 * 86_400_000)
    expect(duration().safeParse('25d').success).toBe(false)
    expect(period().safeParse('365d').data).toBe(365 * 86_400_000)
  })

  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1d', 86_400_000],
    ['1.5s', 1_500],
    ['0s', 0],
  ])('%s is %i ms', (said, ms) => {
    expect(parseDuration(said)).toBe(ms)
  })

  it.each(['', '5', 's', '-5s', '5 s', '5sec', '1e3s', '.5s', '5s!', 'PT5S', '٥s'])('is not "%s"', said => {
    expect(parseDuration(said)).toBeNull()
  })
})
