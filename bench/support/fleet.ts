import { systemClock } from '../../src/core/clock.ts'
import { NOTHING, type Node, type Proposal, type Step, type Target } from '../../src/core/contract.ts'
import type { World } from '../../src/core/executor/world.ts'
import type { Probe } from '../../src/core/gate.ts'
import { type Json, toJson } from '../../src/core/json.ts'
import type { Plan } from '../../src/core/plan.ts'
import { memoryBackups, memoryVault } from '../../test/conformance/stores.ts'
import { batches } from './hosts.ts'
import { planned } from './planned.ts'

interface Shape {
  readonly targets: number
  /** How long each step takes by itself, in milliseconds. */
  readonly stepMs: number
  /** The same of steps that restart a unit; like the others where it is not said. */
  readonly restartMs?: number
  /** How many steps at the same time. */
  readonly limit: number
  /** In the batches of the `hosts` adapter, with two steps for each target. */
  readonly batches?: boolean
}

interface Fleet {
  readonly world: World
  readonly plan: () => Promise<Plan>
  /** The same waiting without Backout: as many at a time, in the same order. Resolves at its end. */
  readonly plainly: () => Promise<void>
}

/** One component of many targets that are variables, with a step for each: what the executor costs, and nothing else. */
export function fleet(shape: Shape): Fleet {
  const proposal = shape.batches === true ? batches(shape.targets) : atOnce(shape)
  const wait = (step: string) => waitOf(shape, step)
  const target = targetOf(proposal, wait)
  const plan = async () => {
    const from = await target.observe(new AbortController().signal)
    const pin = { version: 'A' }
    return planned([{ id: 'fleet', adapter: 'bench', dependsOn: [], target, from, pin }], shape.limit)
  }
  const world: World = {
    clock: systemClock,
    vault: memoryVault(),
    backups: memoryBackups(),
    target: async () => target,
    gate: async name => ({ rule: { name, attempts: 1, intervalMs: 1, pass: 1, timeoutMs: 1000 }, probes: [well] }),
    replan: plan,
    departure: async () => 'departure',
    unproven: async () => ({ found: [], mute: [] }),
  }
  return { world, plan, plainly: () => plainly(proposal.phases.code ?? { seq: [] }, wait) }
}

/** Says at once that all is well. */
const well: Probe = { name: 'well', measure: async () => ({ ok: true, value: null, ms: 0, text: 'well' }) }

export function runInput(plan: Plan): Json {
  return toJson({ plan, by: 'bench', reason: null, confirmed: '--yes' })
}

function atOnce({ targets, stepMs, limit }: Shape): Proposal {
  const steps = Array.from({ length: targets }, (_, i) => stepOf(`web-${String(i).padStart(4, '0')}`, stepMs))
  const par = steps.map(step => ({ id: step.title, after: [], node: { step: step.id } }))
  const seq = steps.map(step => ({ step: step.id }))
  return {
    ...NOTHING,
    change: { from: 'B', to: 'A' },
    steps,
    phases: { code: limit === 1 ? { seq } : { par, limit, maxFailures: 0 } },
  }
}

function waitOf({ stepMs, restartMs = stepMs }: Shape, step: string): number {
  return step.startsWith('fleet/restart/') ? restartMs : stepMs
}

async function plainly(node: Node, wait: (step: string) => number): Promise<void> {
  if ('gate' in node) return
  if ('step' in node) return systemClock.sleep(wait(node.step))
  if ('seq' in node) {
    for (const inner of node.seq) await plainly(inner, wait)
    return
  }
  const left = [...node.par]
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await plainly(item.node, wait)
  }
  await Promise.all(Array.from({ length: node.limit }, worker))
}

function targetOf(proposal: Proposal, wait: (step: string) => number): Target<Json> {
  const done = new Set<string>()
  return {
    rungs: [{ id: 'set', tier: 'platform', title: 'set the version' }],
    serves: [],
    observe: async () => ({ identity: 'bench', state: { version: 'B' }, detail: null, summary: 'B', inFlight: [] }),
    capture: async () => ({ version: 'B' }),
    propose: async () => proposal,
    async apply(step, act) {
      const ms = wait(step.id)
      if (ms > 0) await systemClock.sleep(ms, act.signal)
      act.guard()
      done.add(step.id)
    },
    verify: async step => ({ is: done.has(step.id) ? 'done' : 'not-done', why: 'as the variable says' }),
    [Symbol.asyncDispose]: async () => {},
  }
}

function stepOf(host: string, estimateMs: number): Step {
  return {
    id: `fleet/switch/${host}`,
    component: 'fleet',
    title: host,
    args: { do: 'switch', host, to: 'A' },
    limitMs: 60_000,
    retries: 1,
    estimateMs,
    onUnknown: 'ask',
  }
}
