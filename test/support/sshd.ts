import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

const SSHD = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/usr/bin/sshd'].find(path => existsSync(path))

const KEYGEN = 'ssh-keygen'

/**
 * Why tests over SSH cannot run on this machine, or null. Give it to `describe.skipIf`, and the reason into the name.
 * Throws where CI is set: there a skipped test would hide a hole.
 */
export function noSshd(): string | null {
  if (SSHD !== undefined) return null
  if (process.env.CI === 'true') throw new Error('sshd is not installed, and CI must not skip the tests over SSH')
  return 'sshd is not installed'
}

export interface SshHosts {
  /** Absolute path of an ssh_config that knows every host by its name. */
  readonly config: string
  readonly names: readonly string[]
  /** Ends the host's sshd and every connection to it. */
  stop(name: string): Promise<void>
  start(name: string): Promise<void>
  /** Gives the host another key, as a reinstalled machine has. */
  changeKey(name: string): Promise<void>
  /** How many connections were accepted since the start. */
  logins(name: string): number
  dispose(): Promise<void>
}

interface Host {
  name: string
  port: number
  dir: string
  daemon: ChildProcess | null
  logins: number
}

/** Makes bash believe that it is a nested shell: the .bashrc of whoever runs the tests stays out of them. */
const NO_BASHRC = 'SetEnv SHLVL=1'

/** Real sshds on loopback, one a host, with keys and known_hosts of their own. Needs root or the own user's login. */
export async function sshHosts(names: readonly string[], daemonConfig = ''): Promise<SshHosts> {
  if (SSHD === undefined) throw new Error('sshd is not installed')
  const dir = await mkdtemp(join(tmpdir(), 'backout-sshd-'))
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true })
  keygen(join(dir, 'id'))
  await writeFile(join(dir, 'authorized_keys'), execFileSync('cat', [join(dir, 'id.pub')]))
  const hosts = await Promise.all(names.map(name => makeHost(name, dir, daemonConfig)))
  const config = join(dir, 'ssh_config')
  await writeFile(config, hosts.map(host => clientConfig(host, dir)).join('\n'))
  await writeFile(join(dir, 'known_hosts'), hosts.map(knownHost).join(''))
  await chmod(config, 0o600)
  await Promise.all(hosts.map(startDaemon))
  const find = (name: string): Host => {
    const host = hosts.find(h => h.name === name)
    if (host === undefined) throw new Error(`no host ${name}`)
    return host
  }
  return {
    config,
    names,
    stop: name => stopDaemon(find(name)),
    start: name => startDaemon(find(name)),
    async changeKey(name) {
      const host = find(name)
      await stopDaemon(host)
      await rm(join(host.dir, 'host_key'))
      keygen(join(host.dir, 'host_key'))
      await startDaemon(host)
    },
    logins: name => find(name).logins,
    async dispose() {
      await Promise.all(hosts.map(stopDaemon))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function keygen(path: string): void {
  execFileSync(KEYGEN, ['-q', '-t', 'ed25519', '-N', '', '-f', path])
}

async function makeHost(name: string, base: string, more: string): Promise<Host> {
  const dir = join(base, name)
  await mkdir(dir)
  keygen(join(dir, 'host_key'))
  const port = await freePort()
  await writeFile(
    join(dir, 'sshd_config'),
    `Port ${port}
ListenAddress 127.0.0.1
HostKey ${join(dir, 'host_key')}
AuthorizedKeysFile ${join(base, 'authorized_keys')}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
${NO_BASHRC}
${more}
`,
  )
  return { name, port, dir, daemon: null, logins: 0 }
}

function clientConfig(host: Host, dir: string): string {
  return `Host ${host.name}
  HostName 127.0.0.1
  Port ${host.port}
  User ${userInfo().username}
  IdentityFile ${join(dir, 'id')}
  IdentitiesOnly yes
  UserKnownHostsFile ${join(dir, 'known_hosts')}
  StrictHostKeyChecking yes
`
}

function knownHost(host: Host): string {
  const key = execFileSync(KEYGEN, ['-y', '-f', join(host.dir, 'host_key')], { encoding: 'utf8' })
  return `[127.0.0.1]:${host.port} ${key.trim()}\n`
}

async function startDaemon(host: Host): Promise<void> {
  if (host.daemon !== null) return
  const daemon = spawn(SSHD ?? 'sshd', ['-D', '-e', '-f', join(host.dir, 'sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  host.daemon = daemon
  let log = ''
  daemon.stderr?.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-4000)
    host.logins += chunk.toString().split('Accepted publickey').length - 1
  })
  for (let i = 0; i < 200; i++) {
    if (daemon.exitCode !== null) throw new Error(`sshd of ${host.name} ended: ${log}`)
    if (await answers(host.port)) return
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  throw new Error(`sshd of ${host.name} does not answer: ${log}`)
}

/** sshd gives every connection a process in a session of its own: the daemon's children are found and ended first. */
async function stopDaemon(host: Host): Promise<void> {
  const daemon = host.daemon
  if (daemon?.pid === undefined) return
  host.daemon = null
  const exited = once(daemon, 'exit')
  const connections = childrenOf(daemon.pid)
  daemon.kill('SIGKILL')
  for (const pid of connections) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended by itself in the meantime.
    }
  }
  await exited
}

function childrenOf(pid: number): number[] {
  const table = execFileSync('ps', ['-e', '-o', 'pid=,ppid='], { encoding: 'utf8' })
  return table
    .split('\n')
    .map(line => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child ?? 0)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('data', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
