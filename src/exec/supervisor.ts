/**
 * A child must not outlive the process that answers for it. This POSIX shell script stands between them: it is the
 * leader of a process group of its own, waits for "go" on the lifeline (fd 3) so that its pid can be journalled before
 * anything happens, and ends the whole group when the lifeline closes. `$0` is the idem, which shows in `ps`.
 */
export const SUPERVISOR = `
read -r go <&3 || exit 125
exec 4<&0
BACKOUT_IDEM=$0 "$@" <&4 4<&- 3<&- &
child=$!
exec 4<&- </dev/null
trap '' TERM INT HUP
( read -r end <&3; kill -TERM 0; sleep 2; kill -KILL 0 ) >/dev/null 2>&1 &
watch=$!
wait $child
code=$?
kill -KILL $watch 2>/dev/null
exit $code
`
