import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises'
import { request } from 'node:http'
import { networkInterfaces, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** Folder of another Engine that all tests are to run on, from BACKOUT_TEST_DOCKER, or of another client, or of both. */
const OTHER = process.env['BACKOUT_TEST_DOCKER'] || null

/** What a shell without this PATH calls it, too. */
export function ofOther(tool: string): string {
  const path = OTHER === null ? null : join(OTHER, tool)
  return path !== null && existsSync(path) ? path : tool
}

// Backout finds the client program there, as it does in production.
if (OTHER !== null) process.env['PATH'] = [OTHER, process.env['PATH']].join(delimiter)

/** With BACKOUT_TEST_CONTAINERD=1 containerd keeps the images, as new engines have it: they have digests wherever they came from. */
export const CONTAINERD = process.env['BACKOUT_TEST_CONTAINERD'] === '1'
const CONFIG = JSON.stringify({ features: { 'containerd-snapshotter': CONTAINERD } })

const TOOLS = ['dockerd', 'docker', 'unshare', 'setpriv', 'nsenter', 'ip']

/**
 * Why tests with containers cannot run on this machine, or null. Give it to `describe.skipIf`, and the reason into the
 * name. Throws where CI is set: there a skipped test would hide a hole.
 */
export function noDockerd(): string | null {
  const missing = TOOLS.filter(tool => !found(tool))
  const why = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 ? `no ${missing.join(', ')}` : null
  if (why === null || process.env['CI'] !== 'true') return why
  throw new Error(`containers cannot be run (${why}), and CI must not skip the tests with them`)
}

function found(tool: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some(folder => existsSync(join(folder, tool)))
}

/** A Docker Engine of the test's own. */
export interface Dockerd {
  /** As DOCKER_HOST takes it. */
  readonly host: string
  /** Name of the one network; its containers answer this machine at their addresses. */
  readonly network: string
  /** An address of the network, by its last number: from 2 to 200. */
  readonly address: (n: number) => string
  /** Runs `docker` with these words. Resolves with its trimmed output, throws with what it says where it fails. */
  readonly docker: (...words: string[]) => Promise<string>
  /** The first process of its namespaces, as this machine numbers it. */
  readonly pid: number
  /** Begins a program in its network, which ends with it at the latest. */
  readonly inside: (command: string, ...words: string[]) => ChildProcess
  /** Ends it and everything that runs in it. Nothing is left. */
  dispose(): Promise<void>
}

/**
 * Runs in a process, mount and network namespace of its own, so that it changes nothing on the machine, and nothing of it
 * outlives the process that started it: the kernel ends all in it, takes away the mounts and the bridge, and with that
 * the one interface that leads there. What it would write below /etc and /run goes to memory.
 */
const INIT = `
set -e
mount -t tmpfs backout-run /run
mount -t tmpfs backout-etc "$1/etc"
mkdir "$1/etc/upper" "$1/etc/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc/upper,workdir=$1/etc/work" /etc
[ -z "$3" ] || hostname "$3"
echo "$4" >"$1/daemon.json"
ip link set lo up
dockerd --config-file "$1/daemon.json" --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid -H "unix://$1/docker.sock" \
  --bridge none --iptables=false --ip6tables=false --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$2" &
wait
`

/** `hostname`: where several are told apart by it. */
export async function dockerd(hostname = ''): Promise<Dockerd> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-docker-'))
  const group = `backout-${randomBytes(4).toString('hex')}`
  for (const name of ['data', 'etc', 'cli']) await mkdir(join(dir, name))
  const words = [
    '--pdeathsig',
    'KILL',
    'unshare',
    '--pid',
    '--mount',
    '--net',
    '--uts',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ]
  const child = spawn('setpriv', [...words, 'sh', '-c', INIT, 'sh', dir, group, hostname, CONFIG], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log = collect(child)
  const dispose = () => end(child, dir, group)
  try {
    await ready(child, join(dir, 'docker.sock'), log)
    const net = await connect(child, dir)
    return { ...net, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

function collect(child: ChildProcess): () => string {
  let log = ''
  const add = (chunk: Buffer) => void (log = (log + chunk.toString()).slice(-4000))
  child.stdout?.on('data', add)
  child.stderr?.on('data', add)
  return () => log
}

async function ready(child: ChildProcess, socketPath: string, log: () => string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`dockerd ended: ${log()}`)
    if (await pings(socketPath)) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`dockerd does not answer: ${log()}`)
}

function pings(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const asked = request({ socketPath, path: '/_ping', timeout: 2_000 }, answer => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    asked.on('error', () => resolve(false))
    asked.on('timeout', () => asked.destroy())
    asked.end()
  })
}

/** Makes the network, and an interface of this machine that is plugged into its bridge. */
async function connect(child: ChildProcess, dir: string): Promise<Omit<Dockerd, 'dispose'>> {
  const host = `unix://${join(dir, 'docker.sock')}`
  const env = { ...process.env, DOCKER_CONFIG: join(dir, 'cli'), DOCKER_HOST: host }
  const docker = async (...words: string[]) =>
    (await promisify(execFile)('docker', words, { env, maxBuffer: 64 << 20 })).stdout.trim()
  const network = 'backout'
  const subnet = freeSubnet()
  const bridge = ['-o', 'com.docker.network.bridge.name=backout', '--gateway', `${subnet}.1`]
  await docker('network', 'create', '--subnet', `${subnet}.0/24`, ...bridge, network)
  const inside = childOf(child.pid ?? 0)
  const here = `bo-${randomBytes(4).toString('hex')}`
  const ip = (...words: string[]) => void execFileSync('ip', words)
  ip('link', 'add', here, 'type', 'veth', 'peer', 'name', 'up0', 'netns', String(inside))
  execFileSync('nsenter', ['-t', String(inside), '-n', 'ip', 'link', 'set', 'up0', 'master', 'backout', 'up'])
  ip('address', 'add', `${subnet}.254/24`, 'dev', here)
  ip('link', 'set', here, 'up')
  const enter = ['--pdeathsig', 'KILL', 'nsenter', '-t', String(inside), '-n']
  return {
    host,
    network,
    docker,
    address: n => `${subnet}.${n}`,
    pid: inside,
    inside: (...words) => spawn('setpriv', [...enter, ...words], { stdio: ['ignore', 'pipe', 'pipe'] }),
  }
}

/** Of the range that is kept for benchmarks, which no network that is in use has. */
function freeSubnet(): string {
  const taken = Object.values(networkInterfaces()).flatMap(list => (list ?? []).map(({ address }) => address))
  for (;;) {
    const subnet = `198.${randomInt(18, 20)}.${randomInt(256)}`
    if (!taken.some(address => address.startsWith(`${subnet}.`))) return subnet
  }
}

function childOf(parent: number): number {
  const pid = Number(execFileSync('ps', ['-o', 'pid=', '--ppid', String(parent)], { encoding: 'utf8' }).trim())
  if (Number.isInteger(pid) && pid > 0) return pid
  throw new Error('the namespace of dockerd has no first process')
}

async function end(child: ChildProcess, dir: string, group: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  await sweep(dir, group)
}

/** The kernel lets go of the last process a moment after its end. */
async function sweep(dir: string, group: string): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await rm(dir, { recursive: true, force: true })
      await Promise.all((await cgroups(group)).map(folder => removeTree(folder)))
      return
    } catch (error) {
      if (i === 100) throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

async function cgroups(group: string): Promise<string[]> {
  const root = '/sys/fs/cgroup'
  const roots = [root, ...(await readdir(root)).map(name => join(root, name))]
  return [...new Set(roots.map(folder => join(folder, group)))].filter(existsSync)
}

/** A control group has files that cannot be deleted; it goes with them once it holds no process. */
async function removeTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(folder, entry.name))
  }
  await rmdir(folder)
}
