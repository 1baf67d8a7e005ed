import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A service of one process: `current` tells what it starts, `version` what runs. */
const SERVICE = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
alive() { [ -f pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
start() {
  basename "$(readlink current)" >version
  setsid sleep 100000 >/dev/null 2>&1 </dev/null &
  echo $! >pid
}
stop() { alive && kill "$(cat pid)"; rm -f pid; }
case $1 in
  start) alive || start ;;
  stop) stop ;;
  restart) stop; start ;;
  status) alive || exit 3 ;;
esac
`

/** Hosts with two releases and a service each, all below one folder of this machine. */
export class Shops {
  readonly #dir: string
  readonly names: readonly string[]

  constructor(dir: string, names: readonly string[]) {
    this.#dir = dir
    this.names = names
  }

  root(name: string): string {
    return join(this.#dir, name)
  }

  async make(): Promise<void> {
    for (const name of this.names) {
      for (const release of ['v1', 'v2']) {
        const folder = join(this.root(name), 'releases', release)
        await mkdir(folder, { recursive: true })
        await writeFile(join(folder, 'app.js'), `serve('${release}')\n`.repeat(200))
        execFileSync('sh', ['-c', 'sha256sum app.js >MANIFEST.sha256'], { cwd: folder })
      }
      await writeFile(join(this.root(name), 'service'), SERVICE)
      await chmod(join(this.root(name), 'service'), 0o755)
    }
  }

  /** Puts every host on a release, without any of the contenders. */
  async put(release: string): Promise<void> {
    for (const name of this.names) {
      await rm(join(this.root(name), 'current'), { force: true })
      await symlink(`releases/${release}`, join(this.root(name), 'current'))
      execFileSync(join(this.root(name), 'service'), ['restart'])
    }
  }

  /** The process of each host's service. */
  async pids(): Promise<string[]> {
    return Promise.all(this.names.map(name => readFile(join(this.root(name), 'pid'), 'utf8')))
  }

  /** Throws where a host is not on the release, or runs what it ran before. */
  async check(release: string, before: readonly string[]): Promise<void> {
    const pids = await this.pids()
    for (const [i, name] of this.names.entries()) {
      const link = await readlink(join(this.root(name), 'current'))
      const version = (await readFile(join(this.root(name), 'version'), 'utf8')).trim()
      const alive = pids[i] !== before[i] && isAlive(Number(pids[i]))
      if (!link.endsWith(`releases/${release}`) || version !== release || !alive) {
        throw new Error(`${name} is not on ${release}: its link leads to ${link}, ${version} runs`)
      }
    }
  }

  stop(): void {
    for (const name of this.names) execFileSync(join(this.root(name), 'service'), ['stop'])
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
