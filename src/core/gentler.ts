import type { Proposal, Rung } from './contract.ts'
import {
  ask,
  changed,
  inOrder,
  needsByAsked,
  refuse,
  type Standing,
  type Table,
  textOf,
  unservedNeeds,
  whatOf,
} from './table.ts'
import type { ComponentId } from './words.ts'

/**
 * Tries the rungs again that were given up for what others asked or did not serve: that may have changed since, with a
 * rung that somebody else gave up later. Each one that works is taken, so that this ends.
 */
export async function climbDown(table: Table): Promise<void> {
  const ids = inOrder(table.standing)
  for (let i = 0; i < ids.length; ) {
    const id = ids[i] ?? ''
    i = (await gentler(table, id)) ? 0 : i + 1
  }
}

/** Takes the gentlest rung that works with the others as they are, where there is one below that of now. */
async function gentler(table: Table, id: ComponentId): Promise<boolean> {
  const standing = table.standing.get(id)
  if (standing === undefined || standing.candidate.pin === null) return false
  for (const [at, rung] of standing.ladder.slice(0, standing.at).entries()) {
    const asked = textOf(needsByAsked(table.standing).get(id))
    // The same question has the same answer.
    if (standing.rejected.some(r => r.rung === rung.id && r.asked === asked)) continue
    const tried = await tryRung(table, standing, rung)
    if (tried === null) continue
    standing.at = at
    for (const [other, proposal] of tried) {
      const of = table.standing.get(other)
      if (of !== undefined) of.proposal = proposal
    }
    return true
  }
  return false
}

/** How often the components may ask one another anew before a rung that is only tried is left. */
const TRIAL_ROUNDS = 20

/** What would be proposed if this component took that rung and all others kept theirs; null where it does not work. */
async function tryRung(table: Table, own: Standing, rung: Rung): Promise<ReadonlyMap<ComponentId, Proposal> | null> {
  const { standing } = table
  const tried = new Map<ComponentId, Proposal>()
  let asked = needsByAsked(standing)
  let stale = [own.candidate.id]
  for (let round = 0; stale.length > 0; round++) {
    if (round > TRIAL_ROUNDS) return null
    for (const id of stale) {
      const other = standing.get(id)
      const takes = other === own ? rung : other?.ladder[other.at]
      if (other === undefined || takes === undefined || other.candidate.pin === null) continue
      const needs = asked.get(id) ?? []
      const proposal = await ask(table, other, takes, needs)
      const blockers = proposal.findings.filter(f => f.level === 'blocker')
      if (blockers.length > 0) {
        if (other === own) refuse(own, { rung: rung.id, why: whatOf(blockers), asked: textOf(needs) })
        return null
      }
      tried.set(id, proposal)
    }
    const after = needsByAsked(standing, tried)
    stale = changed(table, asked, after)
    asked = after
  }
  return unservedNeeds(standing, tried).length > 0 ? null : tried
}
