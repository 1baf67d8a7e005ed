import type { Change, Finding, Question, Unwell } from '../../core/contract.ts'
import { besides, type Left, phasesOf } from '../../core/executor/left.ts'
import type { Looked } from '../../core/executor/world.ts'
import type { Json } from '../../core/json.ts'
import { type Candidate, negotiate } from '../../core/negotiate.ts'
import type { Plan } from '../../core/plan.ts'
import type { Environment } from './environment.ts'
import { type Observed, observeAll } from './observe.ts'
import { candidatesOf, type PlanRequest } from './planning.ts'
import type { Targets } from './targets.ts'

export interface EndRequest extends Pick<PlanRequest, 'release' | 'capture' | 'exclude' | 'signal'> {
  readonly plan: Plan
  readonly left: readonly Left[]
}

/**
 * What going to the release would still change, observed now; empty where it is there. Data that a backup was put in the place
 * of is observed alone: what users wrote since they are back is no reason to do it again.
 */
export async function unprovenOf(environment: Environment, targets: Targets, request: EndRequest): Promise<Looked> {
  const { plan, release, capture, exclude, left, signal } = request
  const observed = await observeAll(environment, targets, signal)
  const problems: Finding[] = [...observed.findings]
  const restored = new Set(plan.components.filter(c => c.tier === 'restore').map(c => c.id))
  const all = await candidatesOf(environment, targets, { observed, capture, problems })
  const replaced = replacedSince(plan, observed)
  const inPart = (id: string) => left.some(l => l.component === id)
  const out = (id: string) => restored.has(id) || replaced.has(id)
  const candidates = all.map(c => (out(c.id) || inPart(c.id) ? { ...c, pin: null } : c))
  const upgradedAt = (await environment.ledger.releases.leftBy(release.name))?.begunAt ?? null
  // What an emergency leaves out, such as reading whole releases, tells nothing of what would change.
  const asked = { release: release.name, upgradedAt, mode: 'emergency' as const, signal }
  const chosen = (await negotiate({ ...asked, candidates, exclude })).filter(({ candidate }) => candidate.pin !== null)
  const blockers = [...problems, ...chosen.flatMap(({ proposal }) => proposal.findings)].filter(
    f => f.level === 'blocker' && !inPart(f.component ?? ''),
  )
  const parts = await Promise.all(
    left
      .filter(l => !out(l.component))
      .map(async l => ({ id: l.component, ...(await besidesLeft(l, plan, all, asked)) })),
  )
  const found: Found[] = [
    ...blockers.map(f => ({ text: f.what })),
    ...chosen.flatMap(({ candidate: { id, from }, proposal: { change, unwell = [] } }) => {
      const ill = unwell.map(one => unwellOn(id, release.name, one))
      // What follows by itself is told by how far it is.
      if (change?.coming === true && ill.length > 0) return ill
      const goesOn = from.inFlight.map(op => ({ text: `${id}: ${op.what} goes on` }))
      return [...(isThere(change) ? [] : [{ text: stillGoes(id, change) }]), ...ill, ...goesOn]
    }),
    ...parts.flatMap(({ id, would, unwell }) => [
      ...(would === null || would.length === 0 ? [] : [{ text: stillOf(id, would) }]),
      ...unwell.map(one => unwellOn(id, release.name, one)),
    ]),
  ]
  const more = chosen.flatMap(({ candidate: { id }, proposal: { change } }) =>
    change?.fewer === true ? [{ component: id, text: moreOf(id, release.name, change) }] : [],
  )
  const mute = parts.filter(({ would }) => would === null).map(({ id }) => id)
  return { found: found.map(({ text }) => text), ...timeFor(found), mute, more }
}

interface Found {
  readonly text: string
  readonly mayTakeMs?: number
}

/** Waiting helps only where it helps all of it. */
function timeFor(found: readonly Found[]): Pick<Looked, 'mayTakeMs'> {
  const times = found.flatMap(({ mayTakeMs }) => mayTakeMs ?? [])
  return times.length === 0 || times.length < found.length ? {} : { mayTakeMs: Math.max(...times) }
}

function moreOf(id: string, release: string, { from, to }: Change): string {
  return `${id} is on ${release} ("${to}") and has more of it than that had: "${from}"; it is left so`
}

/** Nothing of it is another release. */
function isThere(change: Change | null): change is null | (Change & { fewer: true }) {
  return change === null || change.fewer === true
}

function unwellOn(id: string, release: string, { why, mayTakeMs }: Unwell): Found {
  if (mayTakeMs === undefined) return { text: `${id} is on ${release} and does not run as it should: ${why}` }
  return { text: `${id} is on ${release}, and not all of it is up yet: ${why}`, mayTakeMs }
}

function stillGoes(id: string, { from, to }: { from: string; to: string }): string {
  if (from !== to) return `${id} would still go from "${from}" to "${to}"`
  return `${id} reads "${to}" as it did then, and something else of its state differs: it would still be taken back`
}

interface Besides {
  /** By their titles, the steps that would still be taken. Null: it does not say. */
  readonly would: readonly string[] | null
  readonly unwell: readonly Unwell[]
}

/** What of a component that was left in part is not as it should be, besides what was left. */
async function besidesLeft(
  left: Left,
  plan: Plan,
  candidates: readonly Candidate[],
  asked: Pick<Question<Json>, 'release' | 'upgradedAt' | 'mode' | 'signal'>,
): Promise<Besides> {
  const mute = { would: null, unwell: [] }
  const candidate = candidates.find(c => c.id === left.component)
  const rung = plan.components.find(c => c.id === left.component)?.rung
  if (candidate === undefined || candidate.pin === null || rung === undefined) return mute
  try {
    const { from, pin: to, target } = candidate
    const {
      change,
      steps,
      phases,
      findings,
      unwell = [],
    } = await target.propose({
      ...asked,
      from,
      to,
      rung,
      needs: [],
      dependents: [],
      dependencies: [],
    })
    if (findings.some(f => f.level === 'blocker')) return mute
    const ids = change === null ? [] : besides(left, phases)
    const done = besides(left, phasesOf(plan, left.component))
    return {
      would: steps.filter(({ id }) => ids.includes(id)).map(({ title }) => title),
      unwell: unwell.filter(({ step }) => plan.steps[step] === undefined || done.includes(step)),
    }
  } catch {
    asked.signal.throwIfAborted()
    return mute
  }
}

const NAMED = 5

function stillOf(id: string, titles: readonly string[]): string {
  const more = titles.length > NAMED ? ` and ${titles.length - NAMED} steps more` : ''
  return `${id} would still ${titles.slice(0, NAMED).join(', ')}${more}`
}

/**
 * Components that are another system than the run began on: nobody takes a run over there who does not say that it is the right
 * one, and the release's pin, which is of the one before, tells nothing of it.
 */
function replacedSince({ components }: Plan, { observations }: Observed): ReadonlySet<string> {
  const others = components.filter(({ id, observed: { identity: then } }) => {
    const now = observations.get(id)?.identity
    return now !== undefined && now !== 'unknown' && then !== 'unknown' && now !== then
  })
  return new Set(others.map(c => c.id))
}
