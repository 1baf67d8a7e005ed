import type { Finding, Impact, Loss, Node, Step } from './contract.ts'
import { hashOf } from './json.ts'
import { redact, spare } from './secret.ts'
import type { ComponentId, Phase, StepId, Tier } from './words.ts'

export const PLAN_FORMAT = 1

/** The ordered steps of one rollback. Immutable; two plans of one hash do the same to the same world. */
export interface Plan {
  readonly format: typeof PLAN_FORMAT
  readonly hash: string
  /** Hash of the plan that this one goes on from after a fall to another rung. */
  readonly parent: string | null
  readonly environment: string
  readonly mode: 'full' | 'emergency'
  /** The release that is left, as far as it is known. */
  readonly from: string | null
  readonly to: { readonly release: string; readonly capture: string }
  readonly components: readonly PlanComponent[]
  readonly steps: Readonly<Record<StepId, Step>>
  readonly phases: readonly { readonly phase: Phase; readonly node: Node; readonly estimateMs: number }[]
  /** Steps that take users to safety. */
  readonly safe: readonly StepId[]
  readonly findings: readonly Finding[]
  readonly impact: Impact
  readonly envelope: Envelope
  readonly estimateMs: number
  /** Steps whose estimate is the median of what they took in earlier runs, with how many; the others have typical values. */
  readonly measured?: Readonly<Record<StepId, number>>
  /** What an emergency leaves out. */
  readonly omitted: readonly string[]
  readonly onFailure: OnFailure
  readonly configHash: string
  readonly made: { readonly at: string; readonly by: string; readonly version: string }
}

export type OnFailure = 'ask' | 'take' | 'stop'

export interface PlanComponent {
  readonly id: ComponentId
  readonly adapter: string
  readonly rung: string
  readonly tier: Tier
  readonly title: string
  readonly change: { readonly from: string; readonly to: string } | null
  readonly dependsOn: readonly ComponentId[]
  /** Rungs that are left to fall to. */
  readonly fallbacks: readonly string[]
  /** Gentler rungs that cannot be used, and why. */
  readonly rejected: readonly { readonly rung: string; readonly why: string }[]
  /** What was observed: its identity and the hash of its state. */
  readonly observed: { readonly identity: string; readonly state: string; readonly summary: string }
}

/** What an approval allows. A successor plan inside it needs no new one. */
export interface Envelope {
  readonly rungs: Readonly<Record<ComponentId, readonly string[]>>
  readonly loss: readonly AcceptedLoss[]
}

export interface AcceptedLoss {
  readonly what: string
  readonly unit: string
  readonly max: number
  /** Whose data; where it is not said, anybody's. */
  readonly component?: ComponentId
}

/** Everything that makes a plan what it is; not what moves by itself: counts, estimates, times, wording. */
export function planHash(plan: Omit<Plan, 'hash'>): string {
  return hashOf({
    format: plan.format,
    parent: plan.parent,
    environment: plan.environment,
    mode: plan.mode,
    to: plan.to,
    components: plan.components.map(c => [c.id, c.adapter, c.rung, c.observed.identity, c.observed.state]),
    steps: Object.values(plan.steps).map(({ estimateMs: _estimate, title: _title, ...step }) => step),
    phases: plan.phases.map(({ phase, node }) => [phase, node]),
    safe: plan.safe,
    findings: plan.findings
      .filter(f => f.moves !== true || f.level === 'blocker')
      .map(findingKey)
      .toSorted(),
    envelope: plan.envelope,
    onFailure: plan.onFailure,
    omitted: plan.omitted,
    configHash: plan.configHash,
  })
}

function findingKey({ level, code, component }: Finding): string {
  return `${level} ${code} ${component ?? ''}`
}

export function blockersOf(plan: Pick<Plan, 'findings'>): Finding[] {
  return plan.findings.filter(f => f.level === 'blocker')
}

export const NOT_CAPTURED = 'not_captured'

/** Components that the plan leaves as they are, whatever that is: the release has no pin of them. */
export function uncapturedIn({ findings }: Pick<Plan, 'findings'>): ComponentId[] {
  return findings.flatMap(f => (f.code === NOT_CAPTURED && f.component !== null ? [f.component] : []))
}

/** Sees to it that what the plan calls its parts is never taken for a secret. */
export function spareNames(plan: Plan): void {
  const { hash, parent, configHash, environment, from, to, components, steps, phases, impact, envelope } = plan
  spare(Object.keys(steps), true)
  spare([hash, parent ?? hash, configHash, environment, from ?? environment, to.release, to.capture])
  spare(components.flatMap(c => [c.id, c.adapter, c.rung, ...c.fallbacks, ...c.rejected.map(r => r.rung)]))
  spare([...impact.loss, ...envelope.loss].flatMap(l => [l.what, l.unit]))
  spare(phases.flatMap(p => gatesOf(p.node)))
}

/**
 * The plan with secrets hidden in what is only read: words that targets and adapters say. What steps do and what is compared
 * stays as it is.
 */
export function wordsHidden(plan: Plan): Plan {
  spareNames(plan)
  const { components, steps, findings, impact } = plan
  return {
    ...plan,
    components: components.map(c => ({
      ...c,
      change: c.change === null ? null : { from: redact(c.change.from), to: redact(c.change.to) },
      rejected: c.rejected.map(r => ({ ...r, why: redact(r.why) })),
      observed: { ...c.observed, summary: redact(c.observed.summary) },
    })),
    steps: Object.fromEntries(Object.entries(steps).map(([id, s]) => [id, { ...s, title: redact(s.title) }])),
    findings: findings.map(f => ({ ...f, what: redact(f.what), remedy: redact(f.remedy) })),
    impact: {
      ...impact,
      loss: impact.loss.map(l => ({ ...l, note: redact(l.note) })),
      staysBehind: impact.staysBehind.map(redact),
      disappears: impact.disappears.map(redact),
    },
  }
}

function gatesOf(node: Node): string[] {
  if ('step' in node) return []
  if ('gate' in node) return [node.gate, ...(node.with ?? [])]
  return 'seq' in node ? node.seq.flatMap(gatesOf) : node.par.flatMap(item => gatesOf(item.node))
}

/** The steps that put a backup in the place of data. */
export function rewindsOf({ steps }: Pick<Plan, 'steps'>): (Step & Required<Pick<Step, 'rewinds'>>)[] {
  return Object.values(steps).flatMap(step => (step.rewinds === undefined ? [] : [{ ...step, rewinds: step.rewinds }]))
}

export function isEmpty(plan: Pick<Plan, 'steps'>): boolean {
  return Object.keys(plan.steps).length === 0
}

/** What is accepted when a plan with this loss is approved: a little more than was counted, for counts grow while people decide. */
export function acceptedFrom(loss: readonly Loss[], headroomPercent: number): AcceptedLoss[] {
  return loss.map(l => {
    const max = Math.ceil((l.count * (100 + headroomPercent)) / 100)
    return { what: l.what, unit: l.unit, max, ...(l.component === undefined ? {} : { component: l.component }) }
  })
}

export function accepts(accepted: readonly AcceptedLoss[], loss: readonly Loss[]): boolean {
  return loss.every(l => l.count === 0 || accepted.some(a => isOf(a, l) && l.count <= a.max))
}

/** True where this is what was accepted, however much of it. */
export function isOf(accepted: AcceptedLoss, loss: Loss): boolean {
  const same = accepted.what === loss.what && accepted.unit === loss.unit
  return same && (accepted.component === undefined || accepted.component === loss.component)
}

/** Why a successor plan needs an approval of its own; empty where it stays inside the envelope. */
export function beyond(envelope: Envelope, plan: Plan): string[] {
  const out: string[] = []
  for (const c of plan.components) {
    const allowed = envelope.rungs[c.id]
    if (c.change === null && !Object.values(plan.steps).some(s => s.component === c.id)) continue
    if (allowed === undefined) out.push(`${c.id} would be touched`)
    else if (!allowed.includes(c.rung)) out.push(`${c.id} would be taken back by "${c.rung}"`)
  }
  for (const { component, rewinds } of rewindsOf(plan)) {
    if (envelope.rungs[component]?.includes('restore') === true) continue
    out.push(`everything written to ${rewinds.what} since ${rewinds.since} would go`)
  }
  for (const loss of plan.impact.loss) {
    if (!accepts(envelope.loss, [loss])) out.push(`${loss.count} ${loss.unit} of ${loss.what} would be lost`)
  }
  return out
}

/** What one plan says and the other does not, of what makes a plan another one; of blockers others tell. */
function found(one: Plan, other: Plan): Finding[] {
  const known = new Set(other.findings.map(findingKey))
  return one.findings.filter(f => f.moves !== true && f.level !== 'blocker' && !known.has(findingKey(f)))
}

function changeOf(then: string, now: string): string {
  if (then !== now) return `it was "${then}", now "${now}"`
  return `it reads "${now}" as it did then, and something else of it differs (its files, its settings)`
}

/** What is different between two plans for the same release, in words. */
export function differencesOf(planned: Plan, now: Plan): string[] {
  const out: string[] = []
  for (const c of now.components) {
    const before = planned.components.find(p => p.id === c.id)
    if (before === undefined) out.push(`${c.id} is new in backout.yaml`)
    else if (before.observed.identity !== c.observed.identity) out.push(`${c.id} is now ${c.observed.identity}`)
    else if (before.observed.state !== c.observed.state) {
      out.push(`${c.id} changed: ${changeOf(before.observed.summary, c.observed.summary)}`)
    } else if (before.rung !== c.rung)
      out.push(`${c.id} would now be taken back by "${c.rung}" instead of "${before.rung}"`)
  }
  for (const b of blockersOf(now)) out.push(b.what)
  for (const f of found(now, planned)) out.push(`by now ${f.what}`)
  for (const f of found(planned, now)) out.push(`no longer so: ${f.what}`)
  for (const why of beyond(planned.envelope, now)) out.push(why)
  if (planned.configHash !== now.configHash) out.push('backout.yaml was changed')
  return out.length > 0 ? [...new Set(out)] : ['the steps are no longer the same']
}
