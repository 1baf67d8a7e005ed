import { statfs } from 'node:fs/promises'
import { assemble } from '../../core/assemble.ts'
import { iso } from '../../core/clock.ts'
import type { Change, Finding, Observation, Question } from '../../core/contract.ts'
import { messageOf } from '../../core/errors.ts'
import { besides, type Left } from '../../core/executor/left.ts'
import type { Looked } from '../../core/executor/world.ts'
import type { Json } from '../../core/json.ts'
import { type Candidate, negotiate } from '../../core/negotiate.ts'
import { type AcceptedLoss, type Plan, wordsHidden } from '../../core/plan.ts'
import { type Capture, person, type Release } from '../../ledger/releases.ts'
import { lackedBy } from '../../ledger/whole.ts'
import { VERSION } from '../version.ts'
import { durationsOf } from './durations.ts'
import type { Environment } from './environment.ts'
import { hookSteps } from './hooks.ts'
import { leftServed } from './left-served.ts'
import { type Observed, observeAll } from './observe.ts'
import { current } from './standing.ts'
import type { Targets } from './targets.ts'

export interface PlanRequest {
  readonly release: Release
  readonly capture: Capture
  readonly mode: 'full' | 'emergency'
  readonly parent: string | null
  readonly exclude: readonly { component: string; rung: string }[]
  readonly accepted: readonly AcceptedLoss[] | null
  readonly signal: AbortSignal
  /** What was just observed; otherwise everything is observed for this plan. */
  readonly observed?: Observed
}

/** Observes everything and puts the plan together. Reads only. */
export async function makePlan(environment: Environment, targets: Targets, request: PlanRequest): Promise<Plan> {
  const { config } = environment
  const observed = request.observed ?? (await observeAll(environment, targets, request.signal))
  const { observations } = observed
  const problems: Finding[] = [...observed.findings]
  const candidates = await candidatesOf(environment, targets, { observed, capture: request.capture, problems })
  const { mode, exclude, signal } = request
  const { name } = request.release
  const upgradedAt = (await environment.ledger.releases.leftBy(name))?.begunAt ?? null
  const [chosen, own, from, durations] = await Promise.all([
    negotiate({ candidates, release: name, upgradedAt, mode, exclude, signal }),
    ownFindings(environment, request, observations),
    current(environment),
    durationsOf(environment),
  ])
  const { policy } = config
  const plan = assemble({
    environment: config.environment,
    mode,
    from,
    to: { release: request.release.name, capture: request.capture.id },
    parent: request.parent,
    chosen,
    findings: [...problems, ...own],
    hooks: hookSteps(config),
    gates: Object.keys(config.gates),
    verify: policy.verify,
    watch: policy.watch === undefined ? null : { gates: policy.watch.gates, forMs: policy.watch.for },
    onFailure: policy.onFailure,
    concurrency: policy.concurrency,
    headroomPercent: policy.lossHeadroom,
    accepted: request.accepted,
    configHash: config.hash,
    made: { at: iso(environment.clock.now()), by: person(), version: VERSION },
    durations,
  })
  return wordsHidden(plan)
}

interface Gathering {
  readonly observed: Observed
  readonly capture: Capture
  readonly problems: Finding[]
}

async function candidatesOf(environment: Environment, targets: Targets, gathering: Gathering): Promise<Candidate[]> {
  const { observed, capture, problems } = gathering
  const candidates: Candidate[] = []
  const left = await leftServed(environment, targets)
  for (const [id, component] of Object.entries(environment.config.components)) {
    const from = observed.observations.get(id)
    if (from === undefined) continue
    const unseen = observed.findings.some(f => f.component === id)
    const pin = unseen ? null : pinOf(environment, id, capture, problems)
    const { dependsOn, adapter } = component
    const target = await targets.get(id)
    const [owed, missing] = [left.get(id), capture.missing?.[id]]
    const told = { ...(owed && { left: owed }), ...(missing === undefined ? {} : { missing }) }
    candidates.push({ id, adapter: adapter.kind, dependsOn, target, from, pin, ...told })
  }
  return candidates
}

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
      .map(async l => ({ id: l.component, would: await wouldBesides(l, plan, all, asked) })),
  )
  const found = [
    ...blockers.map(f => f.what),
    ...chosen.flatMap(({ candidate: { id, from }, proposal: { change } }) => [
      ...(change === null || change.fewer === true ? [] : [stillGoes(id, change)]),
      ...from.inFlight.map(op => `${id}: ${op.what} goes on`),
    ]),
    ...parts.flatMap(({ id, would }) => (would === null || would.length === 0 ? [] : [stillOf(id, would)])),
  ]
  const more = chosen.flatMap(({ candidate: { id }, proposal: { change } }) =>
    change?.fewer === true ? [{ component: id, text: moreOf(id, release.name, change) }] : [],
  )
  return { found, mute: parts.filter(({ would }) => would === null).map(({ id }) => id), more }
}

function moreOf(id: string, release: string, { from, to }: Change): string {
  return `${id} is on ${release} ("${to}") and has more of it than that had: "${from}"; it is left so`
}

function stillGoes(id: string, { from, to }: { from: string; to: string }): string {
  if (from !== to) return `${id} would still go from "${from}" to "${to}"`
  return `${id} reads "${to}" as it did then, and something else of its state differs: it would still be taken back`
}

/** By their titles, the steps that a component left in part would still take besides that. Null: it does not say. */
async function wouldBesides(
  left: Left,
  { components }: Plan,
  candidates: readonly Candidate[],
  asked: Pick<Question<Json>, 'release' | 'upgradedAt' | 'mode' | 'signal'>,
): Promise<string[] | null> {
  const candidate = candidates.find(c => c.id === left.component)
  const rung = components.find(c => c.id === left.component)?.rung
  if (candidate === undefined || candidate.pin === null || rung === undefined) return null
  try {
    const { from, pin: to, target } = candidate
    const { change, steps, phases, findings } = await target.propose({
      ...asked,
      from,
      to,
      rung,
      needs: [],
      dependents: [],
      dependencies: [],
    })
    if (findings.some(f => f.level === 'blocker')) return null
    const ids = change === null ? [] : besides(left, phases)
    return steps.filter(({ id }) => ids.includes(id)).map(({ title }) => title)
  } catch {
    asked.signal.throwIfAborted()
    return null
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

/** The component's pin, checked; null with a finding where there is none that can be used. */
export function pinOf(environment: Environment, id: string, capture: Capture, problems: Finding[]): Json | null {
  const record = capture.components[id]
  const adapter = environment.config.components[id]?.adapter
  if (record === undefined || adapter === undefined) return null
  const blocker = (code: string, what: string, remedy: string): null => {
    problems.push({ level: 'blocker', code, component: id, what, remedy })
    return null
  }
  if (record.adapter !== adapter.kind) {
    const what = `${id} was captured as ${record.adapter} and is now ${adapter.kind}`
    return blocker('adapter_changed', what, 'put the adapter back in backout.yaml, or capture a release anew')
  }
  if (record.pinVersion !== adapter.pinVersion) {
    const what = `the pin of ${id} has version ${record.pinVersion}, this Backout reads ${adapter.pinVersion}`
    return blocker('pin_version', what, 'use the version of Backout that captured it')
  }
  const parsed = adapter.pin.safeParse(record.pin)
  if (parsed.success) return parsed.data as Json
  return blocker('pin_invalid', `the pin of ${id} cannot be read: ${messageOf(parsed.error)}`, 'choose another release')
}

/** What counts is the whole one: what was changed, or written, between the two is not gone back to. */
function newerInPart({ config }: Environment, { name, captures }: Release, capture: Capture): string | null {
  const has = Object.keys(config.components).filter(id => capture.components[id] !== undefined)
  const newer = captures.find(c => c.at > capture.at && lackedBy(c, has).length > 0)
  if (newer === undefined) return null
  const lacks = lackedBy(newer, has).join(', ')
  return `a newer capture of ${name}, ${newer.id} of ${newer.at}, lacks ${lacks}, so the whole one of ${capture.at} counts, with the backups of then`
}

const FREE_BYTES = 100 * 1024 * 1024

async function ownFindings(
  environment: Environment,
  request: PlanRequest,
  observations: ReadonlyMap<string, Observation>,
): Promise<Finding[]> {
  const { release, capture } = request
  const out: Finding[] = []
  const add = (level: Finding['level'], code: string, what: string, remedy: string) =>
    out.push({ level, code, component: null, what, remedy })
  if (release.state === 'bad') {
    const remedy = `choose another release, or, where that was a mistake: backout release mark ${release.name} known-good --why …`
    add(
      'blocker',
      'release_bad',
      `${release.name} is marked bad: ${release.marks.at(-1)?.why ?? 'no reason given'}`,
      remedy,
    )
  }
  if (capture.environment !== environment.config.environment) {
    const what = `${release.name} was captured in ${capture.environment}, and this is ${environment.config.environment}`
    add('blocker', 'other_environment', what, 'choose a release that was captured here')
  }
  if (release.state === 'captured' && capture.purpose === 'release') {
    const remedy = `if you know it to be good: backout release mark ${release.name} known-good`
    add(
      'warning',
      'release_not_known_good',
      `${release.name} was captured, but nobody has said that it is good`,
      remedy,
    )
  }
  const partial = newerInPart(environment, release, capture)
  if (partial !== null)
    add('warning', 'newer_in_part', partial, `to see what the others were then: backout release show ${release.name}`)
  const open = (await environment.ledger.releases.upgrades()).at(-1)
  if (open !== undefined && open.endedAt === null && open.undoneAt === null) {
    const what = `the upgrade to ${open.to}, begun ${open.begunAt}, was never told to have ended`
    add('warning', 'upgrade_open', what, 'make sure that no deployment is still running')
  }
  for (const { name, altered } of await environment.ledger.releases.list({ departures: true })) {
    if (altered.length === 0) continue
    const remedy = 'put it back from a copy of the home, or capture again; and find out who changed it'
    add('warning', 'release_altered', `${name} is not gone back to: ${altered.join('; ')}`, remedy)
  }
  if (process.env['BACKOUT_HOME'] === undefined || process.env['BACKOUT_HOME'] === '') {
    const what = `only this machine's ${environment.home} is protected by the lock, and lost with this machine`
    add('note', 'home_is_local', what, 'where several people or CI go back, let them share one: home: ssh://HOST/PATH')
  }
  const disk = await statfs(environment.home).catch(() => null)
  if (disk !== null && disk.bavail * disk.bsize < FREE_BYTES) {
    const mib = Math.floor((disk.bavail * disk.bsize) / 1024 / 1024)
    add(
      'blocker',
      'disk_full',
      `only ${mib} MiB are free where ${environment.home} lies`,
      'make room: 100 MiB at least',
    )
  }
  for (const id of Object.keys(capture.components)) {
    if (observations.has(id)) continue
    add(
      'warning',
      'component_gone',
      `${id} was captured with ${release.name} and is no longer in backout.yaml`,
      'take it back by hand',
    )
  }
  return out
}
