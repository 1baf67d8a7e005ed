import type { Container } from './look.ts'

/** A container has outlived its own past once it runs so many times as long as it did between two deaths. */
const OUTLIVES = 2

/** Started anew by the engine more than once, and up for no longer since than before, nor than `within` milliseconds. */
export function diesAgain(c: Container, now: number, within: number): boolean {
  if (c.state.Status !== 'running' || c.restarts < 2) return false
  const [created, started] = [Date.parse(c.created), Date.parse(c.state.StartedAt)]
  const age = now - started
  return !(age >= within || age >= (OUTLIVES * (started - created)) / c.restarts)
}

/** How often it was, for people. */
export function startedAnew({ service, restarts, state }: Container): string {
  return `${service} was started anew ${restarts} times, the last time at ${state.StartedAt.replace(/\.\d+/, '')}`
}
