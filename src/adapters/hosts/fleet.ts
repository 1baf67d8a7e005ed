import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { OpenContext } from '../../core/contract.ts'
import { reveal, type Text } from '../../core/secret.ts'
import { localRunner, quote, type Runner, sshRunner } from '../../exec/ssh.ts'
import type { HostsConfig, Size } from './config.ts'
import type { Member } from './members.ts'

/** One process on one host; in blue-green with a service a slot, one of each slot. */
export interface Unit {
  /** Names it on its host, in step ids and in the files under .backout/: "main", "a", "a.blue". */
  readonly label: string
  readonly instance: string
  readonly slot: string | null
}

export interface Host {
  readonly name: string
  readonly root: string
  readonly runner: Runner
  readonly units: readonly Unit[]
}

/** All hosts of a component and what is the same on each of them. */
export interface Fleet {
  readonly component: string
  readonly config: HostsConfig
  readonly link: string
  readonly hosts: readonly Host[]
  readonly identity: string
  /** Folder of backout.yaml. */
  readonly baseDir: string
  /** Blue-green with service commands that name {slot}: both slots can run at the same time. */
  readonly perSlot: boolean
  /** How many of all hosts may fail or be out of reach. */
  readonly mayFail: number
}

export const SLOTS = ['blue', 'green'] as const
/** Stands for the release in a command until the shell on the host knows it. */
const RELEASE = '\u0001release\u0001'

export function openFleet(config: HostsConfig, members: readonly Member[], ctx: OpenContext): Fleet {
  const perSlot = config.strategy === 'blue-green' && JSON.stringify(raw(config)).includes('{slot}')
  const hosts = members.map(member => {
    const { name } = member
    const root = config.root.replaceAll('{host}', name).replace(/\/+$/, '')
    return { name, root, runner: runnerFor(member, config, ctx), units: unitsOf(config, perSlot) }
  })
  return {
    component: ctx.component,
    config,
    link: config.link ?? (config.strategy === 'symlink' ? 'current' : 'live'),
    hosts,
    identity: identityOf(config, members),
    baseDir: ctx.baseDir,
    perSlot,
    mayFail: mayFail(config, members.length),
  }
}

function runnerFor({ address, sshConfig }: Member, config: HostsConfig, ctx: OpenContext): Runner {
  if (address === null) return localRunner()
  const file = sshConfig ?? config.sshConfig
  return sshRunner({
    address,
    config: file === undefined ? undefined : resolve(ctx.baseDir, file),
    connectMs: config.limits.connect,
  })
}

/** How many failures are tolerated: with `stopAt`, one less than what it stops at; never all, for that is no success. */
function mayFail({ maxFailures = 0, stopAt }: HostsConfig, hosts: number): number {
  const wanted = stopAt === undefined ? maxFailures : Math.max(1, sizeOf(stopAt, hosts)) - 1
  return Math.min(wanted, hosts - 1)
}

/** A number, or the percentage of all hosts, rounded down; at least one. */
export function sizeOf(size: Size, hosts: number): number {
  if (typeof size === 'number') return size
  return Math.max(1, Math.floor((hosts * Number.parseInt(size, 10)) / 100))
}

function unitsOf(config: HostsConfig, perSlot: boolean): Unit[] {
  if (config.service === undefined && config.version === undefined) return []
  const names = config.instances ?? ['']
  const slots = perSlot ? SLOTS : [null]
  return names.flatMap(instance =>
    slots.map(slot => ({ label: [instance, slot].filter(Boolean).join('.') || 'main', instance, slot })),
  )
}

/** The root and the hosts, a long list by its hash: stable over releases, and another fleet is another system. */
function identityOf(config: HostsConfig, members: readonly Member[]): string {
  const names = members.map(member => member.name).sort()
  if (names.length <= 5) return `hosts:${config.root}@${names.join(',')}`
  const hash = createHash('sha256').update(names.join('\n')).digest('hex').slice(0, 12)
  return `hosts:${config.root}@${names[0]}..${names.at(-1)}(${names.length},${hash})`
}

function raw(config: HostsConfig): unknown {
  return Object.values(config.service ?? {}).map(v => (Array.isArray(v) ? v.map(w => source(w as Text)) : v))
}

function source(text: Text): string {
  return typeof text === 'string' ? text : text.source
}

/** A command as a line for the shell on the host, its placeholders filled in; {release} stays to the shell's $release. */
export function lineOf(words: readonly Text[], host: Host, unit: Unit | null): string {
  return words.map(word => quote(fill(reveal(word), host, unit)).replaceAll(RELEASE, `'"$release"'`)).join(' ')
}

export function fill(word: string, host: Host, unit: Unit | null): string {
  return word
    .replaceAll('{host}', host.name)
    .replaceAll('{instance}', unit?.instance ?? '')
    .replaceAll('{slot}', unit?.slot ?? '')
    .replaceAll('{root}', host.root)
    .replaceAll('{release}', RELEASE)
}

/** The commands that see and stop a deployment, and where they are run. */
export function wordsOf(inFlight: HostsConfig['inFlight']): {
  readonly check?: readonly Text[] | undefined
  readonly stop?: readonly Text[] | undefined
  readonly on: 'hosts' | 'here'
} {
  if (inFlight === undefined) return { on: 'hosts' }
  return 'on' in inFlight ? inFlight : { check: inFlight, on: 'hosts' }
}

export interface ServiceLines {
  readonly start: string
  readonly stop: string
  readonly restart: string
  readonly status: string
  readonly version: string
  /** Prints what changes with every start; systemd alone can say. */
  readonly life: string
}

const NO_LINES: ServiceLines = { start: '', stop: '', restart: '', status: '', version: '', life: '' }

/** The service's commands for one unit as shell lines; empty where there is none. */
export function serviceLines(fleet: Fleet, host: Host, unit: Unit): ServiceLines {
  const { service, version } = fleet.config
  const line = (words: readonly Text[] | undefined) => (words === undefined ? '' : lineOf(words, host, unit))
  if (service === undefined) return { ...NO_LINES, version: line(version) }
  if (!('systemd' in service)) {
    const { start, stop, restart, status } = service
    return {
      ...NO_LINES,
      start: line(start),
      stop: line(stop),
      restart: line(restart),
      status: line(status),
      version: line(version),
    }
  }
  const control = [...(service.sudo ? ['sudo', '-n'] : []), 'systemctl', ...(service.user ? ['--user'] : [])]
  const verb = (word: string) => line([...control, word, service.systemd])
  const starting = (word: string) =>
    line(['sh', '-c', SYSTEMD_START, 'systemd-start', service.systemd, word, ...control])
  const asking = control.filter(word => word !== 'sudo' && word !== '-n')
  return {
    start: starting('start'),
    stop: verb('stop'),
    restart: starting('restart'),
    status: line(['sh', '-c', SYSTEMD_STATUS, 'systemd-status', service.systemd, ...asking]),
    version: line(version),
    life: line([...asking, 'show', '-p', 'InvocationID', '--', service.systemd]),
  }
}

/** A unit that was started too often, as a bad release is, is not started again until that is forgiven. */
const SYSTEMD_START = `unit=$1; verb=$2; shift 2
case $* in *--user*) user=--user ;; *) user= ;; esac
! systemctl $user is-failed --quiet "$unit" || "$@" reset-failed "$unit"
exec "$@" "$verb" "$unit"`

/** Asks systemd in the codes of a status command; 5 = on its way up or down. A unit in a crash loop does not run. */
const SYSTEMD_STATUS = `unit=$1; shift
shown=$("$@" show -p LoadState -p ActiveState -p SubState -- "$unit") || exit 4
case $shown in
  *LoadState=not-found*) exit 4 ;;
  *SubState=auto-restart*) exit 3 ;;
  *ActiveState=active*) exit 0 ;;
  *ActiveState=inactive*|*ActiveState=failed*) exit 3 ;;
  *) exit 5 ;;
esac`
