import { systemClock } from '../../core/clock.ts'
import type { Progress, StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { corePath, type Pod, selectorText } from '../../kubernetes/api/objects.ts'
import { alive, rolloutOf, troubleOf } from '../../kubernetes/status.ts'
import { type Live, liveOf, type Place } from './look.ts'
import { letGoOn } from './pods.ts'
import type { Member } from './manifest.ts'

const EVERY_MS = 1000

/**
 * While helm waits it says nothing: this says what it waits for, until it is told to end, and lets go on what is paused.
 * What comes to nothing here is done, or told, once helm is through.
 */
export async function follow(place: Place, wanted: readonly Member[], act: StepAct, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    await systemClock.sleep(EVERY_MS, over).catch(() => {})
    if (over.aborted) return
    await letGoOn(place, wanted, { ...act, signal: AbortSignal.any([act.signal, over]) }).catch(() => {})
    const said = await situation(place, wanted, over).catch(() => null)
    if (said !== null && !over.aborted) act.progress(said)
  }
}

/** null: nothing is being waited for. */
async function situation(place: Place, wanted: readonly Member[], signal: AbortSignal): Promise<Progress | null> {
  for (const one of await liveOf(place, wanted, signal)) {
    if (one.object === null) continue
    const { complete, updated, available, wanted: total } = rolloutOf(one.object)
    if (complete) continue
    const why = await whyNot(place, one, signal)
    const text = `${one.id}: ${updated} of ${total} pods replaced, ${available} available${why === null ? '' : `; ${why}`}`
    return { text, done: Math.min(updated, available), total }
  }
  return null
}

/** What keeps the first of its pods that is in trouble from getting ready. */
async function whyNot({ site }: Place, { namespace, object }: Live, signal: AbortSignal): Promise<string | null> {
  if (object === null) return null
  const query = `?labelSelector=${encodeURIComponent(selectorText(object.spec.selector))}`
  const list = await site.client.list(`${corePath(namespace, 'pods')}${query}`, signal)
  const troubles = (list?.items as Pod[] | undefined)?.filter(alive).map(troubleOf) ?? []
  const worst = troubles.find(trouble => trouble !== null)
  return worst === undefined || worst === null ? null : `${worst.pod}: ${worst.reason} ${worst.message}`.trim()
}

/** Helm only says that its time was over: what it waited for says why. */
export async function explained(
  place: Place,
  wanted: readonly Member[],
  error: unknown,
  act: StepAct,
): Promise<unknown> {
  if (!(error instanceof BackoutError) || error.code !== 'helm_failed' || act.signal.aborted) return error
  const now = await situation(place, wanted, act.signal).catch(() => null)
  if (now === null) return error
  const cause = redact([error.why, now.text].filter(Boolean).join('\n'))
  return new BackoutError({
    code: error.code,
    what: error.message,
    cause,
    next: error.next,
    exit: 'failed',
    from: error,
  })
}
