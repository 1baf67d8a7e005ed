import type { Finding, Need, Proposal, Rung } from './contract.ts'
import { NOTHING } from './contract.ts'
import { BackoutError } from './errors.ts'
import { climbDown } from './gentler.ts'
import { Graph } from './graph.ts'
import {
  ask,
  type Candidate,
  changed,
  needsByAsked,
  type Refusal,
  type Request,
  refuse,
  type Standing,
  type Table,
  textOf,
  unservedNeeds,
  whatOf,
} from './table.ts'
import type { ComponentId } from './words.ts'

export type { Candidate, Request } from './table.ts'

/** What a component will do, by which rung, and why not by a gentler one. */
export interface Chosen {
  readonly candidate: Candidate
  readonly rung: Rung
  readonly fallbacks: readonly string[]
  readonly proposal: Proposal
  readonly rejected: readonly { rung: string; why: string }[]
}

/**
 * Finds rungs that work together: a component that is asked for something proposes again, a rung that is refused or whose
 * needs nobody serves gives way to the next, until nothing new is asked. Then what was given up for the sake of others is
 * tried again: in the end no component could take a gentler rung with the others as they are. Reads only.
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
    stale = changed(table, asked, after)
    asked = after
    if (stale.length > 0) continue
    stale = unserved(standing)
    if (stale.length > 0) asked = needsByAsked(standing)
  }
  await climbDown(table)
  return [...standing.values()].map(finish)
}

function begin(candidate: Candidate, { exclude }: Request): Standing {
  const gone = new Set(exclude.filter(e => e.component === candidate.id).map(e => e.rung))
  const ladder = candidate.target.rungs.filter(r => !gone.has(r.id))
  const rejected = [...gone].map(rung => ({ rung, why: 'it was tried in this run and failed', asked: null }))
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
    reject(standing, rung, blockers, textOf(needs))
  }
}

function reject(standing: Standing, rung: Rung, blockers: readonly Finding[], asked: string | null): void {
  refuse(standing, { rung: rung.id, why: whatOf(blockers), asked })
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

/** Gives up the rungs whose needs nobody serves. Returns the components that have to propose again. */
function unserved(all: Map<ComponentId, Standing>): ComponentId[] {
  const again = new Set<ComponentId>()
  for (const need of unservedNeeds(all)) {
    const asker = all.get(need.by)
    const rung = asker?.ladder[asker.at]
    if (asker === undefined || rung === undefined || again.has(need.by)) continue
    reject(asker, rung, [needUnserved(need, rung)], null)
    again.add(need.by)
  }
  return [...again]
}

function needUnserved({ of, what, by }: Need, rung: Rung): Finding {
  return {
    level: 'blocker',
    code: 'need_unserved',
    component: by,
    what: `"${rung.id}" of ${by} needs ${of} to be ${what}, and ${of} does not do that`,
    remedy: `see the findings of ${of}, or choose an adapter for it that can be ${what}`,
  }
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
  const harder = new Set(ladder.slice(s.at).map(r => r.id))
  const exhausted = s.at >= ladder.length && candidate.pin !== null
  const proposal = exhausted ? { ...NOTHING, findings: s.stuck ?? [noRung(s)] } : s.proposal
  const why = rejected.filter(r => !harder.has(r.rung)).toSorted(byLadder(candidate.target.rungs))
  return { candidate, rung, fallbacks, proposal, rejected: why.map(r => ({ rung: r.rung, why: r.why })) }
}

/** In the order of the ladder, in which they were tried; what is no rung of it comes first. */
function byLadder(rungs: readonly Rung[]): (a: Refusal, b: Refusal) => number {
  const at = (refusal: Refusal) => rungs.findIndex(r => r.id === refusal.rung)
  return (a, b) => at(a) - at(b)
}
