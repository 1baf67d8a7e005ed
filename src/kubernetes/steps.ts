import { z } from 'zod'
import type { Step } from '../core/contract.ts'
import { toJson } from '../core/json.ts'
import { parseId } from './api/objects.ts'
import { servicePort } from './ports.ts'
import type { Site } from './site.ts'

const sealed = z.object({ id: z.string(), mac: z.string() })

const rollArgs = z.object({
  do: z.literal('roll'),
  rung: z.enum(['adopt', 'template', 'image', 'manifest']),
  object: z.string(),
  release: z.string(),
  /** What the plan saw, as `fingerprint` tells it; null: the object was gone. */
  expect: z.string().nullable(),
  /** Keyed hash of the template that is wanted, but for the images. */
  template: z.string(),
  /** Images to be written, by container. */
  write: z.record(z.string(), z.string()),
  /** Digests of which each container must run one; none where nobody knows. */
  proof: z.record(z.string(), z.array(z.string())),
  /** The ReplicaSet or ControllerRevision whose template is taken. */
  revision: z.string().nullable(),
  sealed,
  /** null: as many as there are. */
  replicas: z.number().nullable(),
  /** An autoscaler decides: so many are written where there are none, and from then on any number will do. */
  scaled: z.boolean().default(false),
  /** All pods are made anew, though their template may be the one that is wanted. */
  restart: z.boolean(),
  /** The mark of an earlier restart that the plan saw. */
  after: z.string().nullable().default(null),
  /** Pods that the controller would leave on another revision, and that are deleted. */
  replace: z.enum(['none', 'unready', 'all']),
  /**
   * Of a StatefulSet of the release: none while its pods are replaced, and put back then. null: whatever partition there is is
   * left as it is.
   */
  partition: z.number().nullable().default(null),
  /** A Rollout's steps are skipped: all pods at once. */
  promote: z.boolean(),
})
export type RollArgs = z.infer<typeof rollArgs>

const haltArgs = z.object({ do: z.literal('halt'), object: z.string() })
const stopArgs = z.object({ do: z.literal('stop'), object: z.string() })
const configArgs = z.object({
  do: z.literal('config'),
  config: z.string(),
  /** null: the release has none, and what is there is emptied. That is the same to pods that can do without it. */
  content: z.object({ sealed, mac: z.string() }).nullable(),
  expect: z.string().nullable(),
  /** Objects whose pods are made anew for it. */
  readers: z.array(z.string()).default([]),
})
const selector = z.record(z.string(), z.string())
const serviceArgs = z.object({
  do: z.literal('service'),
  service: z.string(),
  selector,
  expect: selector,
  /** null: they are as in the release, or nobody knows. */
  ports: z
    .object({ then: z.array(servicePort), expect: z.array(servicePort) })
    .nullable()
    .default(null),
})
const bounds = z.object({ min: z.number(), max: z.number() })
const scaleArgs = z.object({ do: z.literal('autoscaler'), autoscaler: z.string(), bounds, expect: bounds })
const suspendArgs = z.object({
  do: z.literal('suspend'),
  path: z.string(),
  title: z.string(),
  tool: z.enum(['argocd', 'flux']),
})

export type HaltArgs = z.infer<typeof haltArgs>
export type StopArgs = z.infer<typeof stopArgs>
export type ConfigArgs = z.infer<typeof configArgs>
export type ServiceArgs = z.infer<typeof serviceArgs>
export type ScaleArgs = z.infer<typeof scaleArgs>
export type SuspendArgs = z.infer<typeof suspendArgs>

const args = z.discriminatedUnion('do', [rollArgs, haltArgs, stopArgs, configArgs, serviceArgs, scaleArgs, suspendArgs])
export type StepArgs = z.infer<typeof args>

export function argsOf(step: Step): StepArgs {
  return args.parse(step.args)
}

const TYPICAL = { roll: 20_000, halt: 200, stop: 15_000, config: 200, service: 200, autoscaler: 200, suspend: 300 }
/** A write with what is read around it. */
const WRITE_MS = 60_000

/** How long a step usually takes, in milliseconds. */
export function typicalMs(what: StepArgs['do']): number {
  return TYPICAL[what]
}

/** Halts and stops do where their run goes no further. An aborted Rollout goes on by itself once it has another template. */
function lasts(args: StepArgs): boolean {
  return args.do === 'suspend' || args.do === 'stop' || (args.do === 'halt' && parseId(args.object).kind !== 'Rollout')
}

/** `target` tells steps of one kind apart: "deployment/shop". */
export function stepId({ component }: Site, does: StepArgs['do'], target: string): string {
  return `${component}/${does}/${target.replaceAll(/[^A-Za-z0-9._-]/g, '.')}`
}

export function makeStep(site: Site, target: string, title: string, args: StepArgs): Step {
  const { limits } = site.config
  const own = { roll: limits.rollout, stop: limits.stop } as Readonly<Record<string, number>>
  return {
    id: stepId(site, args.do, target),
    component: site.component,
    title,
    args: toJson(args),
    limitMs: (own[args.do] ?? 0) + WRITE_MS,
    // Requests are tried again where that is safe; a rollout that got stuck once does so again.
    retries: args.do === 'roll' ? 0 : 1,
    estimateMs: TYPICAL[args.do],
    onUnknown: 'ask',
    ...(lasts(args) ? { lasts: true } : {}),
  }
}
