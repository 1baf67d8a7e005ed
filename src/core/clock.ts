/** Where times come from, so that tests can set them. Durations are measured with `mono`, which no clock change moves. */
export interface Clock {
  /** Milliseconds since the epoch, as the machine believes. */
  now(): number
  /** Milliseconds since some fixed moment; never goes back. */
  mono(): number
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls back after `ms`, unless what it answers is called before. */
  after(ms: number, call: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const stop = () => {
        cancel()
        reject(signal?.reason as Error)
      }
      const cancel = after(ms, () => {
        signal?.removeEventListener('abort', stop)
        resolve()
      })
      signal?.addEventListener('abort', stop, { once: true })
    }),
  after,
}

/** What a timer can wait at the most; a longer one would end at once. */
const LONGEST_MS = 2 ** 31 - 1

function after(ms: number, call: () => void): () => void {
  let timer: NodeJS.Timeout
  const arm = (left: number) => {
    const rest = left - LONGEST_MS
    timer = setTimeout(() => (rest > 0 ? arm(rest) : call()), Math.min(left, LONGEST_MS))
  }
  arm(ms)
  return () => clearTimeout(timer)
}

/** ISO time in UTC with seconds, as everything shown or stored carries it. */
export function iso(ms: number): string {
  return new Date(ms).toISOString()
}
