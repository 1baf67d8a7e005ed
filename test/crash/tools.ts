/**
 * The world's own commands, as an operator would write them: POSIX sh, one file each. Every effect appends a line to
 * `effects` (milliseconds, then what), and `middle NAME` marks the middle of one: where `hold.NAME` is there, it stays
 * there until that is taken away.
 */
const PRELUDE = `#!/bin/sh
W=\${0%/*/*}
effect() { printf '%s %s\\n' "$(date +%s%3N)" "$*" >>"$W/effects"; }
middle() {
  [ -e "$W/hold.$1" ] || return 0
  echo $$ >"$W/at.$1"
  while [ -e "$W/hold.$1" ]; do sleep 0.02; done
}
`

/** put.sh NAME FILE CONTENT: an effect in one go, its line included. `lie.NAME`: does nothing. `flood.NAME`: 5 MB of output. */
const PUT = `${PRELUDE}
middle "$1"
[ ! -e "$W/lie.$1" ] || exit 0
[ ! -e "$W/flood.$1" ] || head -c 5000000 /dev/zero | tr '\\0' x
mkdir -p "$W/\${2%/*}"
trap '' TERM
printf '%s\\n' "$3" >"$W/$2.new" && mv "$W/$2.new" "$W/$2" && effect "$1"
trap - TERM
middle "$1.after"
`

/** say.sh FILE: what the command adapter observes. */
const SAY = `${PRELUDE}
IFS= read -r is <"$W/$1"
printf '{"state":"%s","summary":"%s"}\\n' "$is" "$is"
`

/** is.sh FILE: 0 where it holds BACKOUT_STATE (a JSON string), 1 otherwise. */
const IS = `${PRELUDE}
IFS= read -r is <"$W/$1"
[ "\\"$is\\"" = "$BACKOUT_STATE" ]
`

/** done.sh NAME: an effect that leaves no trace but its line. */
const DONE = `${PRELUDE}
middle "$1"
effect "$1"
middle "$1.after"
`

/** service.sh start|stop|status|version NAME, in the folder of a release. Only one daemon a name can be alive. */
const SERVICE = `${PRELUDE}
run=$W/run/$2
up() {
  IFS=' ' read -r p v <"$run" || return 1
  c=
  IFS= read -r c <"/proc/$p/cmdline" || :
  case $c in *daemon.sh*) return 0 ;; *) return 1 ;; esac
} 2>/dev/null
case $1 in
  start)
    middle "start.$2"
    IFS= read -r release <VERSION
    up || setsid flock -n "$run.lock" sh "$W/tools/daemon.sh" "$run" "$release" "$2" >/dev/null 2>&1 </dev/null &
    i=0
    until up; do i=$((i+1)); [ $i -lt 500 ] || exit 1; sleep 0.01; done
    middle "start.$2.after"
    ;;
  stop)
    middle "stop.$2"
    up || exit 0
    kill "$p"
    while up; do sleep 0.01; done
    middle "stop.$2.after"
    ;;
  status) up || exit 3 ;;
  version) up && echo "$v" ;;
esac
`

/** daemon.sh RUNFILE VERSION NAME: waits for nothing, without a child of its own. */
const DAEMON = `${PRELUDE}
rm -f "$1.fifo" && mkfifo "$1.fifo"
effect "up $3 $2"
echo "$$ $2" >"$1.new" && mv "$1.new" "$1"
exec 3<>"$1.fifo"
read -r never <&3
`

/** Undoes one migration in one transaction, and counts it there: nothing could be more exact. */
const DOWN = `
const { DatabaseSync } = require('node:sqlite')
const { existsSync, writeFileSync } = require('node:fs')
const W = require('node:path').dirname(__dirname)
const name = process.env.BACKOUT_MIGRATION
const middle = at => {
  if (!existsSync(W + '/hold.' + at)) return
  writeFileSync(W + '/at.' + at, String(process.pid))
  while (existsSync(W + '/hold.' + at)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
}
const down = { '002_discount': 'ALTER TABLE orders DROP COLUMN discount', '003_coupons': 'DROP TABLE coupons' }
middle('down.' + name + '.early')
const db = new DatabaseSync(process.env.BACKOUT_DATABASE, { timeout: 1000 })
db.exec('BEGIN IMMEDIATE')
db.exec(down[name])
db.prepare('DELETE FROM knex_migrations WHERE name = ?').run(name)
db.prepare('INSERT INTO undone (name) VALUES (?)').run(name)
middle('down.' + name)
db.exec('COMMIT')
db.close()
middle('down.' + name + '.after')
`

export const TOOLS: Readonly<Record<string, string>> = {
  'put.sh': PUT,
  'say.sh': SAY,
  'is.sh': IS,
  'done.sh': DONE,
  'service.sh': SERVICE,
  'daemon.sh': DAEMON,
  'down.cjs': DOWN,
}
