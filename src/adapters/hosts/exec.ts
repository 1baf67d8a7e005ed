import type { ExecAct, ExecLeft, ExecResult, Finding, Remembered } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Fleet, Host } from './fleet.ts'
import { folderOf, type HostView, listReleases, look, releaseOf } from './look.ts'
import { eachHost } from './observe.ts'
import { type HostsPin, NO_SUMS } from './pin.ts'
import { SAFE_NAME } from './scripts.ts'

const LIMIT_MS = 600_000

/**
 * Runs a command in the folder of a release, on the first host that answers and has it. `from` is BACKOUT_FROM of the
 * environment; else what hosts were left with on the way to this release, or have still: where that is several, the host of the
 * settings says which. `to` is BACKOUT_TO. Throws `exec_release_unknown`, `exec_unclear`, and what the runner throws.
 */
export async function exec(
  fleet: Fleet,
  side: 'from' | 'to',
  argv: readonly string[],
  act: ExecAct,
): Promise<ExecResult> {
  const wanted = act.env?.[side === 'from' ? 'BACKOUT_FROM' : 'BACKOUT_TO']
  const place = wanted === undefined ? await placeOf(fleet, side, act) : await placeNamed(fleet, wanted, act.signal)
  if (place === null) throw unknown(fleet, side, wanted)
  const { host, folder } = place
  act.signal.throwIfAborted()
  act.guard()
  const env = { ...act.env, BACKOUT_HOST: host.name, BACKOUT_RELEASE: wanted ?? folder.split('/').at(-1) ?? '' }
  const limitMs = act.limitMs ?? LIMIT_MS
  const command = { argv, cwd: `${host.root}/${folder}`, env, limitMs, idem: act.idem, keepBytes: 1024 * 1024 }
  return host.runner.run(command, act.signal)
}

/** Says "alive" where a process of this user carries the mark, which Backout gives to what it begins; 3: nobody can tell. */
const MARKED = `[ -r /proc/self/environ ] || exit 3
for f in /proc/[0-9]*/environ; do
  [ -r "$f" ] && { tr '\\0' '\\n' <"$f"; } 2>/dev/null | grep -qxF "BACKOUT_IDEM=$1" && { echo alive; exit; }
done
exit 0`

/** A command ends with its connection, once its host has heard of that: where a line is cut, it may go on for long. */
export async function execLeft(fleet: Fleet, idem: string, signal: AbortSignal): Promise<ExecLeft | null> {
  const { exec: only, concurrency } = fleet.config
  // Nobody noted which of them it was: where one does not answer, nobody can tell.
  const asked = fleet.hosts.filter(host => only === undefined || host.name === only)
  const alive = await eachHost(asked, concurrency, async ({ name, runner }) => {
    const command = { argv: ['sh', '-c', MARKED, 'backout-left', idem], limitMs: fleet.config.limits.status }
    const { code, stdout } = await runner.run(command, signal)
    if (code !== 0) throw untold(fleet, name)
    return stdout.includes('alive') ? [name] : []
  })
  const names = alive.flat()
  if (names.length === 0) return null
  return { what: `what this step began on ${names.join(', ')}`, alive: true, code: null }
}

function untold({ component }: Fleet, host: string): BackoutError {
  return new BackoutError({
    code: 'exec_untold',
    what: `${host} of ${component} does not tell whether a command that was begun there is still at work`,
    cause: 'there is no /proc to ask',
    next: 'look there (`ps`), then resolve the step by hand',
    exit: 'failed',
  })
}

interface Place {
  readonly host: Host
  readonly folder: string
}

async function placeNamed(fleet: Fleet, release: string, signal: AbortSignal): Promise<Place | null> {
  if (!SAFE_NAME.test(release)) return null
  for (const host of fleet.hosts) {
    const view = await look(fleet, host, signal, [])
    const folder = view.silent === null ? folderOf(fleet, view, release) : null
    if (folder !== null) return { host, folder }
  }
  return null
}

async function placeOf(fleet: Fleet, side: 'from' | 'to', { release, signal }: ExecAct): Promise<Place | null> {
  if (side === 'to') return null
  const seen = await seenOn(fleet, release ?? '', signal)
  const wrong = wrongWith(fleet, release ?? '', seen)
  if (wrong === null) return [...leftOf(seen, release ?? '').values()][0] ?? null
  const { code, what, remedy } = wrong
  throw new BackoutError({ code, what, next: remedy, exit: 'failed' })
}

interface Seen {
  /** What each host that answers was left with, by its release; of `exec` alone, where that is named. */
  readonly named: ReadonlyMap<string, Place>
  /** The same of all hosts. */
  readonly all: ReadonlyMap<string, Place>
}

async function seenOn(fleet: Fleet, release: string, signal: AbortSignal): Promise<Seen> {
  const { exec: only, concurrency } = fleet.config
  const views = await eachHost(fleet.hosts, concurrency, host => look(fleet, host, signal, []))
  const all = new Map<string, Place>()
  const named = new Map<string, Place>()
  for (const [i, host] of fleet.hosts.entries()) {
    const [view] = views.slice(i)
    const left = view === undefined || view.silent !== null ? null : leftBy(fleet, view, release)
    if (left === null) continue
    const place = { host, folder: left.folder }
    if (!all.has(left.name)) all.set(left.name, place)
    if (only === undefined ? !named.has(left.name) : host.name === only) named.set(left.name, place)
  }
  return { named, all }
}

/** Without the release that is gone back to, unless none has another one. */
function leftOf({ named }: Seen, release: string): ReadonlyMap<string, Place> {
  const others = new Map([...named].filter(([name]) => name !== release))
  return others.size > 0 ? others : named
}

interface Wrong {
  readonly code: string
  readonly what: string
  readonly remedy: string
}

/** Why nobody can tell in which release a command is to run; null: that is clear. */
function wrongWith(fleet: Fleet, release: string, seen: Seen): Wrong | null {
  const { component, hosts } = fleet
  const { exec: only } = fleet.config
  const left = leftOf(seen, release)
  if (left.size > 1) return { code: 'exec_unclear', ...unclear(fleet, left) }
  if (only === undefined) return null
  const remedy = 'name in `exec` a host that answers and has what is to run'
  if (!hosts.some(host => host.name === only)) {
    return {
      code: 'exec_host_unknown',
      what: `\`exec\` of ${component} names ${only}, which is none of its hosts`,
      remedy,
    }
  }
  const [name] = left.keys()
  if (name === undefined) {
    const what = `${only}, which \`exec\` of ${component} names, does not answer with a release`
    return { code: 'exec_host_silent', what, remedy }
  }
  const [other, place] = [...seen.all].find(([has]) => has !== release) ?? []
  if (name !== release || other === undefined || place === undefined) return null
  const what = `${only}, which \`exec\` of ${component} names, is on ${release} already: commands of what is left would run from the release that is gone back to, and ${place.host.name} was left with ${other}`
  return { code: 'exec_unclear', what, remedy }
}

/** What a switch on the way to this release left, while its link stands; else what the link leads to. */
function leftBy(fleet: Fleet, view: HostView, release: string): { name: string; folder: string } | null {
  const { from: mark, link } = view
  const ours = mark !== null && mark.to === link && mark.towards === release
  const place = ours ? mark.from : link
  if (place === null || !SAFE_NAME.test(place)) return null
  if (fleet.config.strategy === 'symlink') return { name: place, folder: `releases/${place}` }
  return { name: view.slots[place] || place, folder: place }
}

function unclear(fleet: Fleet, left: ReadonlyMap<string, Place>): { what: string; remedy: string } {
  const list = [...left].map(([name, { host }]) => `${name} (on ${host.name})`)
  return {
    what: `The hosts of ${fleet.component} are left with several releases, and nobody says in which one a command is to run: ${list.join(', ')}`,
    remedy: 'name in `exec` the host that has what is to run',
  }
}

/** Said ahead, where a command will have to run from what is left. */
export async function execFinding(fleet: Fleet, release: string, signal: AbortSignal): Promise<Finding | null> {
  const wrong = wrongWith(fleet, release, await seenOn(fleet, release, signal))
  return wrong === null ? null : { level: 'blocker', component: fleet.component, ...wrong }
}

function unknown(fleet: Fleet, side: 'from' | 'to', wanted: string | undefined): BackoutError {
  return new BackoutError({
    code: 'exec_release_unknown',
    what: `No host of ${fleet.component} answers with the release that is ${side === 'from' ? 'left' : 'gone back to'}${wanted === undefined ? '' : ` (${wanted})`}`,
    next: `set BACKOUT_${side.toUpperCase()} to the name of a release folder that is still there`,
    exit: 'failed',
  })
}

/** Release folders that every host that answers still has, newest first, without the one that is current. */
export async function remembered(fleet: Fleet, signal: AbortSignal): Promise<Remembered<HostsPin>[]> {
  const views = await eachHost(fleet.hosts, fleet.config.concurrency, host => look(fleet, host, signal, []))
  const answering = fleet.hosts.filter((_, i) => views[i]?.silent === null)
  const current = new Set(views.map(view => releaseOf(fleet, view)))
  const lists = await Promise.all(
    answering.map((host, i) => listed(fleet, host, views.filter(v => v.silent === null)[i], signal)),
  )
  const [first = [], ...others] = lists
  return first
    .filter(
      ({ name }) => SAFE_NAME.test(name) && !current.has(name) && others.every(list => list.some(r => r.name === name)),
    )
    .map(({ name, at }) => ({ release: name, at, pin: unmarked(fleet, answering, name) }))
}

async function listed(fleet: Fleet, host: Host, view: HostView | undefined, signal: AbortSignal) {
  if (fleet.config.strategy === 'symlink') return listReleases(fleet, host, signal)
  return Object.values(view?.slots ?? {})
    .filter(Boolean)
    .map(name => ({ name, at: null }))
}

function unmarked(fleet: Fleet, hosts: readonly Host[], release: string): HostsPin {
  const entry = { release, sums: NO_SUMS, version: null, stopped: [] }
  return {
    identity: fleet.identity,
    root: fleet.config.root,
    strategy: fleet.config.strategy,
    release,
    hosts: Object.fromEntries(hosts.map(host => [host.name, entry])),
  }
}
