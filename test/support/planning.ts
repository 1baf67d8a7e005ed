import { type AssembleInput, assemble } from '../../src/core/assemble.ts'
import type { Loss, Need, Observation, Proposal, Question, Rung, Step } from '../../src/core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import { type Candidate, type Chosen, negotiate, type Request } from '../../src/core/negotiate.ts'
import type { Plan } from '../../src/core/plan.ts'
import type { NeedWhat, Phase } from '../../src/core/words.ts'
import { stepOf } from './scripted.ts'

export type Ask = Pick<Question<Json>, 'rung' | 'needs' | 'mode' | 'dependents' | 'dependencies' | 'upgradedAt'>

/** A component for the planner, made of what it answers to each question. */
export interface Part {
  readonly id: string
  readonly dependsOn?: readonly string[]
  readonly rungs?: readonly string[]
  readonly serves?: readonly NeedWhat[]
  readonly state?: Json
  readonly captured?: boolean
  readonly inFlight?: Observation['inFlight']
  readonly propose: (ask: Ask) => Partial<Proposal>
}

const TIERS = ['leave', 'platform', 'release', 'module', 'restore'] as const

export function candidate(part: Part): Candidate {
  const rungs = (part.rungs ?? ['only']).map((id, i): Rung => ({ id, tier: TIERS[i] ?? 'restore', title: `by ${id}` }))
  return {
    id: part.id,
    adapter: 'memory',
    dependsOn: part.dependsOn ?? [],
    target: {
      rungs,
      serves: part.serves ?? [],
      propose: async question => ({ ...NOTHING, ...part.propose(question) }),
    },
    from: {
      identity: `memory:${part.id}`,
      state: part.state ?? null,
      detail: { at: performance.now() },
      summary: 'as it is',
      inFlight: part.inFlight ?? [],
    },
    pin: part.captured === false ? null : { of: part.id },
  }
}

export function agree(parts: readonly Part[], more: Partial<Request> = {}): Promise<Chosen[]> {
  const { signal } = new AbortController()
  return negotiate({
    candidates: parts.map(candidate),
    release: 'A',
    upgradedAt: null,
    mode: 'full',
    exclude: [],
    signal,
    ...more,
  })
}

export async function planOf(parts: readonly Part[], more: Partial<AssembleInput> = {}): Promise<Plan> {
  const mode = more.mode ?? 'full'
  return assemble({
    environment: 'production',
    mode,
    from: 'B',
    to: { release: 'A', capture: 'c1' },
    parent: null,
    chosen: await agree(parts, { mode }),
    findings: [],
    hooks: [],
    gates: ['healthy', 'quick'],
    verify: [],
    watch: null,
    onFailure: 'ask',
    concurrency: 10,
    headroomPercent: 10,
    accepted: null,
    configHash: 'config',
    made: { at: '2026-01-01T00:00:00.000Z', by: 'test', version: '0' },
    ...more,
  })
}

/** A proposal with one step in a phase, named by the rung. */
export function does(id: string, phase: Phase, ask: Ask, step: Partial<Step> = {}): Partial<Proposal> {
  const made = stepOf(id, ask.rung, step)
  return { change: { from: 'B', to: 'A' }, serves: ask.needs, steps: [made], phases: { [phase]: { step: made.id } } }
}

export function blocked(id: string, what: string): Partial<Proposal> {
  return { findings: [{ level: 'blocker', code: 'no_way', component: id, what, remedy: 'mend it' }] }
}

export function losing(what: string, count: number, unit = 'rows'): Partial<Proposal> {
  const loss: Loss = { what, count, unit, since: null, note: '' }
  return { impact: { ...NO_IMPACT, loss: [loss] } }
}

export const need = (of: string, what: NeedWhat): Omit<Need, 'by'> => ({ of, what })
