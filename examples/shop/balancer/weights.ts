import { readIfThere, writeJson } from '../lib/files.ts'

export const SIDES = ['live', 'maintenance'] as const
export type Side = (typeof SIDES)[number]
export type Shares = Readonly<Record<Side, number>>

export interface Weights {
  /** Goes up by one with every change; the ETag of the admin interface. */
  readonly version: number
  readonly shares: Shares
  /** The side of the next request: smooth, so that 25 to 75 is every fourth and not a matter of luck. */
  next(): Side
  /** Kept on disk once it returns. */
  set(shares: Shares): void
}

/** Takes up the weights that an earlier process left, or sends everyone to the live side. */
export function openWeights(stateFile: string): Weights {
  const kept = readIfThere(stateFile)
  let state: { version: number; shares: Shares } =
    kept === null
      ? { version: 1, shares: { live: 100, maintenance: 0 } }
      : (JSON.parse(kept) as { version: number; shares: Shares })
  let credit = { live: 0, maintenance: 0 }
  return {
    get version() {
      return state.version
    },
    get shares() {
      return state.shares
    },
    next() {
      const { live, maintenance } = state.shares
      credit = { live: credit.live + live, maintenance: credit.maintenance + maintenance }
      const side: Side = credit.live >= credit.maintenance && live > 0 ? 'live' : 'maintenance'
      credit[side] -= live + maintenance
      return side
    },
    set(shares) {
      const next = { version: state.version + 1, shares }
      writeJson(stateFile, next)
      state = next
      credit = { live: 0, maintenance: 0 }
    },
  }
}

/** Why this is no set of shares; null where it is one. */
export function wrongWith(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return 'expected {"live": N, "maintenance": N}'
  const given = value as Record<string, unknown>
  const stranger = Object.keys(given).find(key => !SIDES.includes(key as Side))
  if (stranger !== undefined) return `there is no side "${stranger}"`
  for (const side of SIDES) {
    const share = given[side]
    if (typeof share !== 'number' || !Number.isInteger(share) || share < 0 || share > 1000)
      return `${side} must be a whole number from 0 to 1000`
  }
  return SIDES.every(side => given[side] === 0) ? 'one of the sides must get something' : null
}
