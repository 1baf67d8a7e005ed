import type { Finding, Observation, Question } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { clocksIn, skewFinding } from './clocks.ts'
import { type Fleet, type Host, SLOTS } from './fleet.ts'
import { readSums, type SumsView } from './look.ts'
import { eachHost, type HostState, statesOf, versionsRunning, versionsSeen } from './observe.ts'
import { type HostsPin, type PinnedHost, pinnedFor } from './pin.ts'
import { SAFE_NAME } from './scripts.ts'

/** One host as a proposal sees it. */
export interface Plan {
  readonly host: Host
  /** null: it cannot be reached. */
  readonly state: Exclude<HostState, { unreachable: true }> | null
  readonly pinned: PinnedHost
  /** What the link is to lead to: the release's folder, or the slot that holds it; null = the host says which then. */
  readonly to: string | null
}

type Say = (level: Finding['level'], code: string, what: string, remedy: string, moves?: boolean) => void

function collector(fleet: Fleet): { findings: Finding[]; say: Say } {
  const findings: Finding[] = []
  const say: Say = (level, code, what, remedy, moves = false) =>
    findings.push({ level, code, component: fleet.component, what, remedy, ...(moves ? { moves } : {}) })
  return { findings, say }
}

/** A pin of another root, another strategy or wholly other hosts is not this component's. */
export function foreign(fleet: Fleet, to: HostsPin): Finding | null {
  const { root, strategy } = fleet.config
  const known = fleet.hosts.some(host => host.name in to.hosts)
  if (to.root === root && to.strategy === strategy && known) return null
  return {
    level: 'blocker',
    code: 'other_identity',
    component: fleet.component,
    what: `The pin belongs to ${to.identity} (${to.strategy}), and this is ${fleet.identity} (${strategy})`,
    remedy: 'use a release that was captured from these hosts, or set root, strategy and hosts as they were',
  }
}

/** Looks at every host's way back: is the release there, and is it what it was. Reads only. */
export async function check(
  fleet: Fleet,
  question: Question<HostsPin>,
  stopping: boolean,
): Promise<{ plans: Plan[]; findings: Finding[] }> {
  const { findings, say } = collector(fleet)
  const states = statesOf(question.from)
  const plans: Plan[] = []
  const checked = await eachHost(fleet.hosts, fleet.config.concurrency, host =>
    checkHost(fleet, host, question, states[host.name]),
  )
  let failing = 0
  for (const result of checked) {
    if (result.silent !== null || result.unfit !== null) failing += 1
    if (result.silent !== null) sayUnreachable(fleet, result.host.name, result.silent, failing, stopping, say)
    if (result.unfit !== null) sayUnfit(fleet, result.unfit, failing, say)
    for (const part of result.says) say(...part)
    if (result.plan !== null) plans.push(result.plan)
  }
  sayFleet(fleet, question, states, say)
  const skew = skewFinding(fleet, clocksIn(question.from))
  return { plans, findings: skew === null ? findings : [...findings, skew] }
}

function sayUnreachable(fleet: Fleet, host: string, why: string, count: number, stopping: boolean, say: Say): void {
  const { fence } = fleet.config
  if (stopping) {
    const remedy = `see to it that nothing runs on ${host} (power it off, block it at the firewall), then take it out of \`hosts\`; or make it answer`
    return say(
      'blocker',
      'host_unreachable',
      `${host} cannot be reached, so nobody can say that it has stopped: ${why}`,
      remedy,
    )
  }
  if (count > fleet.mayFail) {
    const work = `make \`ssh -o BatchMode=yes ${host} true\` work`
    const none = count >= fleet.hosts.length
    const remedy = none
      ? `${work}: where no host answers, none can be brought to the release`
      : `${work}, or keep it away from users and let ${count} of the hosts fail (maxFailures, stopAt)`
    return say('blocker', 'host_unreachable', `${host} cannot be reached: ${why}`, remedy)
  }
  say('warning', 'host_unreachable', `${host} cannot be reached: ${why}`, `${tried(fence)}; plan again once it is back`)
}

function tried(fence: Fleet['config']['fence']): string {
  return fence === undefined
    ? 'keep it away from users by hand; it is tried all the same'
    : 'it is tried all the same, and fenced where it fails'
}

/** Why a host cannot be brought to the release as it is. */
interface Unfit {
  readonly code: string
  readonly what: string
  readonly remedy: string
}

/** It answers, and fails in the run as surely as one that does not: it counts like that. */
function sayUnfit(fleet: Fleet, { code, what, remedy }: Unfit, count: number, say: Say): void {
  if (count <= fleet.mayFail) return say('warning', code, what, `${remedy}; as it is, ${tried(fleet.config.fence)}`)
  const alone = fleet.hosts.length === 1
  const without = `; or keep it away from users and take it out of \`hosts\`, or let ${count} of the hosts fail (maxFailures, stopAt)`
  say('blocker', code, what, `${remedy}${alone ? '' : without}`)
}

interface Checked {
  host: Host
  plan: Plan | null
  silent: string | null
  unfit: Unfit | null
  says: Parameters<Say>[]
}

async function checkHost(
  fleet: Fleet,
  host: Host,
  { to, from, release, mode, signal }: Question<HostsPin>,
  state: HostState | undefined,
): Promise<Checked> {
  const says: Parameters<Say>[] = []
  const pinned = pinnedFor(to, host.name)
  const nothing = { host, plan: null, silent: null, unfit: null, says }
  if (pinned === null || !SAFE_NAME.test(pinned.release)) {
    says.push([
      'blocker',
      'host_not_pinned',
      `The release ${release} does not say what ${host.name} had`,
      `capture a release with ${host.name}, or take it out of \`hosts\``,
    ])
    return nothing
  }
  if (!to.hosts[host.name]) {
    says.push([
      'warning',
      'host_not_pinned',
      `${host.name} was not captured with ${release}: it gets what the others had (${pinned.release})`,
      'make sure that it belongs to them',
    ])
  }
  if (state === undefined || 'unreachable' in state) {
    return {
      ...nothing,
      plan: { host, state: null, pinned, to: placeUnseen(fleet, from, pinned) },
      silent: whyOf(from, host),
    }
  }
  // Tried as one that nobody has seen: after the others, and whatever it has by then.
  const unfitted = (unfit: Unfit, to = placeUnseen(fleet, from, pinned)) => {
    return { ...nothing, plan: { host, state: null, pinned, to }, unfit }
  }
  if (state.notLink) {
    return unfitted({
      code: 'link_is_no_link',
      what: `${host.root}/${fleet.link} on ${host.name} is not a symbolic link`,
      remedy: 'move it away and put a link to a release folder in its place',
    })
  }
  const place = placeOf(fleet, from, host, pinned)
  if (place === null) return unfitted(gone(fleet, host, pinned.release, 'neither slot holds it'))
  const dir = fleet.config.strategy === 'symlink' ? `releases/${place}` : place
  const quick = mode === 'emergency'
  try {
    const seen = await readSums(fleet, host, { dir, how: pinned.sums.how, quick }, signal)
    const unfit = judgeSums(fleet, host, pinned, seen, quick)
    if (unfit !== null) return unfitted(unfit, place)
    says.push(...sayUnknown(fleet, host, pinned, seen), ...judgeSudo(host, seen))
  } catch (error) {
    signal.throwIfAborted()
    const code = error instanceof BackoutError ? error.code : 'host_unreachable'
    return { ...nothing, plan: { host, state: null, pinned, to: place }, silent: `${code}: ${messageOf(error)}` }
  }
  return { ...nothing, plan: { host, state, pinned, to: place } }
}

function whyOf(from: Observation, host: Host): string {
  const detail = from.detail as { silent?: Record<string, string> } | null
  return detail?.silent?.[host.name] ?? 'no answer'
}

function placeOf(fleet: Fleet, from: Observation, host: Host, pinned: PinnedHost): string | null {
  if (fleet.config.strategy === 'symlink') return pinned.release
  const state = statesOf(from)[host.name]
  if (state !== undefined && 'release' in state && state.release === pinned.release) return state.link
  const detail = from.detail as { slots?: Record<string, Record<string, string>> } | null
  const slots = Object.entries(detail?.slots?.[host.name] ?? {})
  return slots.find(([, held]) => held === pinned.release)?.[0] ?? null
}

/**
 * Where a host that does not answer may hold the release. Services of a slot need steps of that slot: the slot that most
 * other hosts have, and the steps refuse where it holds another release.
 */
function placeUnseen(fleet: Fleet, from: Observation, pinned: PinnedHost): string | null {
  if (fleet.config.strategy === 'symlink') return pinned.release
  if (!fleet.perSlot) return null
  const places = fleet.hosts.map(host => placeOf(fleet, from, host, pinned))
  const votes = (slot: string) => places.filter(place => place === slot).length
  return [...SLOTS].sort((a, b) => votes(b) - votes(a))[0] ?? null
}

function gone(fleet: Fleet, host: Host, release: string, why: string): Unfit {
  const remedy = `put ${release} back below ${host.root} on ${host.name} from the artefact store, or choose another release${fleet.config.strategy === 'symlink' ? '; keep more folders when cleaning up' : ''}`
  return { code: 'release_gone', what: `${release} is gone from ${host.name}: ${why}`, remedy }
}

function judgeSudo(host: Host, { refused }: SumsView): Parameters<Say>[] {
  return refused.map(why => {
    const [label = '', ...said] = why.split(' ')
    const unit = label === 'main' ? host.name : `${host.name}.${label}`
    return [
      'warning',
      'sudo_refused',
      `sudo does not let the service on ${unit} be restarted without a password: ${said.join(' ')}`,
      `allow it on ${host.name} in /etc/sudoers.d (NOPASSWD: systemctl restart, start and stop of the unit)`,
    ]
  })
}

/** null: what is there is what was captured, as far as that is known. */
function judgeSums(fleet: Fleet, host: Host, pinned: PinnedHost, seen: SumsView, quick: boolean): Unfit | null {
  const { release, sums } = pinned
  const where = `${release} on ${host.name}`
  const remedy = `deploy ${release} again on ${host.name} from the artefact store; it must not be served as it is`
  const altered = (what: string) => ({ code: 'artefact_altered', what, remedy })
  if (seen.bad.length > 0) return altered(`Files of ${where} were altered: ${seen.bad.join('; ')}`)
  if (seen.noManifest) return altered(`${fleet.config.manifest} of ${where} is gone`)
  if (seen.sums === null) return gone(fleet, host, release, `no folder ${release}`)
  if (sums.how === 'none' || (quick && sums.how === 'own')) return null
  if (sums.sha256 === seen.sums.sha256 && sums.how === seen.sums.how) return null
  return altered(
    sums.how === 'manifest'
      ? `${fleet.config.manifest} of ${where} is not the one that was captured`
      : `Files of ${where} were altered, added or taken away (${sums.files} files captured, ${seen.sums.files} there)`,
  )
}

function sayUnknown(fleet: Fleet, host: Host, { release, sums }: PinnedHost, seen: SumsView): Parameters<Say>[] {
  if (sums.how !== 'none' || seen.sums?.how !== 'none') return []
  const what = `No checksums are known of ${release} on ${host.name}`
  const remedy = `put a ${fleet.config.manifest} into each release, or capture releases before upgrading`
  return [['note', 'checksums_unknown', what, remedy]]
}

function sayFleet(
  fleet: Fleet,
  question: Question<HostsPin>,
  states: Readonly<Record<string, HostState>>,
  say: Say,
): void {
  const [there, running] = [versionsSeen(states), versionsRunning(states)]
  const mixed = [there, running].find(seen => seen.size > 1)
  if (mixed !== undefined) {
    const list = [...mixed].map(
      ([name, on]) => `${name} on ${on.slice(0, 5).join(', ')}${on.length > 5 ? ` and ${on.length - 5} more` : ''}`,
    )
    say(
      'warning',
      'versions_mixed',
      `Versions are mixed: ${list.join('; ')}`,
      `this plan brings all of them to ${question.release}`,
      // What runs may run at this moment only.
      mixed === running,
    )
  }
  const left = Object.keys(question.to.hosts).filter(name => !fleet.hosts.some(h => h.name === name))
  if (left.length > 0)
    say(
      'warning',
      'hosts_changed',
      `Captured with ${question.release} but not in \`hosts\` now: ${left.join(', ')}`,
      'add them, or make sure that they serve nobody',
    )
  if (fleet.config.version === undefined) {
    say(
      'note',
      'version_unchecked',
      'Without a `version` command only the link and the state of the service are checked, not what really runs',
      'set `version:` to a command that prints the running version',
    )
  }
}
