import { z } from 'zod'
import type { Node, Step } from '../../core/contract.ts'
import { type Fleet, type Host, sizeOf, type Unit } from './fleet.ts'
import { type PinnedHost, sums } from './pin.ts'

const switchArgs = z.object({
  do: z.literal('switch'),
  host: z.string(),
  to: z.string().nullable(),
  release: z.string(),
  expect: z.string().nullable(),
  /** The release that a slot held which is left: the slot's name will not tell it later. */
  left: z.string().nullable().optional(),
  sums,
  stale: z.array(z.string()),
  version: z.string().nullable(),
})
const unitArgs = z.object({
  do: z.enum(['stop', 'start', 'restart']),
  host: z.string(),
  label: z.string(),
  release: z.string(),
  version: z.string().nullable(),
})
const args = z.union([switchArgs, unitArgs])
export type StepArgs = z.infer<typeof args>
export type SwitchArgs = z.infer<typeof switchArgs>
export type UnitArgs = z.infer<typeof unitArgs>

export function argsOf(step: Step): StepArgs {
  return args.parse(step.args)
}

/** What the steps of a plan do on one host; without those that are of no host, such as a halt. */
export function argsOn(host: string | null, steps: readonly Step[]): StepArgs[] {
  return steps.flatMap(step => args.safeParse(step.args).data ?? []).filter(a => host === null || a.host === host)
}

/** Milliseconds that a script has on top of its own limits, to say what it found. */
const SAY_MS = 2_000
/** Milliseconds on top of a script's limit for ending it and for the way there and back. */
const WAY_MS = 10_000
const TYPICAL = { switch: 1_500, stop: 3_000, start: 3_000, restart: 5_000 }

/** Milliseconds after which a step's command on the host is ended. */
export function limitOf(fleet: Fleet, what: StepArgs['do']): number {
  const { limits, service } = fleet.config
  const own = {
    stop: limits.stop,
    start: limits.start + limits.settle,
    restart: limits.start + limits.stop + limits.settle,
    switch: limits.switch + (service === undefined ? limits.start : 0),
  }
  return own[what] + SAY_MS
}

/** How long a step usually takes, in milliseconds. */
export function typicalMs(fleet: Fleet, what: StepArgs['do']): number {
  const settle = what === 'start' || what === 'restart' ? fleet.config.limits.settle : 0
  return TYPICAL[what] + settle
}

export function switchStep(
  fleet: Fleet,
  host: Host,
  more: {
    to: string | null
    expect: string | null
    left: string | null
    pinned: PinnedHost
    stale: string[]
    fence: boolean
  },
): Step {
  const { to, expect, left, pinned, stale } = more
  const toward = to === null || to === pinned.release ? pinned.release : `${to} (${pinned.release})`
  return {
    ...frame(fleet, `switch/${host.name}`, 'switch', more.fence),
    title: `switch ${host.name} to ${toward}`,
    args: {
      do: 'switch',
      host: host.name,
      to,
      release: pinned.release,
      expect,
      ...(fleet.config.strategy === 'symlink' ? {} : { left }),
      sums: pinned.sums,
      stale,
      version: pinned.version,
    },
  }
}

export function unitStep(
  fleet: Fleet,
  host: Host,
  unit: Unit,
  what: UnitArgs['do'],
  more: { release: string; version: string | null; fence: boolean },
): Step {
  const name = unit.label === 'main' ? host.name : `${host.name}.${unit.label}`
  return {
    ...frame(fleet, `${what}/${name}`, what, more.fence),
    title: what === 'stop' ? `stop ${name}` : `${what} ${name} on ${more.release}`,
    args: { do: what, host: host.name, label: unit.label, release: more.release, version: more.version },
  }
}

function frame(fleet: Fleet, id: string, what: StepArgs['do'], fence: boolean) {
  return {
    id: `${fleet.component}/${id}`,
    component: fleet.component,
    limitMs: limitOf(fleet, what) + WAY_MS + fleet.config.limits.connect * 2,
    retries: 1,
    estimateMs: typicalMs(fleet, what),
    onUnknown: fence ? ('fence' as const) : ('ask' as const),
  }
}

export interface HostWork {
  readonly host: Host
  readonly steps: readonly Step[]
}

/** All hosts at the same time, within the limit; on each the instances one after the other, for users may be there. */
export function together(
  fleet: Fleet,
  work: readonly HostWork[],
  maxFailures: number,
  onHost: (steps: readonly Step[]) => Node = inTurn,
): Node | null {
  const busy = work.filter(w => w.steps.length > 0)
  if (busy.length === 0) return null
  return {
    par: busy.map(w => ({ id: w.host.name, after: [], node: onHost(w.steps) })),
    limit: Math.min(fleet.config.concurrency, busy.length),
    maxFailures,
  }
}

/** Batch after batch, with the gate between them. Failures count over all batches together. */
export function rolling(fleet: Fleet, work: readonly HostWork[], gates: boolean): Node | null {
  const { batchGate, batchGateFor } = fleet.config
  const busy = work.filter(w => w.steps.length > 0)
  const nodes: Node[] = []
  let from = 0
  for (const size of batchesOf(fleet, busy.length)) {
    if (from > 0 && gates && batchGate !== undefined) {
      nodes.push({ gate: batchGate, forMs: batchGateFor, onFail: { apply: [], then: 'ask' } })
    }
    const node = together(fleet, busy.slice(from, from + size), fleet.mayFail)
    if (node !== null) nodes.push(node)
    from += size
  }
  return nodes.length > 0 ? { seq: nodes, maxFailures: fleet.mayFail } : null
}

/** How many hosts each batch has, until all have had their turn. Percentages are of the whole fleet. */
export function batchesOf({ config, hosts }: Fleet, busy: number): number[] {
  const sizes = [config.batch].flat()
  const batches: number[] = []
  for (let left = busy; left > 0; left -= batches.at(-1) ?? left) {
    batches.push(sizeOf(sizes[batches.length] ?? sizes.at(-1) ?? 1, hosts.length))
  }
  return batches
}

const INSTANCES_AT_ONCE = 8

/** For a host that serves nobody: what concerns the whole of it first, then its instances at the same time. */
export function atOnce(steps: readonly Step[]): Node {
  const first = steps.filter(step => (step.args as { do: string }).do === 'switch')
  const units = steps.filter(step => !first.includes(step))
  if (units.length < 2) return inTurn(steps)
  const par = units.map(step => ({ id: step.id, after: [], node: { step: step.id } }))
  const node: Node = { par, limit: INSTANCES_AT_ONCE, maxFailures: 0 }
  return first.length === 0 ? node : { seq: [inTurn(first), node] }
}

function inTurn(steps: readonly Step[]): Node {
  const nodes = steps.map(step => ({ step: step.id }))
  return nodes.length === 1 && nodes[0] !== undefined ? nodes[0] : { seq: nodes }
}
