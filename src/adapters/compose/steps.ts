import { z } from 'zod'
import type { Step } from '../../core/contract.ts'
import type { Host } from './host.ts'

const writeArgs = z.object({
  do: z.literal('write'),
  path: z.string(),
  variables: z.boolean(),
  sealed: z.object({ id: z.string(), mac: z.string() }),
  /** Keyed hash of the content as it will be. */
  mac: z.string(),
  /** Keyed hash of what the plan found; null: there was no such file. */
  expect: z.string().nullable(),
  mode: z.string(),
  owner: z.string(),
})
const upArgs = z.object({
  do: z.enum(['up', 'recreate']),
  /** The Compose files by name, and every captured file's keyed hash as it must be by then. */
  files: z.array(z.string()),
  macs: z.record(z.string(), z.string()),
  services: z.array(
    z.object({ name: z.string(), ref: z.string(), id: z.string(), digests: z.array(z.string()), count: z.number() }),
  ),
  /** Compose's hashes tell whether a container was made from these files. */
  hashes: z.boolean(),
  /** Every container is made anew, whatever it is. */
  force: z.boolean(),
  /** Services that must be gone. */
  orphans: z.array(z.string()),
})
const stopArgs = z.object({ do: z.literal('stop'), services: z.array(z.string()) })
const args = z.union([writeArgs, upArgs, stopArgs])
export type WriteArgs = z.infer<typeof writeArgs>
export type UpArgs = z.infer<typeof upArgs>
export type StopArgs = z.infer<typeof stopArgs>

export function argsOf(step: Step): WriteArgs | UpArgs | StopArgs {
  return args.parse(step.args)
}

/** Milliseconds on top of a limit, for looking and for the way there and back. */
const WAY_MS = 30_000
export const TYPICAL = { write: 500, up: 15_000, recreate: 20_000, stop: 8_000 }

export function writeStep(host: Host, own: WriteArgs): Step {
  const title = `put ${own.path} back on ${host.config.host}`
  return { ...frame(host, `write/${own.path}`, own.do, host.config.limits.answer), title, args: own }
}

export function upStep(host: Host, release: string, own: UpArgs): Step {
  const what = own.do === 'up' ? 'bring up' : 'remove and make again'
  const title = `${what} ${own.services.map(s => s.ref).join(', ') || host.project} of ${release} on ${host.config.host}`
  return { ...frame(host, own.do, own.do, host.config.limits.up), title, args: own }
}

export function stopStep(host: Host, own: StopArgs): Step {
  const title = `stop ${own.services.join(', ')} on ${host.config.host}`
  return { ...frame(host, 'stop', 'stop', host.config.limits.stop), title, args: own }
}

function frame({ component }: Host, id: string, what: keyof typeof TYPICAL, limitMs: number) {
  return {
    id: `${component}/${id}`,
    component,
    limitMs: limitMs + WAY_MS,
    retries: 1,
    estimateMs: TYPICAL[what],
    onUnknown: 'ask' as const,
  }
}
