import { z } from 'zod'
import type { Finding, Observation } from '../../core/contract.ts'
import type { Fleet } from './fleet.ts'

/** Milliseconds that a clock may be wrong before it is said, on top of what the way there and back leaves open. */
const TOLERATED_MS = 30_000

const clocks = z.object({ clocks: z.record(z.string(), z.number()) })

/** Hosts whose clocks are wrong, in seconds against this machine's. Nothing is decided by it. */
export function clocksIn({ detail }: Observation): Readonly<Record<string, number>> {
  return clocks.safeParse(detail).data?.clocks ?? {}
}

/** How wrong a host's clock is, in seconds, by what it said between two moments; null where that may be nothing. */
export function skewOf(said: string | undefined, asked: number, answered: number): number | null {
  if (said === undefined || !/^\d+$/.test(said)) return null
  const off = Number(said) * 1000 + 500 - (asked + answered) / 2
  return Math.abs(off) > TOLERATED_MS + (answered - asked) / 2 ? Math.round(off / 1000) : null
}

export function skewFinding(fleet: Fleet, wrong: Readonly<Record<string, number>>): Finding | null {
  const said = Object.entries(wrong).map(([host, s]) => `${host} ${words(Math.abs(s))} ${s > 0 ? 'ahead' : 'behind'}`)
  if (said.length === 0) return null
  const list = `${said.slice(0, 5).join(', ')}${said.length > 5 ? ` and ${said.length - 5} more` : ''}`
  return {
    level: 'warning',
    code: 'clock_skew',
    component: fleet.component,
    what: `Clocks of hosts of ${fleet.component} are not that of this machine: ${list}. Nothing is decided by them; times in logs and of folders there are wrong`,
    remedy: 'look which of them is wrong, and at its time synchronisation (`timedatectl`)',
    moves: true,
  }
}

function words(seconds: number): string {
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}
