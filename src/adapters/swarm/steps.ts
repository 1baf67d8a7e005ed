import { z } from 'zod'
import type { Node, Step } from '../../core/contract.ts'
import { image, sealed } from './pin.ts'
import type { Site } from './site.ts'

/** A config that is gone, and is made again from the vault. */
const madeConfig = z.object({ id: z.string(), name: z.string(), mac: z.string(), sealed })
export type MadeConfig = z.infer<typeof madeConfig>

/** What a service is to be, without its content: that lies in the vault. */
const goal = z.object({
  sealed,
  /** Keyed hash of the specification as it will be. */
  shape: z.string(),
  /** The same with Backout's own settings for the time of the update. */
  careful: z.string(),
  image,
  renamed: z.object({
    networks: z.record(z.string(), z.string()),
    configs: z.record(z.string(), z.string()),
    secrets: z.record(z.string(), z.object({ id: z.string(), name: z.string() })),
    made: z.array(madeConfig),
  }),
})
export type Goal = z.infer<typeof goal>

/**
 * What the plan found there: another specification was written by somebody else since. null: there was no such service. By
 * its id what it leaves behind is found where it was removed.
 */
const expect = z.object({ shape: z.string(), ref: z.string(), id: z.string().nullable().default(null) }).nullable()
export type Expect = z.infer<typeof expect>

const bringArgs = z.object({
  do: z.enum(['previous', 'update', 'recreate']),
  service: z.string(),
  goal,
  expect,
  /** The count of forced updates that its tasks must carry; null: any. */
  force: z.number().nullable(),
  /** It must have been made again by this very step, though it may be right already. */
  anew: z.boolean().default(false),
})
const stopArgs = z.object({
  do: z.literal('stop'),
  service: z.string(),
  expect,
})
const haltArgs = z.object({ do: z.literal('halt'), service: z.string(), expect })
/** `service` is the name of the config. */
const configArgs = z.object({ do: z.literal('config'), service: z.string(), mac: z.string(), sealed })
const args = z.union([bringArgs, stopArgs, haltArgs, configArgs])
export type BringArgs = z.infer<typeof bringArgs>
export type StopArgs = z.infer<typeof stopArgs>
export type HaltArgs = z.infer<typeof haltArgs>
export type ConfigArgs = z.infer<typeof configArgs>
type Args = z.infer<typeof args>

export function argsOf(step: Step): Args {
  return args.parse(step.args)
}

/** Milliseconds on top of the limit of an update for asking and writing. */
const WAY_MS = 30_000
const TYPICAL = { previous: 20_000, update: 20_000, recreate: 25_000, stop: 12_000, halt: 3_000, config: 500 }

export function typicalMs(what: Args['do']): number {
  return TYPICAL[what]
}

/** `waitsMs`: what Swarm itself waits in between. */
export function bringStep(site: Site, title: string, own: BringArgs, waitsMs: number): Step {
  const { limitMs, estimateMs, ...others } = frame(site, own)
  return { ...others, limitMs: limitMs + waitsMs, estimateMs: estimateMs + waitsMs, title, args: own }
}

export function stopStep(site: Site, own: StopArgs): Step {
  return { ...frame(site, own), title: `stop ${own.service}`, args: own, lasts: true }
}

export function haltStep(site: Site, own: HaltArgs): Step {
  return { ...frame(site, own), title: `stop the update of ${own.service}`, args: own, lasts: true }
}

export function configStep(site: Site, { name, mac, sealed }: MadeConfig): Step {
  const own: ConfigArgs = { do: 'config', service: name, mac, sealed }
  return { ...frame(site, own), title: `make the config ${name} again`, args: own, onUnknown: 'repeat' }
}

export function stepId({ component }: Pick<Site, 'component'>, verb: Args['do'], service: string): string {
  return `${component}/${verb}/${service}`
}

function frame({ component, config }: Site, own: Args) {
  return {
    id: stepId({ component }, own.do, own.service),
    component,
    limitMs: config.limits.update + config.limits.settle + WAY_MS,
    retries: 1,
    estimateMs: typicalMs(own.do),
    onUnknown: 'ask' as const,
  }
}

/** All at the same time, within the limit. One that fails starts nothing new. */
export function together(site: Site, steps: readonly Step[]): Node | null {
  const [first] = steps
  if (first === undefined) return null
  if (steps.length === 1) return { step: first.id }
  const par = steps.map(step => ({ id: step.id, after: [], node: { step: step.id } }))
  return { par, limit: Math.min(site.config.parallel, steps.length), maxFailures: 0 }
}
