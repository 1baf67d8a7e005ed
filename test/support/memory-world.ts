import { type AssembleInput, assemble } from '../../src/core/assemble.ts'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import type { GateNode, Proposal, Step, Target } from '../../src/core/contract.ts'
import { NOTHING } from '../../src/core/contract.ts'
import type { World } from '../../src/core/executor/world.ts'
import type { Sample } from '../../src/core/gate.ts'
import type { Json } from '../../src/core/json.ts'
import { type Candidate, negotiate } from '../../src/core/negotiate.ts'
import type { AcceptedLoss, OnFailure, Plan } from '../../src/core/plan.ts'
import { type MemorySystem, memoryTarget } from '../conformance/memory.ts'
import { memoryBackups, memoryVault } from '../conformance/stores.ts'

export interface MemoryEnvironment {
  readonly systems: Record<string, MemorySystem>
  readonly dependsOn?: Record<string, string[]>
  readonly gates?: Record<string, () => Sample>
  readonly onFailure?: OnFailure
  readonly verify?: string[]
  readonly watch?: { gates: string[]; forMs: number }
  readonly hooks?: AssembleInput['hooks']
  readonly mode?: 'full' | 'emergency'
  /** Components with steps of the test's own, see scripted.ts. */
  readonly targets?: Record<string, Target>
  readonly departure?: () => Promise<string>
  /** A component that drains users and brings them back, gate by gate. */
  readonly traffic?: MemoryTraffic
}

export interface MemoryTraffic {
  live: number
  readonly log: string[]
  readonly gate: string
}

/** Everything that the executor needs, made of variables. */
export function memoryWorld(env: MemoryEnvironment, clock: Clock = systemClock) {
  const targets = new Map<string, Target>()
  for (const [id, system] of Object.entries(env.systems)) targets.set(id, memoryTarget(system, id) as Target)
  for (const [id, target] of Object.entries(env.targets ?? {})) targets.set(id, target)
  if (env.traffic !== undefined) targets.set('traffic', trafficTarget(env.traffic))

  async function plan(
    exclude: { component: string; rung: string }[] = [],
    accepted: readonly AcceptedLoss[] | null = null,
    parent: string | null = null,
  ): Promise<Plan> {
    const signal = new AbortController().signal
    const candidates: Candidate[] = []
    for (const [id, target] of targets) {
      const pin: Json = id === 'traffic' ? { live: 100 } : { version: 'A', name: env.systems[id]?.name ?? id }
      const from = await target.observe(signal)
      const asJson = target as Target<Json>
      candidates.push({ id, adapter: 'memory', dependsOn: env.dependsOn?.[id] ?? [], target: asJson, from, pin })
    }
    return assemble({
      environment: 'test',
      mode: env.mode ?? 'full',
      from: 'B',
      to: { release: 'A', capture: 'c1' },
      parent,
      chosen: await negotiate({
        candidates,
        release: 'A',
        upgradedAt: null,
        mode: env.mode ?? 'full',
        exclude,
        signal,
      }),
      findings: [],
      hooks: env.hooks ?? [],
      gates: [
        ...(env.verify ?? []),
        ...Object.keys(env.gates ?? {}),
        ...(env.traffic === undefined ? [] : [env.traffic.gate]),
      ],
      verify: env.verify ?? [],
      watch: env.watch ?? null,
      onFailure: env.onFailure ?? 'ask',
      concurrency: 50,
      headroomPercent: 10,
      accepted,
      configHash: 'config',
      made: { at: '2026-01-01T00:00:00.000Z', by: 'test', version: '0' },
    })
  }

  const world: World = {
    clock,
    vault: memoryVault(),
    backups: memoryBackups(),
    async target(component) {
      const target = targets.get(component)
      if (target === undefined) throw new Error(`no component ${component}`)
      return target
    },
    gate: async name => ({
      rule: { name, attempts: 1, intervalMs: 1, pass: 1, timeoutMs: 1000 },
      probes: [{ name, measure: async () => env.gates?.[name]?.() ?? pass }],
    }),
    replan: async request =>
      plan([...request.exclude], request.accepted, request.successor ? request.plan.hash : request.plan.parent),
    async unproven({ exclude, left }) {
      const { components } = await plan([...exclude])
      // What the test wrote down as steps says of all of it or of nothing that it would still be done.
      const mute = left.map(l => l.component)
      const found = components.flatMap(({ id, change }) =>
        change === null || mute.includes(id) ? [] : [`${id}: ${change.from}`],
      )
      return { found, mute }
    },
    departure: env.departure ?? (async () => 'departure'),
  }
  return { world, plan }
}

export const pass: Sample = { ok: true, value: 1, ms: 1, text: 'fine' }
export const fail: Sample = { ok: false, value: 0, ms: 1, text: 'broken' }

function trafficTarget(traffic: MemoryTraffic): Target {
  const step = (verb: string, live: number): Step => ({
    id: `traffic/${verb}`,
    component: 'traffic',
    title: verb,
    args: { live },
    limitMs: 1000,
    retries: 0,
    estimateMs: 1,
    onUnknown: 'repeat',
  })
  const steps = [step('drain', 0), step('return/50', 50), step('return/100', 100), step('away', 0)]
  const gate: GateNode = { gate: traffic.gate, forMs: 0, onFail: { apply: ['traffic/away'], then: 'ask' } }
  const proposal: Proposal = {
    ...NOTHING,
    steps,
    phases: {
      drain: { step: 'traffic/drain' },
      return: { seq: [{ step: 'traffic/return/50' }, gate, { step: 'traffic/return/100' }, gate] },
    },
    safe: ['traffic/away'],
  }
  return {
    rungs: [{ id: 'weights', tier: 'platform', title: 'set the weights' }],
    serves: ['drained'],
    observe: async () => ({ identity: 'traffic', state: null, detail: null, summary: `${traffic.live}`, inFlight: [] }),
    capture: async () => ({ live: 100 }),
    propose: async () => proposal,
    apply: async ({ id, args }) => {
      traffic.live = (args as { live: number }).live
      traffic.log.push(id)
    },
    verify: async ({ args }) => {
      const there = traffic.live === (args as { live: number }).live
      return { is: there ? 'done' : 'not-done', why: `live is ${traffic.live}` }
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
