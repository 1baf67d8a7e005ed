/**
 * A child must not outlive the process that answers for it. This POSIX shell script stands between them: it is the
 * leader of a process group of its own, waits for "go" on the lifeline (fd 3) so that its pid can be journalled before
 * anything happens, and ends the whole group when the lifeline closes: TERM, and KILL for what is left after two
 * seconds. It exits last, so that its end says that the group is gone. `$0` is the idem, which shows in `ps`.
 */
export const SUPERVISOR = `
read -r go <&3 || exit 125
exec 4<&0
BACKOUT_IDEM=$0 "$@" <&4 4<&- 3<&- &
child=$!
exec 4<&- </dev/null
ended=
trap '' TERM INT HUP
trap 'ended=1' USR1
others() {
  [ -d /proc/self ] || return 0
  n=0
  for f in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$f" || continue
    set -- \${line##*) }
    [ "$3" = $$ ] && [ "$1" != Z ] && n=$((n+1))
  done
  [ $n -gt 2 ]
}
( read -r end <&3; kill -USR1 $$; kill -TERM 0
  i=0; while [ $i -lt 20 ]; do sleep 0.1; others || break; i=$((i+1)); done
  kill -KILL 0 ) >/dev/null 2>&1 &
watch=$!
wait $child
code=$?
[ -n "$ended" ] && wait $watch
kill -KILL $watch 2>/dev/null
exit $code
`
