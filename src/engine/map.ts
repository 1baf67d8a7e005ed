import type { MapItem, MapOptions, Outcome } from '../core/engine.ts'
import type { ActiveRun } from './active.ts'

interface Children {
  readonly start: (item: MapItem) => Promise<Outcome>
  /** The journal knows of it: an earlier process started it. */
  readonly started: (item: MapItem) => boolean
}

/**
 * Runs the items with bounded concurrency, each after those it names. What depends on a failure is not started. Holds
 * while a `$pause` stands; starts nothing more after `$cancel`, too many failures or one that stops all. What an earlier
 * process had started is gone on with even then: it may be in the middle of something, and says itself what becomes of it.
 */
export async function mapChildren(
  active: ActiveRun,
  items: readonly MapItem[],
  options: MapOptions,
  { start, started }: Children,
): Promise<Record<string, Outcome>> {
  const outcomes: Record<string, Outcome> = {}
  const left = new Map(items.map(item => [item.id, item]))
  const running = new Set<string>()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let failures = 0
  let over = false

  function next(): void {
    const control = options.regardless === true ? undefined : standing(active)
    const stop = over || failures > (options.maxFailures ?? 0) || control === '$cancel'
    if (stop || control !== '$pause') {
      for (const item of left.values()) {
        if (running.size >= options.concurrency) break
        if (stop && !started(item)) continue
        if ((item.after ?? []).every(id => outcomes[id]?.ok === true)) launch(item)
      }
    }
    const stuck = running.size === 0 && (left.size === 0 || stop || control !== '$pause')
    if (!stuck && !active.halted) return
    unpark()
    resolve()
  }

  function launch(item: MapItem): void {
    left.delete(item.id)
    running.add(item.id)
    void follow(item).catch(reject)
  }

  async function follow(item: MapItem): Promise<void> {
    const outcome = await start(item)
    running.delete(item.id)
    outcomes[item.id] = outcome
    if (outcome.ok === false) {
      failures++
      over ||= options.stopsAll?.(outcome.error) === true
    }
    next()
  }

  // The children are counted as busy themselves; this one only waits for them.
  const unpark = active.park()
  const unsubscribe = active.onSignal(next)
  try {
    next()
    await promise
  } finally {
    unpark()
    unsubscribe()
  }
  for (const id of left.keys()) outcomes[id] = { ok: null }
  return outcomes
}

/** The control signal that stands: an abort for ever, otherwise the newest of pause and resume. */
function standing(active: ActiveRun): string | undefined {
  if (active.signals.some(s => s.name === '$cancel')) return '$cancel'
  return active.signals.findLast(s => s.name === '$pause' || s.name === '$resume')?.name
}
