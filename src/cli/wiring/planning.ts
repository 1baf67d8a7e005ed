import { statfs } from 'node:fs/promises'
import { assemble } from '../../core/assemble.ts'
import { iso } from '../../core/clock.ts'
import type { Finding, Observation } from '../../core/contract.ts'
import { messageOf } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { type Candidate, negotiate } from '../../core/negotiate.ts'
import { type AcceptedLoss, type Plan, wordsHidden } from '../../core/plan.ts'
import { type Capture, orderOf, person, type Release } from '../../ledger/releases.ts'
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

export async function candidatesOf(
  environment: Environment,
  targets: Targets,
  gathering: Gathering,
): Promise<Candidate[]> {
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
  const newer = captures.find(c => orderOf(c) > orderOf(capture) && lackedBy(c, has).length > 0)
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
