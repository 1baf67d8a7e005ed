import type { Act } from '../engine.ts'
import { messageOf } from '../errors.ts'
import { type Json, toJson } from '../json.ts'
import { besides, type Left, phasesOf } from './left.ts'
import type { Place } from './step.ts'
import { askAll } from './still.ts'
import { standsOn } from './verdict.ts'
import type { Unproven } from './world.ts'

/** Milliseconds before it is looked again: what a run has just put in place may need a moment to settle. */
const PAUSES_MS = [1_000, 4_000]
/** Between looks at what is on its way by itself, for as long as it may be. */
const LATER_MS = 10_000

interface Look {
  readonly found: readonly string[]
  readonly mayTakeMs?: number
}

/**
 * Looks at everything once more where a run has come to its end: each step was verified in its turn, and what it brought about
 * may have gone since, or may never have been all that the release takes. Nothing found: the release is there. `aborted`:
 * somebody did not wait for a further look.
 */
export async function lookAtTheEnd(
  place: Place,
  request: Unproven,
): Promise<{ found: readonly string[]; aborted: boolean }> {
  const { ctx } = place
  ctx.tell('end/begun', 'end-look', { release: request.plan.to.release })
  let waited = 0
  // What is left of its time gets less while it is waited for; what begins anew again and again is not waited for for ever.
  let most = 0
  let told = ''
  for (let look = 0; ; look++) {
    const key = look === 0 ? 'end' : `end/${look}`
    const { found, mayTakeMs = 0 } = lookOf(
      await ctx.run(key, async act => toJson(await lookOnce(place, request, act))),
    )
    most = Math.max(most, mayTakeMs)
    const pause = PAUSES_MS[look] ?? (mayTakeMs > 0 && waited < most ? LATER_MS : undefined)
    if (found.length === 0 || pause === undefined) return { found, aborted: false }
    if (told !== found.join()) ctx.tell(`${key}/found`, 'end-found', { found: [...found] })
    told = found.join()
    if ((await ctx.wait(`${key}/pause`, ['$cancel'], pause)) !== null) return { found, aborted: true }
    waited += pause
  }
}

/** A run that an older one began has a list in its journal. */
function lookOf(journalled: Json): Look {
  return (Array.isArray(journalled) ? { found: journalled } : journalled) as unknown as Look
}

async function lookOnce(place: Place, request: Unproven, act: Act): Promise<Look> {
  try {
    const { found, mayTakeMs, mute, more = [] } = await place.world.unproven(request, act.signal)
    const asked = request.left.filter(({ component }) => mute.includes(component))
    const gone = await Promise.all(asked.map(left => goneSince(place, left, act)))
    const all = [...found, ...gone.flat()]
    if (all.length === 0) for (const one of more) await act.tell('fact', { step: 'end', kind: 'note', ...one })
    return { found: all, ...(mayTakeMs === undefined || all.length > found.length ? {} : { mayTakeMs }) }
  } catch (error) {
    act.signal.throwIfAborted()
    return { found: [`it could not be looked at again: ${messageOf(error)}`] }
  }
}

/** What was done of a component and holds no more. Who cannot tell has told once, when it was done. */
async function goneSince(place: Place, left: Left, act: Act): Promise<string[]> {
  const { plan } = place
  const own = Object.values(plan.steps).filter(step => step.component === left.component)
  // Users come back in stages: of those only the last one still is as it was.
  const { return: _, ...phases } = phasesOf(plan, left.component)
  const done = besides(left, phases).flatMap(id => plan.steps[id] ?? [])
  const undone = await askAll(place, done, act, async (target, step, stepAct) => {
    const { is, why } = await standsOn(target, step, own, stepAct)
    return { is: is === 'release' ? 'done' : is === 'unknown' ? 'unknown' : 'not-done', why }
  })
  return undone
    .filter(({ is }) => is === 'not-done')
    .map(({ step, why }) => `${left.component}: "${plan.steps[step]?.title}" does not hold any more: ${why}`)
}
