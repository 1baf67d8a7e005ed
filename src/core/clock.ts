/** Where times come from, so that tests can set them. Durations are measured with `mono`, which no clock change moves. */
export interface Clock {
  /** Milliseconds since the epoch, as the machine believes. */
  now(): number
  /** Milliseconds since some fixed moment; never goes back. */
  mono(): number
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  sleep: async (ms, signal) => {
    for (let left = ms; ; left -= LONGEST_MS) {
      await pause(Math.min(left, LONGEST_MS), signal)
      if (left <= LONGEST_MS) return
    }
  },
}

/** What a timer can wait at the most; a longer one would end at once. */
const LONGEST_MS = 2 ** 31 - 1

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error)
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** ISO time in UTC with seconds, as everything shown or stored carries it. */
export function iso(ms: number): string {
  return new Date(ms).toISOString()
}
