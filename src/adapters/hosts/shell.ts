/** Functions of the scripts that run on the hosts: POSIX sh, for dash, bash and busybox alike. */

/**
 * Where things are, who is alive, and how a command of the settings is run in a folder. What a shell can do by itself is
 * not left to other programs: starting one costs a host as much as all the rest of such a script.
 */
export const PRELUDE = String.raw`
box=$root/.backout
say() { printf '%s\n' "$*"; }
fail() { say "fail $*"; say end; exit 1; }
tidy() {
  case $l in
    *[!abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\ ._/:@+=,-]*)
      l=$(say "$l" | head -c 400 | LC_ALL=C tr -cd '\012\040-\176') ;;
    *) [ ${'$'}{#l} -le 400 ] || l=$(printf '%.400s' "$l") ;;
  esac
}
clean() {
  IFS= read -r l || [ -n "$l" ] || return 0
  tidy
  say "$l"
}
nap() { sleep 0.1 2>/dev/null || sleep 1; }
# What these two find out they leave in the variable of their name.
born() {
  born= l=
  { IFS= read -r l <"/proc/$1/stat"; } 2>/dev/null || return 0
  l=${'$'}{l##*) }
  set -- $l
  [ "$1" = Z ] || born=${'$'}{20}
}
mark() { born "$1"; mark=$1:$born:$idem; }
alive() {
  p=${'$'}{1%%:*}
  s=${'$'}{1#*:}
  s=${'$'}{s%%:*}
  [ -n "$p" ] || return 1
  if [ -n "$s" ]; then born "$p"; [ "$born" = "$s" ]; else [ ! -r /proc/self/stat ] && kill -0 "$p" 2>/dev/null; fi
}
base() {
  [ -L "$root/$link" ] || return 0
  t=${'$'}{1-$(readlink "$root/$link")}
  t=${'$'}{t%/}
  t=${'$'}{t#./}
  t=${'$'}{t#"$root"/}
  case $t in
    # The same folder by another name: one of the two was written by way of a symbolic link.
    /*) r=$(cd "$root/$folder" 2>/dev/null && pwd -P) && d=$(cd "${'$'}{t%/*}/" 2>/dev/null && pwd -P) &&
      [ "$d" = "$r" ] && t=$folder${'$'}{t##*/} ;;
  esac
  case $t in "$folder"*/*) say "outside:$t" ;; "$folder"*) in_folder "${'$'}{t#"$folder"}" ;; *) say "outside:$t" ;; esac
}
in_folder() {
  if [ -n "$folder" ] && [ -L "$root/$folder$1" ]; then say "outside:$folder$1:a-link"; else say "$1"; fi
}
slotrelease() {
  if [ -L "$root/$1" ]; then t=$(readlink "$root/$1"); t=${'$'}{t%/}; say "${'$'}{t##*/}"
  elif [ -f "$root/$1/$releasefile" ]; then clean <"$root/$1/$releasefile"; fi
}
in_dir() {
  cd "$1" 2>/dev/null || cd "$root" || return 126
  export BACKOUT_HOST="$host" BACKOUT_INSTANCE="$instance" BACKOUT_RELEASE="$release" BACKOUT_SLOT="$slot"
  eval "exec $2"
}
`

/** One step at a time for each scope. A lock is a link whose target names its process: made in one go, and dead with it. */
export const LOCKS = String.raw`
make_box() {
  ( umask 022; mkdir "$box" ) || [ -d "$box" ] || fail not_writable "$box"
  set -- $(ls -ld "$root/")
  case $1 in d????w*) chgrp "$4" "$box" && chmod g+w "$box" ;; esac 2>/dev/null
}
take() {
  [ -d "$box" ] || make_box
  lock=$box/lock.$1
  svc=$box/svc.$1
  mark $$
  me=$mark
  spent=
  tries=0
  while :; do
    [ ! -L "$svc" ] || { held=$(readlink "$svc" 2>/dev/null) && alive "$held" && fail busy "$held"; }
    ln -s "$me" "$lock" 2>/dev/null && break
    held=$(readlink "$lock") || {
      tries=$((tries+1))
      [ $tries -lt 5 ] && continue
      ln -s "$me" "$lock" && break
      fail not_writable "$box"
    }
    alive "$held" && fail busy "$held"
    mv -f "$lock" "$box/dead.$$" && [ "$(readlink "$box/dead.$$")" = "$held" ] || fail busy "$held"
    rm -f "$box/dead.$$"
  done
}
# The link that names what was at work goes with the lock: until then it names a process that has ended.
finish() { rm -f ${'$'}{spent:+"$spent"} "$svc" "$lock"; say "$@"; say end; exit 0; }
leave() { rm -f "$svc" "$lock"; fail "$@"; }
put() {
  { [ ! -e "$1.new" ] && [ ! -L "$1.new" ]; } || rm -f "$1.new"
  ( umask 022; printf '%s\n' "$2" >"$1.new" ) 2>/dev/null && mv -f "$1.new" "$1" && return 0
  say "$2" | cat >"$1.new"
  leave not_writable "$1"
}
`

/** Checksums of a release folder: by its manifest, or of all its files. */
export const SUMS = String.raw`
H=sha256sum
command -v sha256sum >/dev/null 2>&1 || H='shasum -a 256'
own() {
  ( cd "$1" && {
    find . -mindepth 1 \( $ignored \) -prune -o -type f -exec $H {} +
    find . -mindepth 1 \( $ignored \) -prune -o -type l -exec sh -c 'for l; do printf "%s -> %s\n" "$l" "$(readlink "$l")"; done' sh {} +
  } | LC_ALL=C sort | $H | cut -c1-64 )
}
count() { ( cd "$1" && find . -mindepth 1 \( $ignored \) -prune -o -type f -exec sh -c 'for f; do echo; done' sh {} + | wc -l | tr -d ' ' ); }
altered() {
  bad=$( ( cd "$1" && $H -c "$manifest" ) 2>&1 </dev/null | LC_ALL=C grep -v -e ': OK$' -e 'WARNING:' | head -n 5 | LC_ALL=C tr -cd '\012\040-\176')
  say "${'$'}{bad:-$manifest could not be checked}"
}
sums() {
  [ -d "$1/" ] || { say gone; return; }
  if [ "$2" != own ] && [ -f "$1/$manifest" ]; then
    h=$($H <"$1/$manifest")
    n=0
    [ "$3" = sure ] || n=$(wc -l <"$1/$manifest")
    say "sums manifest ${'$'}{h%% *} ${'$'}{n##* }"
    [ "$3" = quick ] || ( cd "$1" && exec $H -c "$manifest" ) >/dev/null 2>&1 </dev/null ||
      altered "$1" | while IFS= read -r bad; do say "bad $bad"; done
  elif [ "$2" = manifest ]; then say nomanifest
  elif [ "$3" = quick ] || [ "$2" = none ]; then say "sums none - 0"
  elif [ "$3" = sure ]; then say "sums own $(own "$1") 0"
  else say "sums own $(own "$1") $(count "$1")"
  fi
}
`

/** Runs the service's commands and waits until they had their effect. */
export const WATCH = String.raw`
newline='
'
dir=$root/$link
[ -z "$slot" ] || dir=$root/$slot
is() {
  [ -n "$status" ] || { code=0; return 0; }
  ( in_dir "$dir" "$status" ) </dev/null >/dev/null
  code=$?
}
ran() {
  got=
  [ -n "$version" ] || return 0
  l=$(in_dir "$dir" "$version" </dev/null)
  l=${'$'}{l%%"$newline"*}
  tidy
  got=$l
}
do_it() {
  ( in_dir "$dir" "$1" ) </dev/null >&2 &
  child=$!
  mark $child
  ln -sfn "$mark" "$svc"
  wait $child
  code=$?
  [ $code -eq 0 ]
}
now() {
  # How long the host is up: no clock that is set moves it.
  { IFS=' .' read -r now l </proc/uptime; } 2>/dev/null || now=$(date +%s)
}
until_time() { now; until=$((now + $1 + 1)); }
in_time() { now; [ "$now" -lt "$until" ]; }
until_version() {
  [ -n "$version" ] && [ -n "$want" ] || return 0
  while :; do
    ran
    [ "$got" != "$want" ] || return 0
    in_time || leave wrong_version "$got"
    nap
  done
}
life() { [ -z "$life" ] || ( in_dir "$dir" "$life" ) </dev/null; }
until_runs() {
  until_time "$seconds"
  while :; do
    while is; [ $code -ne 0 ]; do in_time || leave not_running "$code"; nap; done
    [ "$settle" = 0 ] || since=$(life)
    until_version
    [ "$settle" != 0 ] || return 0
    sleep "$settle" 2>/dev/null || sleep 1
    is
    [ $code -eq 0 ] || leave not_stable "stopped"
    [ "$(life)" != "$since" ] || return 0
    in_time || leave not_stable "started anew"
  done
}
until_stops() {
  until_time "$seconds"
  while is; [ $code -ne 3 ]; do in_time || leave still_running "$code"; nap; done
}
`
