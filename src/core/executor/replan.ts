import type { Ctx } from '../engine.ts'
import { messageOf } from '../errors.ts'
import { toJson } from '../json.ts'
import { blockersOf, type Plan } from '../plan.ts'
import { redact } from '../secret.ts'
import type { Replan, World } from './world.ts'

/** Of a plan that is read back every word counts. */
export const AS_IS = { asIs: true }

export function holds(plan: Plan, now: Plan): boolean {
  return now.hash === plan.hash && blockersOf(now).length === 0
}

/** Observes again. Null: the plan still holds; the journal has it already. */
export async function planNow(ctx: Ctx, world: World, key: string, request: Replan): Promise<Plan | null> {
  const { plan } = request
  const again = async ({ signal }: { signal: AbortSignal }) => {
    const made = await world.replan(request, signal)
    return holds(plan, made) ? null : toJson(made)
  }
  const now = (await ctx.run(key, again, AS_IS)) as unknown as Plan | null
  return now === null || holds(plan, now) ? null : now
}

export type Successor = { readonly next: Plan } | { readonly next: null; readonly why: string }

/** Plans again without the rungs that failed. */
export async function planSuccessor(ctx: Ctx, world: World, key: string, request: Replan): Promise<Successor> {
  const again = async ({ signal }: { signal: AbortSignal }) => {
    try {
      return toJson({ next: await world.replan(request, signal) })
    } catch (error) {
      signal.throwIfAborted()
      return { next: null, why: redact(messageOf(error)) }
    }
  }
  return (await ctx.run(key, again, AS_IS)) as unknown as Successor
}
