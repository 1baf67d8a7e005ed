import { quote } from '../../exec/ssh.ts'
import type { Text } from '../../core/secret.ts'
import { type Fleet, type Host, lineOf, SLOTS, serviceLines, type Unit, wordsOf } from './fleet.ts'
import type { Sums } from './pin.ts'
import { LOCKS, PRELUDE, SUMS, WATCH } from './shell.ts'

/**
 * What is run on the hosts: POSIX sh (dash, bash, busybox), given to `sh -s` so that no secret shows in a process list.
 * Facts come on stdout, one a line and closed by "end"; what the service's own commands print goes to stderr.
 */

/** What is under way, where the command that should say so does not work. */
export const UNTOLD = 'something that nobody can tell of'

/** Names of releases that are ever put into a command or a path. */
export const SAFE_NAME = /^[A-Za-z0-9][A-Za-z0-9._+@:=-]*$/

export function assign(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quote(value)}`)
    .join('\n')
}

/** Where everything is, for all scripts of one host. */
export function ground(fleet: Fleet, host: Host, idem: string): string {
  const { config } = fleet
  const ofUser = config.service !== undefined && 'systemd' in config.service && config.service.user
  const values = assign({
    root: host.root,
    link: fleet.link,
    folder: config.strategy === 'symlink' ? 'releases/' : '',
    releasefile: config.releaseFile,
    manifest: config.manifest,
    ignored: ['.nothing', ...config.ignore].map(name => `-name ${name}`).join(' -o '),
    host: host.name,
    instance: '',
    slot: '',
    release: '',
    idem,
  })
  return ofUser ? `${values}\n${USER_MANAGER}` : values
}

/** Where the user's own systemd listens: a login over SSH does not always say. */
const USER_MANAGER = 'export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"'

/** Read whole before anything runs: the shell's stdin is never what a command sees, nor is half a script ever run. */
export function whole(...parts: string[]): string {
  return `set -uf\nmain() {\n${parts.join('\n')}\n}\nmain\n`
}

function enter(fleet: Fleet, host: Host, unit: Unit): string {
  return assign({ instance: unit.instance, slot: unit.slot ?? '', ...serviceLines(fleet, host, unit) })
}

/** Reads what a host is; `sums`: with the checksum of the manifest of the release that its link leads to. */
export function lookScript(fleet: Fleet, host: Host, units: readonly Unit[], sums = false): string {
  const { config } = fleet
  return whole(
    ground(fleet, host, 'look'),
    PRELUDE,
    WATCH,
    sums ? SUMS : '',
    String.raw`
[ -d "$root/" ] || { say noroot; say end; exit 0; }
[ ! -d "$box" ] || { [ -r "$box" ] && [ -x "$box" ]; } || fail not_readable "$box"
[ -L "$root/$link" ] || [ ! -e "$root/$link" ] || say notlink
[ -d "$root/$link/" ] && say there
release=$(base)
say "link $release"
set +f
for f in "$box"/lock.* "$box"/svc.*; do
  [ -L "$f" ] || continue
  m=$(readlink "$f") && alive "$m" && say "alive $m ${'$'}{f##*/}"
done
set -f
for f in from reload.due reload.did; do
  [ ! -f "$box/$f" ] || say "$f $(clean <"$box/$f")"
done`,
    ...(config.strategy === 'blue-green' ? SLOTS.map(slot => `say "slot ${slot} $(slotrelease ${slot})"`) : []),
    ...(config.strategy === 'blue-green' ? ['live=$release', 'release=$(slotrelease "$live")'] : []),
    ...flightLines(fleet, host),
    sums ? 'say "clock $(date +%s)"' : '',
    sums
      ? `[ -z "$release" ] || sums "$root/${config.strategy === 'symlink' ? '$folder$release' : '$live'}" any quick`
      : '',
    // All units at the same time: each asks a status and a version command of its own.
    ...units.map(unit => `(\n${lookUnit(fleet, host, unit)}\n) &`),
    'wait',
    'say end',
  )
}

/** What deployment is under way, in the words of those who know. */
function flightLines({ config }: Fleet, host: Host): string[] {
  const { check, on } = wordsOf(config.inFlight)
  const marked = '[ ! -e "$root/.deploying" ] || say "inflight $(clean <"$root/.deploying")"'
  if (check === undefined || on === 'here') return [marked]
  return [
    marked,
    `what=$(in_dir "$root" ${quote(lineOf(check, host, null))} </dev/null)`,
    `code=$?`,
    'if [ $code -eq 0 ]; then say "inflight $(say "$what" | clean)"',
    `elif [ $code -gt 125 ]; then say "inflight ${UNTOLD} (inFlight ended with $code)"; fi`,
  ]
}

/** Stops a deployment that is under way on this host, where one is. */
export function haltScript(fleet: Fleet, host: Host, idem: string, stop: readonly Text[]): string {
  return whole(
    ground(fleet, host, idem),
    PRELUDE,
    LOCKS,
    assign({ status: '', version: '' }),
    WATCH,
    'dir=$root',
    'take halt',
    `do_it ${quote(lineOf(stop, host, null))} || leave command_failed "exit code $code"`,
    'finish halted',
  )
}

function lookUnit(fleet: Fleet, host: Host, unit: Unit): string {
  return `${enter(fleet, host, unit)}
dir=$root/$link
${unit.slot === null ? '' : `dir=$root/${unit.slot}; release=$(slotrelease ${unit.slot})`}
is
say "status ${unit.label} $code"
[ $code -ne 0 ] || [ -z "$version" ] || { ran; say "version ${unit.label} $got"; }
[ ! -f "$box/did.${unit.label}" ] || say "did ${unit.label} $(clean <"$box/did.${unit.label}")"
[ ! -f "$box/stale.${unit.label}" ] || say "stale ${unit.label} $(clean <"$box/stale.${unit.label}")"`
}

export interface SumsQuestion {
  /** Folder below the root. */
  readonly dir: string
  /** `any`: for a capture. */
  readonly how: Sums['how'] | 'any'
  readonly quick: boolean
}

/** Says which units sudo would not let be restarted without a password, with what it says itself. */
function mayScript(fleet: Fleet, host: Host): string[] {
  const { service } = fleet.config
  if (service === undefined || !('systemd' in service) || !service.sudo) return []
  return host.units.map(unit => {
    const line = lineOf(['sudo', '-n', '-l', 'systemctl', 'restart', service.systemd], host, unit)
    return `why=$(${line} 2>&1 </dev/null) || say "refused ${unit.label} $(say "$why" | clean)"`
  })
}

/** Reads the checksums of a release folder, and whether what comes after would be allowed. */
export function sumsScript(fleet: Fleet, host: Host, q: SumsQuestion): string {
  return whole(
    ground(fleet, host, 'sums'),
    PRELUDE,
    SUMS,
    ...(fleet.config.strategy === 'blue-green' ? [`say "holds $(slotrelease ${quote(q.dir)})"`] : []),
    `sums "$root"/${quote(q.dir)} ${q.how} ${q.quick ? 'quick' : 'full'}`,
    ...(q.how === 'any' ? [] : mayScript(fleet, host)),
    'say end',
  )
}

/** Lists the release folders, newest first, with the time they were last changed in seconds. */
export function releasesScript(fleet: Fleet, host: Host): string {
  return whole(
    ground(fleet, host, 'list'),
    PRELUDE,
    String.raw`
ls -1t "$root/releases" 2>/dev/null | while IFS= read -r name; do
  [ -d "$root/releases/$name/" ] && say "release $(stat -c %Y "$root/releases/$name" 2>/dev/null || echo -) $name"
done
say end`,
  )
}

export interface ServiceQuestion {
  readonly do: 'stop' | 'start' | 'restart'
  readonly unit: Unit
  readonly release: string
  readonly version: string | null
}

/** Stops, starts or restarts one unit and waits until it is so. */
export function serviceScript(fleet: Fleet, host: Host, idem: string, q: ServiceQuestion): string {
  const { limits } = fleet.config
  const limit = q.do === 'stop' ? limits.stop : limits.start
  const doing = {
    stop: 'if [ $code -ne 3 ]; then do_it "$stop"; until_stops; fi',
    start: `if [ $code -eq 3 ]; then start_it
elif [ $code -ne 0 ] || ! fresh; then restart_it; fi
until_runs
spent=$box/stale.$label`,
    restart: 'if [ $code -eq 3 ]; then start_it; else restart_it; fi\nuntil_runs\nspent=$box/stale.$label',
  }[q.do]
  return whole(
    ground(fleet, host, idem),
    enter(fleet, host, q.unit),
    PRELUDE,
    LOCKS,
    WATCH,
    assign({
      label: q.unit.label,
      release: q.release,
      want: q.version ?? '',
      seconds: String(Math.ceil(limit / 1000)),
      settle: limits.settle === 0 ? '0' : String(limits.settle / 1000),
    }),
    String.raw`
fresh() {
  [ ! -f "$box/stale.$label" ] || return 1
  [ -n "$version" ] && [ -n "$want" ] || return 0
  ran
  [ "$got" = "$want" ]
}
start_it() { do_it "$start" || leave command_failed "start $code"; }
restart_it() {
  if [ -n "$restart" ]; then do_it "$restart" || leave command_failed "restart $code"
  else do_it "$stop"; until_stops; start_it; fi
}
take "unit.$label"
is
case $code in 0|3|5) ;; *) leave status_unknown "$code" ;; esac
${q.do === 'stop' ? '' : '[ -z "$slot" ] || [ "$(slotrelease "$slot")" = "$release" ] || leave release_gone "$root/$slot holds $(slotrelease "$slot")"'}
${doing}
put "$box/did.$label" "$idem"
finish ${q.do}`,
  )
}
