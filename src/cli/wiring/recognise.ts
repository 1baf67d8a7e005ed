import type { Observation } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { blockersOf, type Plan, type PlanComponent } from '../../core/plan.ts'
import { madeBefore, type PinRecord, type Release, type Upgrade } from '../../ledger/releases.ts'
import { lackedBy, newestPins } from '../../ledger/whole.ts'
import type { Environment } from './environment.ts'
import { type Observed, observeAll } from './observe.ts'
import { makePlan } from './planning.ts'
import type { Targets } from './targets.ts'

/**
 * What runs is not captured under a name that was only guessed where it looks like another release, or in no component like
 * this one, or where it was never seen and all is as before: by the components that look as they did at each release's newest
 * capture. Nor where it is not wholly that, and a run ended on its way from it (`boundFor`): it is a mix of two. Throws
 * `release_unlike`.
 */
export async function refuseOther(
  environment: Environment,
  targets: Targets,
  name: string,
  boundFor: string | null,
): Promise<void> {
  const all = await environment.ledger.releases.list()
  const mine = all.find(r => r.name === name)
  const others = all.filter(r => r !== mine && r.altered.length === 0)
  const before = mine === undefined ? await deployedOver(environment, others, name) : undefined
  if (mine === undefined && boundFor !== null) throw halfWay(name, boundFor, [])
  if (mine === undefined && before === undefined) return
  const observed = await observeAll(environment, targets, new AbortController().signal)
  const { observations } = observed
  // A summary holds no settings: where those alone were deployed, it says the same.
  if (before !== undefined && fitting(before, observations).length === observations.size)
    if (await wholly(environment, targets, before, observed, { bare: true })) throw neverDeployed(name, before.name)
  if (mine === undefined) return
  const own = fitting(mine, observations)
  const best = others
    .map(release => ({ name: release.name, fits: fitting(release, observations) }))
    .reduce((a, b) => (b.fits.length > a.fits.length ? b : a), { name: '', fits: [] as string[] })
  if (best.fits.length > own.length) throw looksMoreLike(best, name, own)
  const other = unlike(mine, observations)
  if (boundFor !== null && !(await wholly(environment, targets, mine, observed))) throw halfWay(name, boundFor, other)
  if (own.length > 0 || other.length === 0) return
  if (!(await stands(environment, targets, mine, observed))) throw looksLikeNone(mine.name, other)
}

/**
 * What runs is not given a new release's name where nothing of it is other than when the upgrade began, as its own capture of then
 * has it: nothing was deployed. Throws `release_unlike`. Where that capture lacks something nobody can tell, so that it passes.
 */
export async function refuseUndeployed(environment: Environment, targets: Targets, upgrade: Upgrade): Promise<void> {
  const releases = await environment.ledger.releases.list()
  const from = releases.find(r => r.name === upgrade.from && r.altered.length === 0)
  const then = madeBefore(from?.captures ?? [], upgrade)[0]
  if (from === undefined || then === undefined) return
  if (lackedBy(then, Object.keys(environment.config.components)).length > 0) return
  const observed = await observeAll(environment, targets, new AbortController().signal)
  const release = { ...from, captures: [then] }
  // Most of the time something differs, and that is told without all that a whole plan reads.
  for (const mode of ['emergency', 'full'] as const)
    if (!(await wholly(environment, targets, release, observed, { mode, bare: true }))) return
  throw undeployed(upgrade)
}

function undeployed({ from, to }: Upgrade): BackoutError {
  const end = `backout upgrade end ${to}`
  return new BackoutError({
    code: 'release_unlike',
    what: `Nothing that runs is other than ${from} was when the upgrade began: ${to} may not have been deployed`,
    cause: `captured as ${to} it would be taken for a release to go back to, and be ${from}`,
    next: `deploy it, or wait until it is there, then: ${end}; where it changes nothing that Backout captures: ${end} --unchanged WHY`,
    exit: 'blocked',
  })
}

/** Of a release that was never captured: the one that its upgrade was to leave. */
async function deployedOver({ ledger }: Environment, all: readonly Release[], name: string) {
  const upgrade = (await ledger.releases.upgrades()).findLast(u => u.to === name && u.undoneAt === null)
  return all.find(r => r.name === upgrade?.from)
}

/** Whether some component is as it was captured, by its adapter's judgement: a summary may hold what moves by itself. */
async function stands(environment: Environment, targets: Targets, release: Release, observed: Observed) {
  const { components: judged } = await judge(environment, targets, release, observed, 'full')
  // What can stay as it is on the release need not be what the release was.
  return judged.some(c => c.change === null && c.tier !== 'leave')
}

/** Whether every component is; what can stay as it is also has to look as it did. `bare`: nothing new is there besides. */
async function wholly(
  environment: Environment,
  targets: Targets,
  release: Release,
  observed: Observed,
  { mode = 'full', bare = false }: { mode?: Plan['mode']; bare?: boolean } = {},
) {
  const { components: judged, plan } = await judge(environment, targets, release, observed, mode)
  // What has no way back, or cannot be asked, has no change in the plan either.
  if (blockersOf(plan).some(f => f.component !== null)) return false
  if (bare && plan.impact.staysBehind.length > 0) return false
  const fits = fitting(release, observed.observations)
  return judged.every(c => c.change === null && (c.tier !== 'leave' || fits.includes(c.id)))
}

/** What going to the release would change of each component that was captured with it. */
async function judge(
  environment: Environment,
  targets: Targets,
  release: Release,
  observed: Observed,
  mode: Plan['mode'],
): Promise<{ components: readonly PlanComponent[]; plan: Pick<Plan, 'findings' | 'impact'> }> {
  const [newest] = release.captures
  if (newest === undefined)
    throw new BackoutError({
      code: 'release_unknown',
      what: `${release.name} has no capture`,
      next: 'look at it: `backout releases --all`',
    })
  const capture = { ...newest, components: newestPins(release.captures) }
  const { signal } = new AbortController()
  const request = {
    release,
    capture,
    mode,
    parent: null,
    exclude: [],
    accepted: null,
    signal,
    observed,
  } as const
  const plan = await makePlan(environment, targets, request)
  return { components: plan.components.filter(c => capture.components[c.id] !== undefined), plan }
}

function halfWay(name: string, boundFor: string, other: readonly string[]) {
  return new BackoutError({
    code: 'release_unlike',
    what: `A run ended on its way from ${name} to ${boundFor}, so what runs may be neither of them`,
    cause: other.join('; ') || `nothing tells that it is all ${name}`,
    next: `bring it there: backout run --to ${boundFor}; or say what it is that is left behind: --from NAME`,
    exit: 'blocked',
  })
}

function looksMoreLike(best: { name: string; fits: readonly string[] }, name: string, own: readonly string[]) {
  return new BackoutError({
    code: 'release_unlike',
    what: `What runs should be ${name}, and looks more like ${best.name}`,
    cause: `as ${best.name} was captured: ${best.fits.join(', ')}; as ${name} was: ${own.join(', ') || 'nothing'}`,
    next: `say what it is that is left behind: --from ${best.name}, or --from ${name}`,
    exit: 'blocked',
  })
}

function neverDeployed(name: string, before: string) {
  return new BackoutError({
    code: 'release_unlike',
    what: `What runs should be ${name}, and is in every component as ${before} was captured: ${name} may never have been deployed`,
    cause: `the upgrade to ${name} was begun, and ${name} was never captured`,
    next: `say what it is that is left behind: --from ${before}, or --from ${name}`,
    exit: 'blocked',
  })
}

function looksLikeNone(name: string, other: readonly string[]) {
  return new BackoutError({
    code: 'release_unlike',
    what: `What runs should be ${name}, and no part of it is as that was captured`,
    cause: other.join('; '),
    next: `say what it is that is left behind: --from NAME; where it is ${name} all the same: --from ${name}`,
    exit: 'blocked',
  })
}

/** The components that look otherwise than when they were captured with the release last, in words. */
export function unlike(
  { captures }: Release,
  now: ReadonlyMap<string, Pick<Observation, 'identity' | 'summary'>>,
): string[] {
  const pins = newestPins(captures)
  return [...now].flatMap(([id, seen]) => {
    const was = pins[id]
    if (was === undefined || looksLike(was, seen)) return []
    const of = was.identity === seen.identity ? '' : ` (of ${seen.identity}, not of ${was.identity})`
    return [`${id} is ${seen.summary}${of}, and was ${was.summary}`]
  })
}

/** The components that look as they did when they were captured with the release last. */
function fitting({ captures }: Release, observations: ReadonlyMap<string, Observation>): string[] {
  const pins = newestPins(captures)
  return [...observations].filter(([id, seen]) => looksLike(pins[id], seen)).map(([id]) => id)
}

function looksLike(
  record: PinRecord | undefined,
  { identity, summary }: Pick<Observation, 'identity' | 'summary'>,
): boolean {
  return record !== undefined && record.identity === identity && record.summary === summary
}
