import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A service of real processes: start, stop, status and version, as a deployer would write them. */
const SERVICE = `#!/bin/sh
# service.sh start|stop|status|version RUNFILE, in the folder of the release
run=$2
toggles=$(dirname "$0")
up() { p=; [ -f "$run" ] && IFS= read -r p <"$run" && grep -q daemon.sh "/proc/$p/cmdline" 2>/dev/null; }
case $1 in
  start)
    echo start >>"$run.calls"
    [ ! -f "$toggles/hang" ] || sleep 60
    [ ! -f "$toggles/flood" ] || head -c 5000000 /dev/zero | tr '\\0' x
    [ ! -f "$toggles/slow" ] || { echo $$ >"$toggles/at-it"; sleep 1.5; }
    [ ! -f "$toggles/lie" ] || exit 0
    up && exit 0
    version=$(cat VERSION)
    [ ! -f "$toggles/wrong" ] || version=wrong
    rm -f "$run"
    setsid sh "$toggles/daemon.sh" "$run" "$version" >/dev/null 2>&1 </dev/null &
    until up; do sleep 0.02; done
    ;;
  stop)
    echo stop >>"$run.calls"
    [ ! -f "$toggles/slow-stop" ] || { echo $$ >"$toggles/at-it"; sleep 1.5; }
    up || exit 0
    kill "$p"
    while up; do sleep 0.02; done
    ;;
  status) up || exit 3 ;;
  version) up && tr '\\0' '\\n' <"/proc/$p/cmdline" | tail -n 1 ;;
esac
`
/** Says itself that it runs: while a process is being replaced by another program, its command line is empty. */
const DAEMON = 'trap "exit 0" TERM\necho $$ >"$1"\nwhile :; do sleep 0.2 & wait $!; done\n'

export interface Releases {
  readonly dir: string
  /** With {host} in it. */
  readonly root: string
  /** Settings of the service's commands. */
  readonly service: { start: string; stop: string; status: string }
  readonly version: string
  path(host: string, ...parts: string[]): string
  /** Makes a release folder as a deployment does, with a manifest unless told otherwise. */
  unpack(host: string, folder: string, version: string, manifest?: boolean): Promise<void>
  link(host: string, name: string, to: string): Promise<void>
  linked(host: string, name: string): Promise<string>
  /** Runs the service by its own script, not through Backout. */
  call(host: string, verb: 'start' | 'stop', folder: string, instance?: string): void
  /** What the process itself says that it runs; null where there is none. */
  running(host: string, instance?: string): string | null
  /** How often the script was called to start and stop. */
  calls(host: string, instance?: string): string[]
  toggle(name: string, on: boolean): Promise<void>
  dispose(): Promise<void>
}

/** Hosts with release folders and a service, in one temporary folder: <dir>/<host>/releases/... */
export async function releases(hosts: readonly string[], names = '{instance}'): Promise<Releases> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-hosts-'))
  const script = join(dir, 'service.sh')
  await writeFile(script, SERVICE)
  await writeFile(join(dir, 'daemon.sh'), DAEMON)
  chmodSync(script, 0o755)
  const path = (host: string, ...parts: string[]) => join(dir, host, ...parts)
  const runFile = (host: string, instance: string) => path(host, `run.${instance}`)
  const line = (verb: string) => `${script} ${verb} {root}/run.${names}`
  for (const host of hosts) await mkdir(path(host), { recursive: true })
  const pidOf = (host: string, instance: string) => {
    const file = runFile(host, instance)
    const pid = existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
    const words = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') : []
    return words.some(w => w.endsWith('daemon.sh')) ? { pid: Number(pid), version: words.at(-2) ?? '' } : null
  }
  return {
    dir,
    root: `${dir}/{host}`,
    service: { start: line('start'), stop: line('stop'), status: line('status') },
    version: line('version'),
    path,
    async unpack(host, folder, version, manifest = true) {
      const to = path(host, folder)
      await mkdir(join(to, 'lib'), { recursive: true })
      await writeFile(join(to, 'VERSION'), version)
      await writeFile(join(to, 'RELEASE'), `${version}\n`)
      await writeFile(join(to, 'lib', 'app.js'), `export const version = '${version}'\n`)
      if (!manifest) return
      const sums = ['VERSION', 'RELEASE', 'lib/app.js'].map(file => {
        const hash = createHash('sha256').update(readFileSync(join(to, file)))
        return `${hash.digest('hex')}  ${file}\n`
      })
      await writeFile(join(to, 'MANIFEST.sha256'), sums.join(''))
    },
    async link(host, name, to) {
      const at = path(host, name)
      await rm(`${at}.tmp`, { force: true })
      await symlink(to, `${at}.tmp`)
      await rename(`${at}.tmp`, at)
    },
    linked: (host, name) => readlink(path(host, name)),
    call(host, verb, folder, instance = '') {
      execFileSync(script, [verb, runFile(host, instance)], { cwd: path(host, folder), stdio: 'ignore' })
    },
    running: (host, instance = '') => pidOf(host, instance)?.version ?? null,
    calls(host, instance = '') {
      const file = `${runFile(host, instance)}.calls`
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
    },
    async toggle(name, on) {
      if (on) await writeFile(join(dirname(script), name), '')
      else await rm(join(dirname(script), name), { force: true })
    },
    async dispose() {
      const table = execFileSync('ps', ['-e', '-o', 'pid=,args='], { encoding: 'utf8' })
      for (const row of table.split('\n').filter(r => r.includes(join(dir, 'daemon.sh')))) {
        process.kill(Number(row.trim().split(' ')[0]), 'SIGKILL')
      }
      await rm(dir, { recursive: true, force: true })
    },
  }
}
