import { Buffer } from 'node:buffer'
import type { Command } from './local.ts'

/** One word for a POSIX shell, whatever stands in it. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/**
 * What the login shell of the other side is given: short enough to mean the same in sh, bash, csh and fish. The real
 * script comes as the first line of stdin.
 */
export const BOOTSTRAP = `exec sh -c 'IFS= read -r s; eval "$(printf %b "$s")"' backout`

/**
 * Runs what comes on stdin, two lines a command: its nonce and idem, then its script, so that neither arguments nor
 * environment show in the other side's `ps`; `$0` is the idem, which does. Each is the leader of a process group of its
 * own. Says "free" on both outputs once nobody is left who could print more: what holds an output keeps its `cat` alive.
 * Without setsid (not in POSIX) one command is run, as the leader of the session's own group.
 */
export function dispatcher(): string {
  return `
one='IFS= read -r s; eval "$(printf %b "$s")"'
command -v setsid >/dev/null 2>&1 || { read -r n idem; exec sh -c "$one" "$idem"; }
while read -r n idem; do
  { { setsid sh -c "$one" "$idem" 2>&1 >&3 3>&- | cat >&2; } 3>&1 | cat; }
  printf '\\n%s free\\n' "$n"
  printf '\\n%s free\\n' "$n" >&2
done`
}

/** A script as one line, as `printf %b` turns it back. */
export function asLine(script: string): string {
  return script.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function asOctal(content: string | Uint8Array): string {
  let out = ''
  for (const byte of Buffer.from(content)) {
    out +=
      byte >= 32 && byte < 127 && byte !== 92 ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, '0')}`
  }
  return out
}

/**
 * The counterpart of SUPERVISOR on the other side, with stdin as the lifeline: says its pid (which is its group's),
 * waits for "go", ends the whole group when the lifeline closes, and says the exit code at the end, so that it is never
 * taken for ssh's own. `$0` is the idem, which shows in `ps`. POSIX sh only: dash, bash, busybox.
 */
export function remoteScript(command: Command, nonce: string): string {
  const env = Object.entries(command.env ?? {}).map(([name, value]) => `export ${name}=${quote(value)}`)
  const run = command.argv.map(quote).join(' ')
  const fed = command.stdin === undefined ? `${run} </dev/null` : `printf %b ${quote(asOctal(command.stdin))} | ${run}`
  return `n=${nonce}
printf '%s start %s\\n' "$n" "$$"
IFS= read -r go || exit 125
[ "$go" = go ] || exit 125
exec 3<&0 </dev/null
${command.cwd === undefined ? ':' : `cd ${quote(command.cwd)}`} || { printf '\\n%s end nocwd\\n' "$n"; exit 125; }
group() { l=; { IFS= read -r l <"/proc/$1/stat"; } 2>/dev/null || return 1; l=\${l##*) }; set -- $l; [ "$1" != Z ] && g=$3; }
others() {
  group $$ || return 0
  mine=$g
  for f in /proc/[0-9]*; do
    [ "\${f#/proc/}" != $$ ] && group "\${f#/proc/}" && [ "$g" = "$mine" ] && return 0
  done
  return 1
}
{
BACKOUT_IDEM=$0
export BACKOUT_IDEM
${env.join('\n')}
${fed}
} 3<&- &
child=$!
ended=
trap 'ended=1' USR1
trap '' TERM INT HUP PIPE
( IFS= read -r end <&3; kill -USR1 $$ ) >/dev/null 2>&1 &
watch=$!
wait $child
code=$?
if [ -n "$ended" ]; then
  kill -TERM 0
  t=$(($(date +%s) + 2))
  while others && [ "$(date +%s)" -lt $t ]; do sleep 0.1 2>/dev/null || sleep 1; done
  others && kill -KILL 0
  code=killed
fi
kill -KILL $watch 2>/dev/null
wait $watch 2>/dev/null
printf '\\n%s end %s\\n' "$n" "$code"
[ "$code" != killed ] || exit 143
exit "$code"
`
}
