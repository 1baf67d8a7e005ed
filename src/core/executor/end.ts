import type { Ctx } from '../engine.ts'
import { messageOf } from '../errors.ts'
import type { Unproven, World } from './world.ts'

/** Milliseconds before it is looked again: what a run has just put in place may need a moment to settle. */
const PAUSES_MS = [1_000, 4_000]

/**
 * Looks at everything once more where a run has come to its end: each step was verified in its turn, and what it brought about
 * may have gone since, or may never have been all that the release takes. Empty: the release is there; null: it was aborted.
 */
export async function lookAtTheEnd(ctx: Ctx, world: World, request: Unproven): Promise<readonly string[] | null> {
  ctx.tell('end/begun', 'end-look', { release: request.plan.to.release })
  for (let look = 0; ; look++) {
    const key = look === 0 ? 'end' : `end/${look}`
    const found = await ctx.run(key, ({ signal }) => lookOnce(world, request, signal))
    const pause = PAUSES_MS[look]
    if (found.length === 0 || pause === undefined) return found
    if ((await ctx.wait(`${key}/pause`, ['$cancel'], pause)) !== null) return null
  }
}

async function lookOnce(world: World, request: Unproven, signal: AbortSignal): Promise<string[]> {
  try {
    return await world.unproven(request, signal)
  } catch (error) {
    signal.throwIfAborted()
    return [`it could not be looked at again: ${messageOf(error)}`]
  }
}
