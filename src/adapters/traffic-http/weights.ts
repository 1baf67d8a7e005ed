import type { Place } from './config.ts'

export type Weights = Readonly<Record<string, number>>

/** Points of a percent by which a share may miss: switches round. */
const TOLERANCE = 0.5

/** Each side's part in percent, with two decimals; all zero where nothing is served. */
export function shares(weights: Weights): Record<string, number> {
  const sum = Object.values(weights).reduce((a, b) => a + b, 0)
  const entries = Object.entries(weights).map(([side, w]) => [side, sum === 0 ? 0 : Math.round((w / sum) * 1e4) / 100])
  return Object.fromEntries(entries) as Record<string, number>
}

/** Equal but for rounding. A side that is to get nothing gets exactly nothing. */
export function sameShares(a: Weights, b: Weights): boolean {
  const [one, two] = [shares(a), shares(b)]
  return [...new Set([...Object.keys(one), ...Object.keys(two)])].every(side => {
    const [x, y] = [one[side] ?? 0, two[side] ?? 0]
    return (x === 0) === (y === 0) && Math.abs(x - y) <= TOLERANCE
  })
}

/** True where users are where they should be. */
export function reached(now: Place, goal: Place): boolean {
  if (goal.maintenance !== null && now.maintenance !== goal.maintenance) return false
  return goal.weights === null || (now.weights !== null && sameShares(now.weights, goal.weights))
}

/** `percent` of the way from one distribution to another, adding up to `total`. */
export function between(from: Weights, to: Weights, percent: number, total: number): Record<string, number> {
  const [a, b] = [shares(from), shares(to)]
  const sides = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
  const exact = sides.map(side => (((b[side] ?? 0) * percent + (a[side] ?? 0) * (100 - percent)) / 1e4) * total)
  const values = total > 1 ? whole(exact, total) : exact.map(v => Math.round(v * 1e4) / 1e4)
  return Object.fromEntries(sides.map((side, i) => [side, values[i] ?? 0]))
}

/** Rounds to whole numbers that keep the sum: the largest remainders are rounded up. */
function whole(exact: readonly number[], total: number): number[] {
  const floor = exact.map(v => Math.floor(v + 1e-9))
  const left = Math.round(total) - floor.reduce((a, b) => a + b, 0)
  const byRest = exact.map((v, i) => ({ i, rest: v - (floor[i] ?? 0) })).sort((a, b) => b.rest - a.rest || a.i - b.i)
  for (const { i } of byRest.slice(0, left)) floor[i] = (floor[i] ?? 0) + 1
  return floor
}

/** For people: "live 25 %, maintenance 75 %". */
export function described({ weights, maintenance }: Place): string {
  const parts = Object.entries(shares(weights ?? {}))
    .filter(([, share]) => share > 0)
    .map(([side, share]) => `${side} ${share} %`)
  if (maintenance !== null) parts.unshift(`maintenance mode ${maintenance ? 'on' : 'off'}`)
  return parts.length === 0 ? 'no side gets traffic' : parts.join(', ')
}
