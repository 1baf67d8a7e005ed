import { type Fleet, type Host, lineOf, SLOTS, serviceLines } from './fleet.ts'
import type { Sums } from './pin.ts'
import { assign, ground, whole } from './scripts.ts'
import { LOCKS, PRELUDE, SUMS, WATCH } from './shell.ts'

/** A host that did not answer when the plan was made could not say which slot holds the release: it is asked now. */
const FIND_SLOT = `if [ -z "$to" ]; then
  for slot in $(base) ${SLOTS.join(' ')}; do
    [ "$(slotrelease "$slot")" != "$release" ] || { to=$slot; break; }
  done
  slot=
  [ -n "$to" ] || leave release_gone "neither slot holds it"
fi`

export interface SwitchQuestion {
  /** What the link is to lead to: a release's folder, or a slot; null = the slot that holds the release. */
  readonly to: string | null
  readonly release: string
  /** What it leads to now; null = whatever. */
  readonly expect: string | null
  readonly sums: Sums
  readonly stale: readonly string[]
  readonly version: string | null
  /** Name of the release that the run goes back to; empty where nobody says. */
  readonly towards: string
}

/**
 * Verifies the artefact and puts the link on it, in one rename. From before the rename until `reload` ended well a mark says
 * that it is due: nobody else can tell what is served.
 */
export function switchScript(fleet: Fleet, host: Host, idem: string, q: SwitchQuestion): string {
  const { config } = fleet
  const blueGreen = config.strategy === 'blue-green'
  const serviceless = config.service === undefined && config.version !== undefined
  const unit = { label: 'main', instance: '', slot: null }
  return whole(
    ground(fleet, host, idem),
    PRELUDE,
    LOCKS,
    SUMS,
    assign({ ...serviceLines(fleet, host, unit), status: '' }),
    WATCH,
    assign({
      to: q.to ?? '',
      release: q.release,
      expect: q.expect ?? '',
      how: q.sums.how,
      sha: q.sums.sha256,
      stale: q.stale.join(' '),
      want: q.version ?? '',
      towards: q.towards,
      seconds: String(Math.ceil(config.limits.start / 1000)),
      reload: config.reload === undefined ? '' : lineOf(config.reload, host, null),
    }),
    String.raw`
take switch
${blueGreen ? FIND_SLOT : ''}
target=$folder$to
[ -d "$root/$target/" ] || leave release_gone "$root/$target"
${blueGreen ? '[ "$(slotrelease "$to")" = "$release" ] || leave release_gone "$root/$to holds $(slotrelease "$to")"' : ''}
found=$(sums "$root/$target" "$how" sure)
bad=
case $found in *"bad "*) bad=$(say "$found" | sed -n 's/^bad //p' | tr '\n' ' ') ;; esac
[ -z "$bad" ] || leave artefact_altered "$bad"
case $how in
  none) ;;
  *) case $found in "sums $how $sha "*) ;; *) leave artefact_altered "$found" ;; esac ;;
esac
[ -L "$root/$link" ] || [ ! -e "$root/$link" ] || leave not_a_link "$root/$link"
leads=$(readlink "$root/$link" 2>/dev/null)
now=$(base "$leads")
[ "$now" = "$to" ] || [ -z "$expect" ] || [ "$now" = "$expect" ] || leave link_moved "$now"
[ -z "$reload" ] || put "$box/reload.due" "$release"
if [ "$now" != "$to" ]; then
  for label in $stale; do put "$box/stale.$label" "$release"; done
  put "$box/from" "$now $to $towards"
  case $leads in /*) target=$root/$target ;; esac
  new=$root/.$link.$idem
  [ ! -L "$new" ] || rm -f "$new"
  ln -s "$target" "$new" || leave not_writable "$root"
  why=$(mv -Tf "$new" "$root/$link" 2>&1) || mv -hf "$new" "$root/$link" 2>/dev/null || { say "$why" >&2; leave not_writable "$root"; }
  sync "$root" 2>/dev/null || :
fi
if [ -n "$reload" ]; then
  do_it "$reload" || leave command_failed "reload $code"
  put "$box/reload.did" "$idem"
  rm -f "$box/reload.due"
fi`,
    ...(serviceless ? ['until_time "$seconds"', 'until_version'] : []),
    'finish switched',
  )
}
