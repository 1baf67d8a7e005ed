import type { Finding, Impact, Node, Proposal, Question, Step } from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { byText } from '../../core/order.ts'
import type { Phase } from '../../core/words.ts'
import { checked, findingOf, findingsOf, obstacles } from './ahead.ts'
import { type Difference, differences } from './compare.ts'
import { bottomUp } from './order.ts'
import { type Applications, detail, type Flight, type Pin } from './pin.ts'
import { shown } from './running.ts'
import type { Site } from './site.ts'
import { idsOf, type RungId, Steps } from './steps.ts'

interface Case {
  readonly site: Site
  readonly question: Question<Pin>
  readonly now: Applications
  /** Deployments of others that may change what is cared for. */
  readonly flights: readonly Flight[]
  /** Maintenance mode, left by an earlier run. */
  readonly held: boolean
  /** What is not as it was captured, or may not be once those have ended. */
  readonly back: readonly Difference[]
}

export async function propose(site: Site, question: Question<Pin>): Promise<Proposal> {
  const { from, to, signal } = question
  const { component } = site
  if (to.identity !== from.identity) {
    const what = `The pin of ${component} belongs to another environment: ${to.identity}, not ${from.identity}`
    const remedy = 'go back to a release captured in this one, or correct `url` and `environment`'
    return { ...NOTHING, findings: [{ level: 'blocker', code: 'other_identity', component, what, remedy }] }
  }
  const { applications: now, flights, held } = detail.parse(from.detail)
  const changed = await differences(site, now, to.applications, signal)
  const back = withFlying(changed, now, to.applications, flights)
  if (back.length === 0) return held ? letGo(site, question.rung as RungId) : NOTHING
  return proposal({ site, question, now, back, flights, held })
}

/** All is as captured, and a run that ended early left the environment in maintenance mode. */
function letGo({ config, component }: Site, rung: RungId): Proposal {
  const step = new Steps(config, component, rung).maintenance('let-go')
  return { ...NOTHING, findings: [leftHeld(component)], steps: [step], phases: { return: { step: step.id } } }
}

function leftHeld(component: string): Finding {
  const what = 'Backout holds the environment in maintenance mode, by a run that ended early or goes on'
  return findingOf(component)('warning', 'maintenance_held', what, 'none: the plan ends it')
}

/** Whatever a deployment that is going on deploys has to be looked at again once it has ended. */
function withFlying(
  changed: readonly Difference[],
  now: Applications,
  pinned: Applications,
  flights: readonly Flight[],
): Difference[] {
  const flying = (key: string) => flights.some(f => f.applications === null || f.applications.includes(key))
  const more = Object.entries(pinned).filter(([key]) => flying(key) && !changed.some(d => d.key === key))
  const added = more.map(([key, to]) => ({ key, to, now: now[key] ?? null, why: ['a deployment is going on'] }))
  return [...changed, ...added].toSorted((a, b) => byText(a.to.name, b.to.name))
}

async function proposal(c: Case): Promise<Proposal> {
  const { site, question, back } = c
  const rung = question.rung as RungId
  const steps = new Steps(site.config, site.component, rung)
  const settled = site.config.inFlight === 'refuse' ? [] : c.flights
  const { work, findings } = rung === 'solution' ? await bySolution(c, steps) : await byDeployments(c, steps, rung)
  const settle = settled.map(flight => steps.settle(flight))
  const held = site.config.maintenance !== undefined
  // Deployments do not start in it, and without the setting no step would leave it.
  const left = c.held && !held ? [steps.maintenance('let-go')] : []
  const emergency = question.mode === 'emergency' && rung !== 'solution' && site.config.checkAhead
  const phases: Partial<Record<Phase, Step[]>> = {
    preflight: [...settle, ...left, ...(held ? [steps.maintenance('hold')] : [])],
    code: [...work, ...(held ? [steps.maintenance('hold-again')] : [])],
    return: held ? [steps.maintenance('let-go')] : [],
  }
  return {
    ...NOTHING,
    change: { from: summaryOf(back.map(d => d.now)), to: summaryOf(back.map(d => d.to)) },
    findings: [
      ...findings,
      ...(await offline(c)),
      ...remarks(c, rung),
      ...waiting(c),
      ...(c.held ? [leftHeld(site.component)] : []),
    ],
    impact: impactOf(c),
    settles: settled.map(f => f.what),
    omits: emergency ? ["LifeTime's check for conflicts ahead of the start"] : [],
    steps: Object.values(phases).flat(),
    phases: Object.fromEntries(Object.entries(phases).flatMap(([phase, list]) => nodeOf(phase as Phase, list))),
  }
}

function nodeOf(phase: Phase, steps: readonly Step[]): [Phase, Node][] {
  return steps.length === 0 ? [] : [[phase, { seq: steps.map(step => ({ step: step.id })) }]]
}

interface Way {
  readonly work: readonly Step[]
  readonly findings: readonly Finding[]
}

/** Earlier versions, deployed one by one from the bottom up, or all at once. */
async function byDeployments(c: Case, steps: Steps, rung: RungId): Promise<Way> {
  const { site, question, back } = c
  const { release, signal } = question
  const findings = await obstacles(site, back, signal)
  if (rung === 'together') {
    if (findings.length === 0) findings.push(...(await lookedAhead(c, back)))
    return { work: [steps.deploy(release, back, 'together')], findings }
  }
  const names = back.map(d => d.to.name)
  const { order, unplaced, cycle } = bottomUp(names, site.config.producers)
  const finding = findingOf(site.component)
  if (unplaced.length > 0) {
    const what = `The settings do not say what ${unplaced.join(', ')} use, or who uses them, so they have no order`
    findings.push(finding('blocker', 'order_unknown', what, 'say it in `producers`, or let them go back together'))
  } else if (cycle.length > 0) {
    const what = `${cycle.join(', ')} use one another, so they have no order`
    findings.push(finding('blocker', 'order_cycle', what, 'correct `producers`, or let them go back together'))
  }
  const sorted = order.flatMap(name => back.filter(d => d.to.name === name))
  const [first] = sorted
  // What comes after the first meets another environment: LifeTime checks it right before it is started.
  if (findings.length === 0 && first !== undefined) findings.push(...(await lookedAhead(c, [first])))
  const ids = idsOf(back)
  return { work: sorted.map(d => steps.deploy(release, [d], ids.get(d.key) ?? d.key)), findings }
}

/** LifeTime's own check, where it means something: not while a deployment changes what it looks at. */
async function lookedAhead(c: Case, back: readonly Difference[]): Promise<Finding[]> {
  const { site, question, now, flights } = c
  // Conflicts are read right before the start all the same.
  if (question.mode === 'emergency') return []
  if (!site.config.checkAhead || flights.length > 0) {
    const flying = flights.length > 0
    const why = flying ? 'a deployment is going on' : '`checkAhead` is off'
    const what = `LifeTime was not asked for conflicts, for ${why}: they show right before the start`
    const remedy = flying ? 'plan again once it has ended' : 'set `checkAhead: true`'
    return [findingOf(site.component)('note', 'not_checked_ahead', what, remedy)]
  }
  const operations = back.map(({ to }) => ({ version: to.version, zone: to.zone }))
  try {
    return findingsOf(site, await checked(site, operations, question.signal), now)
  } catch (error) {
    if (question.signal.aborted || !(error instanceof BackoutError) || !REFUSALS.has(error.code)) throw error
    const what = `LifeTime refuses to check the deployment ahead: ${messageOf(error)}`
    const remedy = 'see what it says; where it is only the check that it refuses, set `checkAhead: false`'
    return [findingOf(site.component)('blocker', 'check_refused', what, remedy)]
  }
}

/** What LifeTime would not check it would not start: another way back may do. */
const REFUSALS = new Set([
  'lifetime_refused',
  'lifetime_forbidden',
  'lifetime_gone',
  'lifetime_conflict',
  'lifetime_failed',
])

async function bySolution(c: Case, steps: Steps): Promise<Way> {
  const { site, question } = c
  const { to, release } = question
  const finding = findingOf(site.component)
  const none = (what: string, remedy: string): Way => ({
    work: [],
    findings: [finding('blocker', 'package_gone', what, remedy)],
  })
  if (to.solution === null) return none(`No solution package was kept with ${release}`, 'choose another release')
  const { backup, file, bytes } = to.solution
  const kept = await site.backups.get(backup).catch(() => null)
  if (kept?.files.find(f => f.path === file)?.bytes !== bytes) {
    return none(
      `The solution package ${backup} is not as it was kept`,
      'bring it back from a copy, or choose another release',
    )
  }
  const findings = [
    finding(
      'warning',
      'no_impact_analysis',
      'LifeTime publishes a solution package without looking for conflicts, and into production only where its settings allow it',
      'see that "deployment of binaries to production" is on in the settings of LifeTime',
    ),
  ]
  return { work: [steps.publish(release, to.applications, to.solution)], findings }
}

/** What every way back leaves as it is, said before anything is touched. */
function remarks({ site, back, now, question }: Case, rung: RungId): Finding[] {
  const finding = findingOf(site.component)
  const out: Finding[] = []
  const what =
    'OutSystems takes no data back and drops no table or column: what the newer versions added or wrote stays as it is'
  out.push(
    finding('warning', 'data_stays', what, 'bring data back by itself; see that earlier versions can live with it'),
  )
  const mobile = back.filter(d => d.to.kind === 'Mobile').map(d => d.to.name)
  if (mobile.length > 0) {
    const stores = `${mobile.join(', ')}: the stores and the phones keep the newer package; only what the server gives goes back`
    out.push(
      finding('warning', 'mobile_package', stores, 'see that the newer package can live with the earlier version'),
    )
  }
  if (rung !== 'solution' && back.some(d => d.now !== null)) {
    const lower =
      "LifeTime's console offers no version lower than the one that runs, its API is documented to: where it refuses, the solution package is the next way"
    out.push(finding('note', 'lower_version', lower, 'none'))
  }
  const added = Object.entries(now).filter(([key]) => question.to.applications[key] === undefined)
  if (added.length > 0) {
    const names = added
      .map(([, a]) => a.name)
      .toSorted()
      .join(', ')
    const stay = `${names} came since and stay: LifeTime's API takes no application out of an environment`
    out.push(finding('warning', 'applications_stay', stay, 'see that they can live with the earlier versions'))
  }
  return out
}

/** LifeTime starts nothing in an environment that it cannot reach. */
async function offline({ site, question }: Case): Promise<Finding[]> {
  const { target } = await site.places(question.signal)
  if (!target.IsOffline) return []
  const what = `LifeTime says that ${target.Name} is offline: it starts no deployment there`
  return [findingOf(site.component)('blocker', 'environment_offline', what, 'bring it back online in LifeTime')]
}

/** A deployment that waits for a person ends by itself only when that person comes. */
function waiting({ site, flights }: Case): Finding[] {
  if (site.config.inFlight !== 'wait') return []
  return flights
    .filter(f => f.status === 'needs_user_intervention')
    .map(f =>
      findingOf(site.component)(
        'blocker',
        'waits_for_person',
        `${f.what} waits for a person and would be waited for without end`,
        'continue or abort it in LifeTime, or set `inFlight: stop`',
      ),
    )
}

function impactOf({ site, back, now, question }: Case): Impact {
  const newer = back.flatMap(({ now: at, to }) => (at === null || shown(at) === shown(to) ? [] : [shown(at)]))
  const added = Object.entries(now).filter(([key]) => question.to.applications[key] === undefined)
  return {
    downtimeMs: site.config.downtime,
    loss: [],
    staysBehind: [
      ...newer.map(name => `tables, columns and data of ${name}`),
      ...added.map(([, app]) => `the application ${shown(app)}`),
    ],
    disappears: newer.map(name => `what ${name} brought`),
  }
}

function summaryOf(applications: readonly (Difference['now'] | Difference['to'])[]): string {
  const there = applications.filter(a => a !== null)
  return there.length === 0 ? 'none of them' : there.map(shown).join(', ')
}
