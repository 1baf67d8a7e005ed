import type { Finding, Need, Observation, Proposal, Rung, Target } from './contract.ts'
import { NOTHING } from './contract.ts'
import { messageOf } from './errors.ts'
import type { Graph } from './graph.ts'
import type { Json } from './json.ts'
import { byText } from './order.ts'
import type { ComponentId, NeedWhat } from './words.ts'

/** One component as the planner sees it. */
export interface Candidate {
  readonly id: ComponentId
  readonly adapter: string
  readonly dependsOn: readonly ComponentId[]
  readonly target: Pick<Target<Json>, 'rungs' | 'serves' | 'propose'>
  readonly from: Observation
  /** null: the release has no pin of it, so it is left as it is. */
  readonly pin: Json | null
  /** Why there is none, where that was told at the capture. */
  readonly missing?: string
  /** What runs brought about here for others and did not take back. */
  readonly left?: readonly NeedWhat[]
}

export interface Request {
  readonly candidates: readonly Candidate[]
  readonly release: string
  readonly mode: 'full' | 'emergency'
  /** When the upgrade away from that release began; null: nobody told of one. */
  readonly upgradedAt: string | null
  /** Rungs that were tried and failed. */
  readonly exclude: readonly { component: ComponentId; rung: string }[]
  readonly signal: AbortSignal
}

/** All that one negotiation knows. */
export interface Table {
  readonly request: Request
  readonly graph: Graph
  readonly standing: Map<ComponentId, Standing>
}

export interface Refusal {
  readonly rung: string
  readonly why: string
  /** What was asked of the component when it refused; null: it hung on others, or on an earlier plan. */
  readonly asked: string | null
}

export interface Standing {
  readonly candidate: Candidate
  readonly ladder: readonly Rung[]
  at: number
  proposal: Proposal
  rejected: Refusal[]
  /** Every rung was refused: the findings of the gentlest stand as the plan's blockers. */
  stuck: Finding[] | null
}

export async function ask(table: Table, standing: Standing, rung: Rung, needs: readonly Need[]): Promise<Proposal> {
  const { candidate } = standing
  const { request, graph } = table
  const serving = (ids: ReadonlySet<ComponentId>) =>
    [...ids].map(id => ({ id, serves: table.standing.get(id)?.candidate.target.serves ?? [] }))
  try {
    return await candidate.target.propose({
      from: candidate.from,
      to: candidate.pin,
      release: request.release,
      rung: rung.id,
      needs,
      ...(candidate.left === undefined ? {} : { left: candidate.left }),
      dependents: serving(graph.dependents(candidate.id)),
      dependencies: serving(graph.dependencies(candidate.id)),
      upgradedAt: request.upgradedAt,
      mode: request.mode,
      signal: request.signal,
    })
  } catch (error) {
    request.signal.throwIfAborted()
    const what = `${candidate.id} could not say what going back would take: ${messageOf(error)}`
    const remedy = 'see to what is named there, then plan again'
    const component = candidate.id
    return { ...NOTHING, findings: [{ level: 'blocker', code: 'propose_failed', component, what, remedy }] }
  }
}

export function refuse(standing: Standing, refusal: Refusal): void {
  const others = standing.rejected.filter(r => r.rung !== refusal.rung)
  standing.rejected = [...others, refusal]
}

export function whatOf(blockers: readonly Finding[]): string {
  return blockers.map(b => b.what).join('; ')
}

/** Who is asked for what, each list in one order. `instead`: proposals that are only tried. */
export function needsByAsked(
  standing: Map<ComponentId, Standing>,
  instead: ReadonlyMap<ComponentId, Proposal> = new Map(),
): Map<ComponentId, Need[]> {
  const out = new Map<ComponentId, Need[]>()
  for (const by of inOrder(standing)) {
    const { needs } = instead.get(by) ?? standing.get(by)?.proposal ?? NOTHING
    for (const { of, what } of needs.toSorted((a, b) => byText(a.what, b.what))) {
      const list = out.get(of)
      if (list === undefined) out.set(of, [{ of, what, by }])
      else list.push({ of, what, by })
    }
  }
  return out
}

/** Sorted by bytes, which do not depend on the language of the machine. */
export function inOrder(standing: ReadonlyMap<ComponentId, Standing>): ComponentId[] {
  return [...standing.keys()].sort()
}

export type Asked = ReadonlyMap<ComponentId, readonly Need[]>

/** The components of which something else is asked now. */
export function changed({ standing }: Table, before: Asked, now: Asked): ComponentId[] {
  return [...standing.keys()].filter(id => textOf(before.get(id)) !== textOf(now.get(id)))
}

export function keyOf(need: Need): string {
  return `${need.by} ${need.what}`
}

export function textOf(needs: readonly Need[] | undefined): string {
  return needs === undefined ? '' : needs.map(keyOf).join('\n')
}

export function unservedNeeds(all: Map<ComponentId, Standing>, instead?: ReadonlyMap<ComponentId, Proposal>): Need[] {
  const served = new Set<string>()
  for (const [id, { proposal }] of all) {
    for (const need of (instead?.get(id) ?? proposal).serves) served.add(`${id} ${keyOf(need)}`)
  }
  const needs = [...needsByAsked(all, instead).values()].flat()
  return needs.filter(need => !served.has(`${need.of} ${keyOf(need)}`))
}
