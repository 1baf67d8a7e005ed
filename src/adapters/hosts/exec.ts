import type { ExecAct, ExecResult, Remembered } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Fleet, Host } from './fleet.ts'
import { folderOf, type HostView, listReleases, look, releaseOf } from './look.ts'
import { eachHost } from './observe.ts'
import { type HostsPin, NO_SUMS } from './pin.ts'
import { SAFE_NAME } from './scripts.ts'

const LIMIT_MS = 600_000

/**
 * Runs a command in the folder of a release, on the first host that answers and has it. `from` is BACKOUT_FROM of the
 * environment; else what the last switch left, while its link still stands; else what the link leads to. `to` is
 * BACKOUT_TO. Throws `exec_release_unknown`, and what the runner throws.
 */
export async function exec(
  fleet: Fleet,
  side: 'from' | 'to',
  argv: readonly string[],
  act: ExecAct,
): Promise<ExecResult> {
  const wanted = act.env?.[side === 'from' ? 'BACKOUT_FROM' : 'BACKOUT_TO']
  for (const host of fleet.hosts) {
    const view = await look(fleet, host, act.signal, [])
    if (view.silent !== null) continue
    const folder =
      wanted === undefined ? (side === 'from' ? leftFolder(fleet, view) : null) : named(fleet, view, wanted)
    if (folder === null) continue
    act.signal.throwIfAborted()
    act.guard()
    const env = { ...act.env, BACKOUT_HOST: host.name, BACKOUT_RELEASE: wanted ?? folder.split('/').at(-1) ?? '' }
    return host.runner.run(
      {
        argv,
        cwd: `${host.root}/${folder}`,
        env,
        limitMs: act.limitMs ?? LIMIT_MS,
        idem: act.idem,
        keepBytes: 1024 * 1024,
      },
      act.signal,
    )
  }
  throw new BackoutError({
    code: 'exec_release_unknown',
    what: `No host of ${fleet.component} answers with the release that is ${side === 'from' ? 'left' : 'gone back to'}${wanted === undefined ? '' : ` (${wanted})`}`,
    next: `set BACKOUT_${side.toUpperCase()} to the name of a release folder that is still there`,
    exit: 'failed',
  })
}

function named(fleet: Fleet, view: HostView, release: string): string | null {
  return SAFE_NAME.test(release) ? folderOf(fleet, view, release) : null
}

function leftFolder(fleet: Fleet, view: HostView): string | null {
  const switched = view.from !== null && view.from.to === view.link
  const name = switched ? (view.from?.from ?? null) : view.link
  if (name === null || !SAFE_NAME.test(name)) return null
  return fleet.config.strategy === 'symlink' ? `releases/${name}` : name
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
