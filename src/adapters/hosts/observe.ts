import { z } from 'zod'
import type { CaptureAct, Observation } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import type { Fleet, Host } from './fleet.ts'
import { flightHere, flightText } from './flight.ts'
import { type HostView, look, readSums, releaseOf } from './look.ts'
import { type HostsPin, type PinnedHost, type Sums, sums } from './pin.ts'
import { SAFE_NAME } from './scripts.ts'

const unitState = z.object({ is: z.string(), version: z.string().nullable() })
const hostState = z.union([
  z.object({ unreachable: z.literal(true) }),
  z.object({
    release: z.string().nullable(),
    link: z.string().nullable(),
    notLink: z.boolean(),
    reloadDue: z.boolean().optional(),
    /** Units that run another release than the link leads to. */
    stale: z.array(z.string()).default([]),
  }),
])
const seen = z.object({
  sums: z.record(z.string(), sums.nullable()),
  silent: z.record(z.string(), z.string()).default({}),
})
const observed = z.object({ hosts: z.record(z.string(), hostState) })
const moving = z.object({ units: z.record(z.string(), z.record(z.string(), unitState)).default({}) })

type Unreachable = { readonly unreachable: true }
type Answering = Exclude<z.infer<typeof hostState>, Unreachable>
export type HostState =
  | Unreachable
  | (Answering & { readonly units: Readonly<Record<string, z.infer<typeof unitState>>> })

/** What is known of each host, read back from an observation. */
export function statesOf({ state, detail }: Observation): Readonly<Record<string, HostState>> {
  const { hosts } = observed.parse(state)
  const { units } = moving.parse(detail ?? {})
  return Object.fromEntries(
    Object.entries(hosts).map(([name, is]): [string, HostState] => [
      name,
      'unreachable' in is ? is : { ...is, units: units[name] ?? {} },
    ]),
  )
}

/** Does a piece of work for every host, no more than `limit` at the same time. */
export async function eachHost<T>(
  hosts: readonly Host[],
  limit: number,
  work: (host: Host) => Promise<T>,
): Promise<T[]> {
  const results: T[] = []
  const queue = hosts.entries()
  const worker = async () => {
    for (const [i, host] of queue) results[i] = await work(host)
  }
  await Promise.all(Array.from({ length: Math.min(limit, hosts.length) }, worker))
  return results
}

export async function observe(fleet: Fleet, signal: AbortSignal): Promise<Observation> {
  const views = await eachHost(fleet.hosts, fleet.config.concurrency, host =>
    look(fleet, host, signal, host.units, true),
  )
  const here = await flightHere(fleet, signal)
  return {
    identity: fleet.identity,
    state: { hosts: Object.fromEntries(views.map(view => [view.host, stateOf(fleet, view)])) },
    detail: detailOf(fleet, views, here),
    summary: summaryOf(fleet, views),
    inFlight: [...views.flatMap(view => flights(view)), ...(here === null ? [] : [flightText(here, null)])].map(
      what => ({
        what,
        since: null,
      }),
    ),
  }
}

function stateOf(fleet: Fleet, view: HostView): Json {
  if (view.silent !== null) return { unreachable: true }
  const release = releaseOf(fleet, view)
  const stale = Object.entries(view.units).flatMap(([label, unit]) => {
    return isLive(fleet, view, label) && unit.stale !== null && unit.stale === release ? [label] : []
  })
  const state = { release, link: view.link, notLink: view.notLink }
  return {
    ...state,
    ...(stale.length > 0 ? { stale } : {}),
    ...(reloadDue(fleet, view) ? { reloadDue: true } : {}),
  }
}

/** Whether a unit runs at this moment moves by itself: one that dies after each start is what one goes back from. */
function unitsOf(fleet: Fleet, view: HostView): Json {
  return Object.fromEntries(
    Object.entries(view.units).map(([label, { is, version }]) => [
      label,
      { is, version: isLive(fleet, view, label) ? version : null },
    ]),
  )
}

function isLive(fleet: Fleet, view: HostView, label: string): boolean {
  return !fleet.perSlot || label.split('.').at(-1) === view.link
}

/** A switch was begun here whose `reload` never ended well: nobody knows what is served. */
function reloadDue(fleet: Fleet, view: HostView): boolean {
  return fleet.config.reload !== undefined && view.reload.due !== null && view.reload.due === releaseOf(fleet, view)
}

function detailOf(fleet: Fleet, views: readonly HostView[], here: string | null): Json {
  const silent = views.filter(v => v.silent !== null).map(v => [v.host, `${v.silent?.code}: ${v.silent?.why}`])
  const sums = views.map(v => [v.host, v.sums && { ...v.sums }])
  const clocks = Object.fromEntries(views.flatMap(v => (v.skew === null ? [] : [[v.host, v.skew]])))
  const flying = Object.fromEntries(views.flatMap(v => (v.inFlight === null ? [] : [[v.host, v.inFlight]])))
  const units = Object.fromEntries(views.filter(v => v.silent === null).map(v => [v.host, unitsOf(fleet, v)]))
  const detail = { units, silent: Object.fromEntries(silent), sums: Object.fromEntries(sums), flying, here, clocks }
  if (fleet.config.strategy === 'symlink') return detail
  return { ...detail, slots: Object.fromEntries(views.map(v => [v.host, { ...v.slots }])) }
}

function flights(view: HostView): string[] {
  const own = view.inFlight === null ? [] : [flightText(view.inFlight, view.host)]
  const steps = view.alive.map(a => `a step of Backout (${a.idem}, process ${a.pid}) on ${view.host}`)
  return [...own, ...new Set(steps)]
}

/** "v1.3.0 on 2 of 3 hosts, v1.2.9 on web-2, web-3 unreachable". */
function summaryOf(fleet: Fleet, views: readonly HostView[]): string {
  const total = views.length
  const byRelease = new Map<string, string[]>()
  for (const view of views.filter(v => v.silent === null)) {
    const name = releaseOf(fleet, view) ?? 'no release'
    byRelease.set(name, [...(byRelease.get(name) ?? []), view.host])
  }
  const groups = [...byRelease].sort(([, a], [, b]) => b.length - a.length)
  const parts = groups.map(([name, on], i) =>
    i === 0 ? `${name} on ${on.length} of ${total} host${total > 1 ? 's' : ''}` : `${name} on ${on.join(', ')}`,
  )
  const silent = views.filter(v => v.silent !== null).map(v => v.host)
  if (silent.length > 0) parts.push(`${silent.join(', ')} unreachable`)
  const due = views.filter(v => reloadDue(fleet, v)).map(v => v.host)
  if (due.length > 0) parts.push(`${due.join(', ')} not reloaded`)
  const down = views.flatMap(v => notRunning(fleet, v))
  if (down.length > 0) parts.push(`${down.slice(0, 5).join(', ')} not running`)
  return parts.join(', ')
}

function notRunning(fleet: Fleet, view: HostView): string[] {
  return Object.entries(view.units)
    .filter(([label, unit]) => unit.is !== 'running' && (!fleet.perSlot || label.endsWith(view.link ?? '')))
    .map(([label]) => (label === 'main' ? view.host : `${view.host}.${label}`))
}

/** Every release or version that is seen, with where. More than one means that versions are mixed. */
export function versionsSeen(states: Readonly<Record<string, HostState>>): Map<string, string[]> {
  const seen = new Map<string, string[]>()
  const add = (name: string, where: string) => seen.set(name, [...(seen.get(name) ?? []), where])
  for (const [host, state] of Object.entries(states)) {
    if ('unreachable' in state) continue
    add(state.release ?? 'no release', host)
  }
  return seen
}

/** Versions that run, as the version command says. */
export function versionsRunning(states: Readonly<Record<string, HostState>>): Map<string, string[]> {
  const seen = new Map<string, string[]>()
  for (const [host, state] of Object.entries(states)) {
    if ('unreachable' in state) continue
    for (const [label, unit] of Object.entries(state.units)) {
      if (unit.version === null) continue
      const where = label === 'main' ? host : `${host}.${label}`
      seen.set(unit.version, [...(seen.get(unit.version) ?? []), where])
    }
  }
  return seen
}

export async function capture(fleet: Fleet, observation: Observation, act: CaptureAct): Promise<HostsPin> {
  const states = statesOf(observation)
  const releases = [...versionsSeen(states).keys()]
  const running = [...versionsRunning(states).keys()]
  if (act.purpose === 'release') refuseUnclear(fleet, observation, releases, running)
  const entries = await eachHost(fleet.hosts, fleet.config.concurrency, async host => {
    const state = states[host.name]
    return [host.name, await pinHost(fleet, host, state, seenSums(observation, host), act)] as const
  })
  const only = releases.length === 1 && releases[0] !== 'no release' ? releases[0] : null
  return {
    identity: fleet.identity,
    root: fleet.config.root,
    strategy: fleet.config.strategy,
    release: only ?? null,
    hosts: Object.fromEntries(entries),
  }
}

/** How a host says that its link leads to no release in the root. */
const OUTSIDE = 'outside:'

function refuseUnclear(fleet: Fleet, observation: Observation, releases: string[], running: string[]): void {
  const clear = releases.length === 1 && running.length <= 1 && SAFE_NAME.test(releases[0] ?? '')
  if (clear && releases[0] !== 'no release') return
  const silent = Object.entries(seen.safeParse(observation.detail).data?.silent ?? {})
  if (releases.length === 0 && silent[0] !== undefined) {
    throw new BackoutError({
      code: 'host_unreachable',
      what: `No host of ${fleet.component} says what it has`,
      cause: silent.map(([host, why]) => `${host}: ${why}`).join('\n'),
      next: `make \`ssh -o BatchMode=yes ${silent[0][0]} true\` work, then capture again`,
      exit: 'blocked',
    })
  }
  const outside = releases.some(name => name.startsWith(OUTSIDE))
  throw new BackoutError({
    code: releases.length === 0 ? 'host_unreachable' : 'release_unclear',
    what: `${fleet.component} holds no one release that could be captured: ${observation.summary}`,
    cause: running.length > 1 ? `versions that run: ${running.join(', ')}` : undefined,
    next: outside
      ? `a link leads to no folder of a release in \`root\` (${fleet.config.root}): set \`root\` to where the releases lie, or bring the host to one there; then capture again`
      : 'bring all hosts to one release below releases/ (letters, digits and . _ + @ : = - in its name), then capture again',
    exit: 'blocked',
  })
}

/** A departure needs no more than what the look has seen already. */
function seenSums({ detail }: Observation, host: Host): Sums | null {
  return seen.safeParse(detail).data?.sums[host.name] ?? null
}

async function pinHost(
  fleet: Fleet,
  host: Host,
  state: HostState | undefined,
  known: Sums | null,
  act: CaptureAct,
): Promise<PinnedHost | null> {
  if (state === undefined || 'unreachable' in state || state.release === null || state.link === null) return null
  if (!SAFE_NAME.test(state.release)) return null
  const dir = fleet.config.strategy === 'symlink' ? `releases/${state.release}` : state.link
  const read =
    act.purpose === 'departure' && known !== null
      ? { sums: known, bad: [] }
      : await readSums(fleet, host, { dir, how: 'any', quick: act.purpose === 'departure' }, act.signal)
  if (read.sums === null && act.purpose === 'release') {
    throw new BackoutError({
      code: 'release_gone',
      what: `${host.name}: the link leads to ${state.release}, and there is no such folder`,
      next: 'put the release back, or the link on one that is there, then capture again',
      exit: 'blocked',
    })
  }
  if (read.sums === null) return null
  if (read.bad.length > 0 && act.purpose === 'release') {
    throw new BackoutError({
      code: 'artefact_altered',
      what: `${host.name}: files of ${state.release} differ from ${fleet.config.manifest}`,
      cause: read.bad.join('\n'),
      next: 'deploy the release again, or write its manifest anew, then capture again',
      exit: 'blocked',
    })
  }
  const live = Object.entries(state.units).filter(([label]) => !fleet.perSlot || label.endsWith(state.link ?? ''))
  return {
    release: state.release,
    sums: read.sums,
    version: live.find(([, unit]) => unit.version !== null)?.[1].version ?? null,
    stopped: live.filter(([, unit]) => unit.is === 'stopped').map(([label]) => instanceOf(label, fleet)),
  }
}

/** A unit's name without its slot: the pinned release may stand in the other slot later. */
export function instanceOf(label: string, fleet: Fleet): string {
  return fleet.perSlot ? label.split('.').slice(0, -1).join('.') : label
}
