import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Dockerd, dockerd, noDockerd } from './dockerd.ts'
import { noRootfs, rootfs } from './systemd-rootfs.ts'

const IMAGE = 'backout-systemd'
/** What systemd needs to be the first process of a container; `--privileged` fails. */
const AS_HOST =
  '--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --cgroupns private --stop-signal SIGRTMIN+3'
const ADDRESSES_FROM = 10

/** Why there can be no hosts with systemd on this machine, or null; for `describe.skipIf`. Throws where CI is set. */
export function noSystemdHosts(): string | null {
  return noDockerd() ?? noRootfs()
}

export interface SystemdHosts {
  /** Absolute path of an ssh_config that knows every host by its name, as the user deploy. */
  readonly config: string
  readonly docker: Dockerd['docker']
  /** Runs a shell script on a host as root, not over SSH. Resolves with its trimmed output. */
  root(name: string, script: string): Promise<string>
  /** Makes a host vanish: its processes stand still, and it answers nothing. */
  pause(name: string): Promise<void>
  unpause(name: string): Promise<void>
  /** Pulls its cable: it goes on working, and nobody hears of it. */
  cutOff(name: string): Promise<void>
  plugIn(name: string): Promise<void>
  /** Stops it and starts it again; resolves once it answers. */
  reboot(name: string): Promise<void>
  dispose(): Promise<void>
}

/** Hosts with a systemd of their own that answer over SSH, in containers. `files` are put on each of them, owned by root. */
export async function systemdHosts(
  names: readonly string[],
  files: Readonly<Record<string, string>> = {},
): Promise<SystemdHosts> {
  const tar = await rootfs()
  const dir = await mkdtemp(join(tmpdir(), 'backout-systemd-'))
  const engine = await dockerd()
  const dispose = async () => {
    await engine.dispose()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    keygen(join(dir, 'id'))
    await engine.docker('import', '-c', 'CMD ["/sbin/init"]', '-c', 'ENV container=docker', tar, IMAGE)
    const hosts = names.map((name, i) => ({ name, address: engine.address(ADDRESSES_FROM + i) }))
    await Promise.all(hosts.map(host => boot(engine, dir, host, files)))
    await writeFile(join(dir, 'ssh_config'), hosts.map(host => clientConfig(dir, host)).join('\n'), { mode: 0o600 })
    await Promise.all(hosts.map(host => answers(engine, host)))
    return { ...acts(engine, hosts), config: join(dir, 'ssh_config'), dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

interface Host {
  readonly name: string
  readonly address: string
}

function acts(engine: Dockerd, hosts: readonly Host[]) {
  const { docker, network } = engine
  const quietly = async (...words: string[]) => void (await docker(...words))
  const hostOf = (name: string) => {
    const host = hosts.find(h => h.name === name)
    if (host === undefined) throw new Error(`no host ${name}`)
    return host
  }
  return {
    docker,
    root: (name: string, script: string) => docker('exec', name, 'sh', '-ec', script),
    pause: (name: string) => quietly('pause', name),
    unpause: (name: string) => quietly('unpause', name),
    cutOff: (name: string) => quietly('network', 'disconnect', '--force', network, name),
    async plugIn(name: string) {
      await docker('network', 'connect', '--ip', hostOf(name).address, network, name)
      await answers(engine, hostOf(name))
    },
    async reboot(name: string) {
      await docker('restart', '--time', '1', name)
      await answers(engine, hostOf(name))
    },
  }
}

function keygen(path: string): void {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path])
}

/** A key of its own for each host, and one way in. */
async function boot(engine: Dockerd, dir: string, host: Host, files: Readonly<Record<string, string>>): Promise<void> {
  const root = join(dir, host.name)
  await mkdir(join(root, 'etc/ssh/sshd_config.d'), { recursive: true })
  keygen(join(root, 'etc/ssh/ssh_host_ed25519_key'))
  const all = { '/etc/ssh/sshd_config.d/test.conf': 'AuthorizedKeysFile /etc/ssh/deploy.pub\nUseDNS no\n', ...files }
  for (const [path, content] of Object.entries(all)) {
    await mkdir(join(root, path, '..'), { recursive: true })
    await writeFile(join(root, path), content, { mode: path.startsWith('/etc/sudoers.d/') ? 0o440 : 0o644 })
  }
  execFileSync('cp', [join(dir, 'id.pub'), join(root, 'etc/ssh/deploy.pub')])
  const { docker, network } = engine
  const where = ['--name', host.name, '--hostname', host.name, '--network', network, '--ip', host.address]
  await docker('create', ...where, ...AS_HOST.split(' '), IMAGE)
  await docker('cp', `${root}/.`, `${host.name}:/`)
  await docker('start', host.name)
  const key = execFileSync('cut', ['-d ', '-f1,2', join(root, 'etc/ssh/ssh_host_ed25519_key.pub')], {
    encoding: 'utf8',
  })
  await writeFile(join(dir, `${host.name}.known`), `${host.address} ${key}`)
}

function clientConfig(dir: string, { name, address }: Host): string {
  return `Host ${name}
  HostName ${address}
  User deploy
  IdentityFile ${join(dir, 'id')}
  IdentitiesOnly yes
  UserKnownHostsFile ${join(dir, `${name}.known`)}
  StrictHostKeyChecking yes
`
}

async function answers(engine: Dockerd, { name, address }: Host): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await greets(address)) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error(`${name} does not answer: ${await engine.docker('logs', '--tail', '30', name)}`)
}

function greets(address: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(22, address)
    const say = (is: boolean) => (socket.destroy(), resolve(is))
    socket.setTimeout(1_000, () => say(false))
    socket.once('error', () => say(false))
    socket.once('data', () => say(true))
  })
}
