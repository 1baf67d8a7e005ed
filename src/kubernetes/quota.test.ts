import { expect, it } from 'vitest'
import { quantity } from './quota.ts'

it.each([
  ['500m', 0.5],
  ['2e3', 2000],
  ['1Gi', 1_073_741_824],
  ['1E', 1e18],
  ['1Ei', 2 ** 60],
])('reads %s as a number', (text, number) => {
  expect(quantity(text)).toBe(number)
})
