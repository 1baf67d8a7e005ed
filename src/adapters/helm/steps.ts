import { z } from 'zod'
import type { Step } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import type { GitOwner } from '../../kubernetes/gitops.ts'
import { RESTARTED } from '../../kubernetes/template.ts'
import type { Revision } from './cli.ts'
import type { Live, Place } from './look.ts'
import type { HelmPin } from './pin.ts'

const settleArgs = z.object({ do: z.literal('settle'), revision: z.number() })
const suspendArgs = z.object({
  do: z.literal('suspend'),
  path: z.string(),
  title: z.string(),
  tool: z.enum(['argocd', 'flux']),
})
const rollbackArgs = z.object({
  do: z.literal('rollback'),
  /** The revision that helm is told to go back to. */
  to: z.number(),
  /** The newest revision when the plan was made. */
  expect: z.number(),
  /**
   * Fields that somebody else owns too are taken back: Helm 4 asks for that to be said. Nobody can be told ahead who they are,
   * for one who wrote what the bad release says stands in the way as well.
   */
  force: z.boolean(),
  /** Keyed hash of what is to be deployed then. */
  manifest: z.string(),
  /** What was not as Helm says when the release was captured: it is no change since, and stays. */
  past: z.record(z.string(), z.string()).nullable().default(null),
})

const restartArgs = z.object({
  do: z.literal('restart'),
  /** Keyed hash of what is deployed by then. */
  manifest: z.string(),
  /** The mark of an earlier restart on each object. */
  after: z.record(z.string(), z.string().nullable()),
})

export type RestartArgs = z.infer<typeof restartArgs>
export type RollbackArgs = z.infer<typeof rollbackArgs>
export type SettleArgs = z.infer<typeof settleArgs>

const args = z.discriminatedUnion('do', [settleArgs, suspendArgs, rollbackArgs, restartArgs])

export function argsOf(step: Step): z.infer<typeof args> {
  return args.parse(step.args)
}

export function stepId({ component }: Place['ctx'], target: string): string {
  return `${component}/${target}`
}

function step(
  { ctx }: Place,
  target: string,
  title: string,
  args: z.infer<typeof suspendArgs> | SettleArgs | RollbackArgs | RestartArgs,
  times: { limitMs: number; estimateMs: number },
): Step {
  const { component } = ctx
  return { id: stepId(ctx, target), component, title, args: toJson(args), ...times, retries: 1, onUnknown: 'ask' }
}

export function settleStep(place: Place, { revision, status }: Revision): Step {
  const { halt, limits } = place.config
  const limitMs = limits.pending + limits.halt + 60_000
  const what = `the ${status} of revision ${revision}, which another client is at`
  const title = halt === undefined ? `wait for ${what}` : `end ${what}, by \`halt\``
  return step(place, 'settle', title, { do: 'settle', revision }, { limitMs, estimateMs: 30_000 })
}

export function suspendStep(place: Place, { path, title, tool }: GitOwner): Step {
  const target = `suspend/${path.split('/').slice(-3).join('.')}`
  const args = { do: 'suspend' as const, path, title, tool }
  return { ...step(place, target, `suspend ${title}`, args, { limitMs: 60_000, estimateMs: 300 }), lasts: true }
}

export function rollbackStep(
  place: Place,
  o: { target: Revision; last: Revision; to: HelmPin; release: string; force: boolean },
): Step {
  const { config } = place
  const title = `helm rollback ${config.release} ${o.target.revision} (${o.target.chart}, as in ${o.release})`
  const rollback = {
    do: 'rollback' as const,
    to: o.target.revision,
    expect: o.last.revision,
    force: o.force,
    manifest: o.to.manifest,
    past: o.to.past,
  }
  return step(place, 'rollback', title, rollback, { limitMs: limitFor(place), estimateMs: 20_000 })
}

/** Helm's time, and as long again for pods that have to show that they stay up. */
function limitFor({ config: { limits } }: Place): number {
  return 2 * limits.rollback + limits.settle + 60_000
}

export function restartStep(place: Place, manifest: string, live: readonly Live[]): Step {
  const marks = live.map(({ id, object }): [string, string | null] => {
    return [id, object?.spec.template.metadata?.annotations?.[RESTARTED] ?? null]
  })
  const args = { do: 'restart' as const, manifest, after: Object.fromEntries(marks) }
  const title = `make the pods of ${place.config.release} anew`
  return step(place, 'restart', title, args, { limitMs: limitFor(place), estimateMs: 20_000 })
}
