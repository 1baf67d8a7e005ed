import type { Change, Finding, Impact, Node, Step } from './contract.ts'
import { BackoutError } from './errors.ts'
import { type Durations, estimate, measured, type StepLookup } from './estimate.ts'
import { Graph } from './graph.ts'
import { hashOf } from './json.ts'
import type { Chosen } from './negotiate.ts'
import {
  type AcceptedLoss,
  acceptedFrom,
  accepts,
  type Envelope,
  NOT_CAPTURED,
  type OnFailure,
  PLAN_FORMAT,
  type Plan,
  planHash,
} from './plan.ts'
import { type ComponentId, PHASES, type Phase, REVERSED, type StepId } from './words.ts'

export interface AssembleInput {
  readonly environment: string
  readonly mode: 'full' | 'emergency'
  readonly from: string | null
  readonly to: { release: string; capture: string }
  readonly parent: string | null
  readonly chosen: readonly Chosen[]
  /** Findings that belong to no proposal: upgrade still open, disk nearly full. */
  readonly findings: readonly Finding[]
  /** Steps around phases that the user's own hooks ask for. */
  readonly hooks: readonly { phase: Phase; when: 'before' | 'after'; step: Step }[]
  /** Names of the gates that there are. */
  readonly gates: readonly string[]
  readonly verify: readonly string[]
  readonly watch: { readonly gates: readonly string[]; readonly forMs: number } | null
  readonly onFailure: OnFailure
  readonly concurrency: number
  readonly headroomPercent: number
  /** What was accepted before; kept while the loss measured now stays within it. */
  readonly accepted: readonly AcceptedLoss[] | null
  readonly configHash: string
  readonly made: Plan['made']
  /** What the same steps took in earlier runs, where that is known. */
  readonly durations?: Durations
}

/** Puts proposals together into one plan. Pure: the same input gives the same hash. */
export function assemble(input: AssembleInput): Plan {
  const emergency = input.mode === 'emergency'
  const acting = input.chosen.filter(c => c.proposal.steps.length > 0)
  const hooks = emergency || acting.length === 0 ? [] : input.hooks
  const typical = collect([...acting.flatMap(c => c.proposal.steps), ...hooks.map(h => h.step)])
  const { steps, counts } = timed(typical, input.durations)
  const safe = acting.flatMap(c => c.proposal.safe)
  const lookup: StepLookup = id => steps[id]
  const graph = new Graph(input.chosen.map(c => c.candidate))
  const phases =
    acting.length === 0 ? [] : PHASES.flatMap(phase => phaseOf(phase, input, acting, graph, hooks, safe, lookup))
  const impact = impactOf(input.chosen, phases)
  const plan: Omit<Plan, 'hash'> = {
    format: PLAN_FORMAT,
    parent: input.parent,
    environment: input.environment,
    mode: input.mode,
    from: input.from,
    to: input.to,
    components: input.chosen.map(componentOf),
    steps,
    phases,
    safe,
    findings: [
      ...input.findings,
      ...input.chosen.flatMap(c => findingsOf(c, input.findings)),
      ...unknownGates(phases, input.gates),
    ],
    impact,
    envelope: envelopeOf(input, acting, impact),
    estimateMs: phases.reduce((sum, p) => sum + p.estimateMs, 0),
    measured: counts,
    omitted: emergency ? [...acting.flatMap(c => c.proposal.omits), ...omittedBy(input)] : [],
    onFailure: input.onFailure,
    configHash: input.configHash,
    made: input.made,
  }
  return { ...plan, hash: planHash(plan) }
}

function collect(steps: readonly Step[]): Record<StepId, Step> {
  const out: Record<StepId, Step> = {}
  for (const step of steps) {
    if (out[step.id] !== undefined) {
      throw new BackoutError({
        code: 'step_twice',
        what: `Two components propose the step ${step.id}`,
        exit: 'internal',
      })
    }
    out[step.id] = step
  }
  return out
}

/** The steps with what they took in earlier runs instead of the typical time of their adapter, where that is known. */
function timed(
  typical: Readonly<Record<StepId, Step>>,
  durations: Durations = new Map(),
): { steps: Record<StepId, Step>; counts: Record<StepId, number> } {
  const steps: Record<StepId, Step> = {}
  const counts: Record<StepId, number> = {}
  for (const [id, step] of Object.entries(typical)) {
    const known = measured(durations.get(id))
    steps[id] = known === null ? step : { ...step, estimateMs: known.ms }
    if (known !== null) counts[id] = known.of
  }
  return { steps, counts }
}

function phaseOf(
  phase: Phase,
  input: AssembleInput,
  acting: readonly Chosen[],
  graph: Graph,
  hooks: AssembleInput['hooks'],
  safe: readonly StepId[],
  lookup: StepLookup,
): Plan['phases'] {
  const own = acting.filter(c => c.proposal.phases[phase] !== undefined)
  const nodes: Node[] = []
  if (own.length > 0) nodes.push(parallel(phase, own, graph, input.concurrency))
  nodes.push(...gatesOf(phase, input, safe))
  const around = (when: 'before' | 'after'): Node[] =>
    hooks.filter(h => h.phase === phase && h.when === when).map(h => ({ step: h.step.id }))
  const all = [...around('before'), ...nodes, ...around('after')]
  if (all.length === 0) return []
  const node: Node = all.length === 1 && all[0] !== undefined ? all[0] : { seq: all }
  return [{ phase, node, estimateMs: estimate(node, lookup) }]
}

function gatesOf(phase: Phase, input: AssembleInput, safe: readonly StepId[]): Node[] {
  if (phase === 'verify') {
    const onFail = { apply: [], then: thenOf(input.onFailure) } as const
    return input.verify.map(gate => ({ gate, forMs: 0, onFail }))
  }
  if (phase !== 'watch' || input.watch === null || input.mode === 'emergency') return []
  const { gates, forMs } = input.watch
  const [gate, ...more] = gates
  if (gate === undefined) return []
  // One after the other would leave the first unwatched while the second is.
  const others = more.length === 0 ? {} : { with: more }
  return [{ gate, ...others, forMs, onFail: { apply: safe, then: 'ask' } }]
}

function thenOf(policy: OnFailure): 'ask' | 'next-rung' | 'stop' {
  return policy === 'take' ? 'next-rung' : policy
}

/** The components of a phase, each after those it depends on (or, in drain and stop, after those that depend on it). */
function parallel(phase: Phase, own: readonly Chosen[], graph: Graph, limit: number): Node {
  const ids = own.map(c => c.candidate.id)
  const before = (id: ComponentId): ComponentId[] => {
    const first = REVERSED.has(phase) ? graph.dependents(id) : graph.dependencies(id)
    return first.size === 0 ? [] : ids.filter(other => first.has(other))
  }
  const items = own.flatMap(({ candidate: { id }, proposal }) => {
    const node = proposal.phases[phase]
    return node === undefined ? [] : [{ id, after: before(id), node }]
  })
  return { par: items, limit, maxFailures: 0 }
}

/** A plan has no use for what kind of change it is. */
function wordsOf(change: Change | null): Plan['components'][number]['change'] {
  return change === null ? null : { from: change.from, to: change.to }
}

function componentOf(c: Chosen): Plan['components'][number] {
  const { id, adapter, dependsOn, from } = c.candidate
  return {
    id,
    adapter,
    rung: c.rung.id,
    tier: c.rung.tier,
    title: c.rung.title,
    change: wordsOf(c.proposal.change),
    dependsOn,
    fallbacks: c.fallbacks,
    rejected: c.rejected,
    observed: { identity: from.identity, state: hashOf(from.state), summary: from.summary },
  }
}

function findingsOf({ candidate, proposal }: Chosen, problems: readonly Finding[]): Finding[] {
  const inFlight = candidate.from.inFlight.map((op): Finding => {
    const what = `${candidate.id}: ${op.what} is still going on${op.since === null ? '' : ` since ${op.since}`}`
    const finding = { component: candidate.id, what }
    if (proposal.settles?.includes(op.what) === true) {
      return { ...finding, level: 'warning', code: 'in_flight_settled', remedy: 'none: the plan sees to it first' }
    }
    const remedy = 'wait until it has ended, or stop it, then plan again'
    return { ...finding, level: 'blocker', code: 'in_flight', remedy }
  })
  if (candidate.pin !== null) return [...inFlight, ...proposal.findings]
  // One that cannot be asked, or whose pin cannot be read, may well have been captured.
  if (problems.some(f => f.component === candidate.id && f.level === 'blocker')) return inFlight
  const why = candidate.missing === undefined ? '' : ` (${candidate.missing})`
  return [
    {
      level: 'warning',
      code: NOT_CAPTURED,
      component: candidate.id,
      what: `${candidate.id} was not captured with this release${why}, so it is left as it is (${candidate.from.summary})`,
      remedy: 'take it back by hand if it changed; capture releases after every change of backout.yaml',
    },
  ]
}

/** A gate that nobody defined would hold the run in the middle: better not to begin. */
function unknownGates(phases: Plan['phases'], known: readonly string[]): Finding[] {
  const named = new Set(phases.flatMap(p => gatesIn(p.node)))
  return [...named]
    .filter(gate => !known.includes(gate))
    .map(gate => ({
      level: 'blocker',
      code: 'gate_unknown',
      component: null,
      what: `the gate "${gate}" is asked for and is not defined`,
      remedy:
        known.length === 0 ? 'define it under gates:' : `define it under gates:, or use one of ${known.join(', ')}`,
    }))
}

function gatesIn(node: Node): string[] {
  if ('gate' in node) return [node.gate, ...(node.with ?? [])]
  if ('step' in node) return []
  return 'seq' in node ? node.seq.flatMap(gatesIn) : node.par.flatMap(item => gatesIn(item.node))
}

function impactOf(chosen: readonly Chosen[], phases: Plan['phases']): Impact {
  const all = chosen.map(c => c.proposal.impact)
  const from = phases.findIndex(p => p.phase === 'drain' || p.phase === 'stop')
  const until = phases.findIndex(p => p.phase === 'return')
  const away = from < 0 ? [] : phases.slice(from, until < 0 ? phases.length : until)
  return {
    downtimeMs: Math.max(
      0,
      ...all.map(i => i.downtimeMs),
      away.reduce((sum, p) => sum + p.estimateMs, 0),
    ),
    loss: chosen.flatMap(c => c.proposal.impact.loss.map(l => ({ ...l, component: c.candidate.id }))),
    staysBehind: all.flatMap(i => i.staysBehind),
    disappears: all.flatMap(i => i.disappears),
  }
}

/** Rungs that an approval covers: the chosen ones, and where the policy takes the next by itself, all but a restore. */
function envelopeOf(input: AssembleInput, acting: readonly Chosen[], impact: Impact): Envelope {
  const rungs = acting.map(({ candidate, rung, fallbacks }): [string, string[]] => {
    const allowed = candidate.target.rungs.filter(r => fallbacks.includes(r.id) && r.tier !== 'restore').map(r => r.id)
    return [candidate.id, input.onFailure === 'take' ? [rung.id, ...allowed] : [rung.id]]
  })
  const loss =
    input.accepted !== null && accepts(input.accepted, impact.loss)
      ? input.accepted
      : acceptedFrom(impact.loss, input.headroomPercent)
  return { rungs: Object.fromEntries(rungs), loss }
}

function omittedBy(input: AssembleInput): string[] {
  const out: string[] = []
  if (input.hooks.length > 0) out.push(`your hooks (${input.hooks.map(h => `${h.when} ${h.phase}`).join(', ')})`)
  if (input.watch !== null) out.push(`the watch of ${Math.round(input.watch.forMs / 1000)} s after the return`)
  return out
}
