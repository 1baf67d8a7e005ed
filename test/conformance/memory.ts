import { z } from 'zod'
import type { Adapter, Node, Observation, Proposal, Step, Target, Verdict } from '../../src/core/contract.ts'
import { NOTHING } from '../../src/core/contract.ts'

/** A system that is a variable: the smallest adapter that keeps the contract. */
export interface MemorySystem {
  name: string
  version: string
  /** How many times each step took effect. */
  applied: Record<string, number>
  onApply?: (step: Step) => void | Promise<void>
  onVerify?: (step: Step) => Verdict | undefined
}

const pin = z.object({ version: z.string(), name: z.string() })
type Pin = z.infer<typeof pin>

export function memoryAdapter(system: MemorySystem): Adapter<unknown, Pin> {
  return {
    kind: 'memory',
    config: z.unknown(),
    pin,
    pinVersion: 1,
    open: async (_, ctx) => memoryTarget(system, ctx.component),
  }
}

export function memoryTarget(system: MemorySystem, component: string): Target<Pin> {
  return {
    rungs: [
      { id: 'set', tier: 'platform', title: 'set the version' },
      { id: 'rebuild', tier: 'restore', title: 'set it the hard way' },
    ],
    serves: ['stopped', 'redeployed'],
    observe: async (): Promise<Observation> => ({
      identity: `memory:${system.name}`,
      state: { version: system.version },
      detail: null,
      summary: system.version,
      inFlight: [],
    }),
    capture: async () => ({ version: system.version, name: system.name }),
    async propose({ from, to, rung, needs }): Promise<Proposal> {
      if (from.identity !== `memory:${to.name}`) {
        const what = `the pin belongs to ${to.name}`
        return {
          ...NOTHING,
          findings: [{ level: 'blocker', code: 'other_identity', component, what, remedy: 'use its own pin' }],
        }
      }
      const differs = system.version !== to.version
      if (!differs && needs.length === 0) return NOTHING
      const step: Step = {
        id: `${component}/${rung}`,
        component,
        title: `${rung} ${component} to ${to.version}`,
        args: { to: to.version },
        limitMs: 5_000,
        retries: 1,
        estimateMs: 10,
        onUnknown: 'ask',
      }
      const node: Node = { step: step.id }
      const change = differs ? { from: system.version, to: to.version } : null
      return { ...NOTHING, change, serves: needs, steps: [step], phases: { code: node } }
    },
    async apply(step, act) {
      act.signal.throwIfAborted()
      act.guard()
      await system.onApply?.(step)
      system.version = (step.args as { to: string }).to
      system.applied[step.id] = (system.applied[step.id] ?? 0) + 1
    },
    async verify(step) {
      const said = system.onVerify?.(step)
      if (said !== undefined) return said
      const there = system.version === (step.args as { to: string }).to
      return { is: there ? 'done' : 'not-done', why: `the version is ${system.version}` }
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
