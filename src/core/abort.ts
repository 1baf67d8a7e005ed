/** Who wants to know of a signal's abort. Leaving a signal's own list takes time in proportion to its length. */
const listening = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `stop` when the signal aborts, unless what it answers is called before. For signals that many wait for at a time. */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  const all = listening.get(signal) ?? listenTo(signal)
  all.add(stop)
  return () => void all.delete(stop)
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const all = new Set<() => void>()
  const tell = () => {
    for (const stop of all) stop()
  }
  signal.addEventListener('abort', tell, { once: true })
  listening.set(signal, all)
  return all
}
