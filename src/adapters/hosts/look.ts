import { systemClock } from '../../core/clock.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Command } from '../../exec/local.ts'
import { skewOf } from './clocks.ts'
import type { Fleet, Host, Unit } from './fleet.ts'
import type { Sums } from './pin.ts'
import { lookScript, releasesScript, type SumsQuestion, sumsScript } from './scripts.ts'

type UnitState = 'running' | 'stopped' | 'busy' | 'unknown'

export interface UnitView {
  readonly is: UnitState
  readonly code: number
  readonly version: string | null
  /** The idem of the last step that ended well here. */
  readonly did: string | null
  /** The release that the link was put on without this unit having been restarted since. */
  readonly stale: string | null
}

export interface HostView {
  readonly host: string
  /** Why it could not be asked; everything else is empty then. */
  readonly silent: { code: string; why: string } | null
  /** What the link leads to: a release or a slot; null where there is none. */
  readonly link: string | null
  readonly there: boolean
  readonly notLink: boolean
  readonly slots: Readonly<Record<string, string>>
  readonly units: Readonly<Record<string, UnitView>>
  readonly alive: readonly { scope: string; idem: string; pid: string }[]
  readonly inFlight: string | null
  /** What the last switch left, and the release that its run went back to. */
  readonly from: { from: string; to: string; towards: string } | null
  /** The last `reload` that ended well here, by its step's idem; the release for which one has not yet. */
  readonly reload: { readonly did: string | null; readonly due: string | null }
  /** Of the release that the link leads to, without its files being read; null where nobody asked, or it is gone. */
  readonly sums: Sums | null
  /** How wrong its clock is, in seconds; null where nobody asked, or it is right. */
  readonly skew: number | null
}

const STATES: Readonly<Record<number, UnitState>> = { 0: 'running', 3: 'stopped', 5: 'busy' }

/** Asks one host, in one command. A host that cannot be asked is `silent`, never thrown. */
export async function look(
  fleet: Fleet,
  host: Host,
  signal: AbortSignal,
  units = host.units,
  sums = false,
): Promise<HostView> {
  try {
    const script = lookScript(fleet, host, units, sums)
    const asked = systemClock.now()
    const found = await ask(host, script, fleet.config.limits.status, signal)
    const clock = found.find(([word]) => word === 'clock')?.[1]
    return { ...parseLook(host, units, found), skew: skewOf(clock, asked, systemClock.now()) }
  } catch (error) {
    signal.throwIfAborted()
    const code = error instanceof BackoutError ? error.code : 'host_unreachable'
    return { ...NOTHING_SEEN, host: host.name, silent: { code, why: messageOf(error) } }
  }
}

const NOTHING_SEEN: Omit<HostView, 'host' | 'silent'> = {
  link: null,
  there: false,
  notLink: false,
  slots: {},
  units: {},
  alive: [],
  inFlight: null,
  from: null,
  reload: { did: null, due: null },
  sums: null,
  skew: null,
}

/** The facts of a script, as "word rest". Throws where it did not come to its end: half a truth is none. */
async function ask(host: Host, script: string, limitMs: number, signal: AbortSignal): Promise<[string, string][]> {
  const result = await host.runner.run(scriptCommand(script, limitMs, 'backout-look'), signal)
  const found = facts(host, result.stdout, result.stderr)
  const failed = found.find(([word]) => word === 'fail')
  if (failed === undefined) return found
  const [code = 'failed', where = ''] = failed[1].split(' ')
  throw new BackoutError({
    code,
    what: `${where} on ${host.name} cannot be read`,
    next: 'give the user who deploys the right to read it: it holds the marks of earlier steps',
    exit: 'failed',
  })
}

export function scriptCommand(script: string, limitMs: number, idem: string): Command {
  return { argv: ['sh', '-s'], stdin: script, limitMs, idem, keepBytes: 256 * 1024 }
}

export function facts(host: Host, stdout: string, stderr: string): [string, string][] {
  const lines = stdout.trimEnd().split('\n')
  if (lines.at(-1) !== 'end') {
    throw new BackoutError({
      code: 'host_answer_cut',
      what: `${host.name} did not answer to the end`,
      cause: stderr.trim().slice(-500) || undefined,
      next: `look at ${host.name}: it needs a POSIX sh, readlink, head, tr, find and sha256sum`,
      exit: 'failed',
    })
  }
  return lines.slice(0, -1).map(line => {
    const space = line.indexOf(' ')
    return space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1).trim()]
  })
}

export function parseLook(host: Host, units: readonly Unit[], found: [string, string][]): HostView {
  const one = (word: string) => found.find(([w]) => w === word)?.[1]
  const of = (word: string, label: string) => {
    const hit = found.find(([w, rest]) => w === word && (rest === label || rest.startsWith(`${label} `)))
    return hit === undefined ? null : hit[1].slice(label.length + 1)
  }
  const from = one('from')?.split(' ')
  return {
    host: host.name,
    silent: null,
    link: one('link') || null,
    there: one('there') !== undefined,
    notLink: one('notlink') !== undefined,
    slots: Object.fromEntries(found.filter(([w]) => w === 'slot').map(([, rest]) => pair(rest))),
    units: Object.fromEntries(
      units.map(({ label }) => {
        const code = Number(of('status', label) ?? 4)
        const version = of('version', label) || null
        return [
          label,
          { is: STATES[code] ?? 'unknown', code, version, did: of('did', label), stale: of('stale', label) },
        ]
      }),
    ),
    alive: found.filter(([w]) => w === 'alive').map(([, rest]) => markOf(rest)),
    inFlight: one('inflight') === undefined ? null : one('inflight') || 'a deployment',
    from: from?.length === 3 ? { from: from[0] ?? '', to: from[1] ?? '', towards: from[2] ?? '' } : null,
    reload: { did: one('reload.did') || null, due: one('reload.due') || null },
    sums: sumsIn(found),
    skew: null,
  }
}

function pair(text: string): [string, string] {
  const [head = '', ...rest] = text.split(' ')
  return [head, rest.join(' ')]
}

function markOf(text: string): { scope: string; idem: string; pid: string } {
  const [mark = '', file = ''] = text.split(' ')
  const [pid = '', , ...idem] = mark.split(':')
  return { scope: file.replace(/^(lock|svc)\./, ''), idem: idem.join(':'), pid }
}

/** The release that a host's link gives, by way of its slot in blue-green; null where there is none. */
export function releaseOf(fleet: Fleet, view: HostView): string | null {
  if (view.link === null) return null
  return fleet.config.strategy === 'symlink' ? view.link : view.slots[view.link] || null
}

/** The folder of a release, or of the slot that holds it, below the root; null where no slot holds it. */
export function folderOf(fleet: Fleet, view: HostView, release: string): string | null {
  if (fleet.config.strategy === 'symlink') return `releases/${release}`
  return Object.entries(view.slots).find(([, held]) => held === release)?.[0] ?? null
}

export interface SumsView {
  /** null where the folder is gone. */
  readonly sums: Sums | null
  /** The manifest that was pinned is not there any more. */
  readonly noManifest: boolean
  /** Files that differ from their manifest, the first few. */
  readonly bad: readonly string[]
  /** Units that sudo would not restart, with why. */
  readonly refused: readonly string[]
}

function sumsIn(found: readonly [string, string][]): Sums | null {
  const [how = '', sha256 = '', files = '0'] = found.find(([w]) => w === 'sums')?.[1].split(' ') ?? []
  const known = how === 'manifest' || how === 'own' || how === 'none'
  return known ? { how, sha256: how === 'none' ? '' : sha256, files: Number(files) } : null
}

/** Reads the checksums of a folder. Throws where the host cannot be asked. */
export async function readSums(fleet: Fleet, host: Host, q: SumsQuestion, signal: AbortSignal): Promise<SumsView> {
  const found = await ask(host, sumsScript(fleet, host, q), fleet.config.limits.switch, signal)
  return {
    sums: sumsIn(found),
    noManifest: found.some(([w]) => w === 'nomanifest'),
    bad: found.filter(([w]) => w === 'bad').map(([, rest]) => rest),
    refused: found.filter(([w]) => w === 'refused').map(([, rest]) => rest),
  }
}

/** Release folders of a host, newest first. Throws where the host cannot be asked. */
export async function listReleases(
  fleet: Fleet,
  host: Host,
  signal: AbortSignal,
): Promise<{ name: string; at: string | null }[]> {
  const found = await ask(host, releasesScript(fleet, host), fleet.config.limits.status, signal)
  return found
    .filter(([w]) => w === 'release')
    .map(([, rest]) => pair(rest))
    .map(([seconds, name]) => ({
      name,
      at: /^\d+$/.test(seconds) ? new Date(Number(seconds) * 1000).toISOString() : null,
    }))
}
