import type { Act } from '../engine.ts'
import { messageOf } from '../errors.ts'
import { besides, type Left, phasesOf } from './left.ts'
import type { Place } from './step.ts'
import { askAll } from './still.ts'
import { standsOn } from './verdict.ts'
import type { Unproven } from './world.ts'

/** Milliseconds before it is looked again: what a run has just put in place may need a moment to settle. */
const PAUSES_MS = [1_000, 4_000]

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
  for (let look = 0; ; look++) {
    const key = look === 0 ? 'end' : `end/${look}`
    const found = await ctx.run(key, act => lookOnce(place, request, act))
    const pause = PAUSES_MS[look]
    if (found.length === 0 || pause === undefined) return { found, aborted: false }
    ctx.tell(`${key}/found`, 'end-found', { found: [...found] })
    if ((await ctx.wait(`${key}/pause`, ['$cancel'], pause)) !== null) return { found, aborted: true }
  }
}

async function lookOnce(place: Place, request: Unproven, act: Act): Promise<string[]> {
  try {
    const { found, mute, more = [] } = await place.world.unproven(request, act.signal)
    const asked = request.left.filter(({ component }) => mute.includes(component))
    const gone = await Promise.all(asked.map(left => goneSince(place, left, act)))
    const all = [...found, ...gone.flat()]
    if (all.length === 0) for (const one of more) await act.tell('fact', { step: 'end', kind: 'note', ...one })
    return all
  } catch (error) {
    act.signal.throwIfAborted()
    return [`it could not be looked at again: ${messageOf(error)}`]
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
