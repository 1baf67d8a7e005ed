import type { Finding, Need, Observation, Proposal, Rung, Target } from './contract.ts'
import { NOTHING } from './contract.ts'
import { BackoutError, messageOf } from './errors.ts'
import { Graph } from './graph.ts'
import type { Json } from './json.ts'
import type { ComponentId } from './words.ts'

/** One component as the planner sees it. */
export interface Candidate {
  readonly id: ComponentId
  readonly adapter: string
  readonly dependsOn: readonly ComponentId[]
  readonly target: Pick<Target<Json>, 'rungs' | 'serves' | 'propose'>
  readonly from: Observation
  /** null: the release has no pin of it, so it is left as it is. */
  readonly pin: Json | null
}

export interface Request {
  readonly candidates: readonly Candidate[]
  readonly release: string
  readonly mode: 'full' | 'emergency'
  /** Rungs that were tried and failed. */
  readonly exclude: readonly { component: ComponentId; rung: string }[]
  readonly signal: AbortSignal
}

/** What a component will do, by which rung, and why not by a gentler one. */
export interface Chosen {
  readonly candidate: Candidate
  readonly rung: Rung
  readonly fallbacks: readonly string[]
  readonly proposal: Proposal
  readonly rejected: readonly { rung: string; why: string }[]
}

/** All that one negotiation knows. */
interface Table {
  readonly request: Request
  readonly graph: Graph
  readonly standing: Map<ComponentId, Standing>
}

interface Standing {
  readonly candidate: Candidate
  readonly ladder: readonly Rung[]
  at: number
  proposal: Proposal
  rejected: { rung: string; why: string }[]
  /** Every rung was refused: the findings of the gentlest stand as the plan's blockers. */
  stuck: Finding[] | null
}

/**
 * Finds the gentlest rungs that work together: a component that is asked for something proposes again, a rung that is
 * refused or whose needs nobody serves gives way to the next, until nothing new is asked. Reads only.
 */
export async function negotiate(request: Request): Promise<Chosen[]> {
  const standing = new Map(request.candidates.map(c => [c.id, begin(c, request)]))
  const table: Table = { request, graph: new Graph(request.candidates), standing }
  let stale = [...standing.keys()]
  let asked = new Map<ComponentId, Need[]>()
  const limit = 20 + [...standing.values()].reduce((sum, s) => sum + s.ladder.length * 8, 0)
  for (let round = 0; stale.length > 0; round++) {
    if (round > limit) {
      throw new BackoutError({
        code: 'no_agreement',
        what: `The components ${stale.join(', ')} keep asking one another`,
      })
    }
    await Promise.all(stale.map(id => propose(table, id, asked.get(id) ?? [])))
    const after = needsByAsked(standing)
    stale = [...standing.keys()].filter(id => textOf(asked.get(id)) !== textOf(after.get(id)))
    asked = after
    if (stale.length > 0) continue
    stale = unserved(standing)
    if (stale.length > 0) asked = needsByAsked(standing)
  }
  return [...standing.values()].map(finish)
}

function begin(candidate: Candidate, { exclude }: Request): Standing {
  const gone = new Set(exclude.filter(e => e.component === candidate.id).map(e => e.rung))
  const ladder = candidate.target.rungs.filter(r => !gone.has(r.id))
  const rejected = [...gone].map(rung => ({ rung, why: 'it was tried in this run and failed' }))
  return { candidate, ladder, at: 0, proposal: NOTHING, rejected, stuck: null }
}

async function propose(table: Table, id: ComponentId, needs: readonly Need[]): Promise<void> {
  const standing = table.standing.get(id)
  if (standing === undefined || standing.candidate.pin === null) return
  for (;;) {
    const rung = standing.ladder[standing.at]
    if (rung === undefined) {
      standing.stuck ??= [noRung(standing)]
      standing.proposal = NOTHING
      return
    }
    standing.proposal = await ask(table, standing, rung, needs)
    const blockers = standing.proposal.findings.filter(f => f.level === 'blocker')
    if (blockers.length === 0) return
    reject(standing, rung, blockers)
  }
}

function reject(standing: Standing, rung: Rung, blockers: readonly Finding[]): void {
  standing.rejected.push({ rung: rung.id, why: blockers.map(b => b.what).join('; ') })
  if (standing.at === 0) standing.stuck = [...blockers]
  standing.at++
}

function noRung({ candidate, rejected }: Standing): Finding {
  return {
    level: 'blocker',
    code: 'no_rung_left',
    component: candidate.id,
    what: `${candidate.id} has no way back left: ${rejected.map(r => `${r.rung} (${r.why})`).join(', ') || 'it knows none'}`,
    remedy: 'fix forward, or bring it back by hand and leave it out of backout.yaml for this run',
  }
}

async function ask(table: Table, standing: Standing, rung: Rung, needs: readonly Need[]): Promise<Proposal> {
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
      dependents: serving(graph.dependents(candidate.id)),
      dependencies: serving(graph.dependencies(candidate.id)),
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

/** Who is asked for what, each list in one order. */
function needsByAsked(standing: Map<ComponentId, Standing>): Map<ComponentId, Need[]> {
  const out = new Map<ComponentId, Need[]>()
  // Sorted by bytes, which do not depend on the language of the machine.
  for (const by of [...standing.keys()].sort()) {
    const needs = standing.get(by)?.proposal.needs ?? []
    for (const { of, what } of needs.toSorted((a, b) => (a.what < b.what ? -1 : a.what > b.what ? 1 : 0))) {
      const list = out.get(of)
      if (list === undefined) out.set(of, [{ of, what, by }])
      else list.push({ of, what, by })
    }
  }
  return out
}

function keyOf(need: Need): string {
  return `${need.by} ${need.what}`
}

function textOf(needs: readonly Need[] | undefined): string {
  return needs === undefined ? '' : needs.map(keyOf).join('\n')
}

/** Gives up the rungs whose needs nobody serves. Returns the components that have to propose again. */
function unserved(all: Map<ComponentId, Standing>): ComponentId[] {
  const again = new Set<ComponentId>()
  const served = new Set<string>()
  for (const [id, s] of all) for (const need of s.proposal.serves) served.add(`${id} ${keyOf(need)}`)
  for (const need of [...needsByAsked(all).values()].flat()) {
    const asker = all.get(need.by)
    const rung = asker?.ladder[asker.at]
    if (asker === undefined || rung === undefined || again.has(need.by)) continue
    if (served.has(`${need.of} ${keyOf(need)}`)) continue
    reject(asker, rung, [
      {
        level: 'blocker',
        code: 'need_unserved',
        component: need.by,
        what: `"${rung.id}" of ${need.by} needs ${need.of} to be ${need.what}, and ${need.of} does not do that`,
        remedy: `see the findings of ${need.of}, or choose an adapter for it that can be ${need.what}`,
      },
    ])
    again.add(need.by)
  }
  return [...again]
}

function finish(s: Standing): Chosen {
  const { candidate, ladder, rejected } = s
  const rung = ladder[s.at] ?? ladder[0] ?? candidate.target.rungs[0]
  if (rung === undefined) {
    throw new BackoutError({
      code: 'adapter_without_rungs',
      what: `The adapter ${candidate.adapter} knows no way back`,
    })
  }
  const fallbacks = ladder.slice(s.at + 1).map(r => r.id)
  const exhausted = s.at >= ladder.length && candidate.pin !== null
  const proposal = exhausted ? { ...NOTHING, findings: s.stuck ?? [noRung(s)] } : s.proposal
  return { candidate, rung, fallbacks, proposal, rejected }
}
