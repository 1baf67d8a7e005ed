import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'libpam-systemd', 'openssh-server', 'sudo', 'procps', 'iproute2']
/** What nobody reads on a host that lives for a minute. */
const LEFT_OUT = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*']
/** The user who deploys. Host keys are each host's own. */
const HOOKS = ['useradd -m -s /bin/bash deploy', 'rm -f /etc/ssh/ssh_host_*']

/**
 * Why there can be no root file system of this machine's own distribution, or null. Throws where CI is set: there a
 * skipped test would hide a hole.
 */
export function noRootfs(): string | null {
  const why = missing()
  if (why === null || process.env['CI'] !== 'true') return why
  throw new Error(`no root file system for hosts with systemd (${why}), and CI must not skip the tests with them`)
}

function missing(): string | null {
  if (existsSync(cached())) return null
  if (!existsSync('/usr/bin/mmdebstrap')) return 'no mmdebstrap'
  return source() === null ? 'apt knows no source for the packages of this distribution' : null
}

/** The tar of a root file system with systemd and sshd. Made from the machine's own package sources, once; then kept. */
export async function rootfs(): Promise<string> {
  const tar = cached()
  if (existsSync(tar)) return tar
  await mkdir(cacheDir(), { recursive: true })
  const part = `${tar}.${process.pid}.part.tar`
  try {
    await promisify(execFile)('mmdebstrap', argv(part), { maxBuffer: 64 << 20 })
    await rename(part, tar)
  } finally {
    await rm(part, { force: true })
  }
  return tar
}

function argv(to: string): string[] {
  const hooks = HOOKS.map(hook => `--customize-hook=chroot "$1" sh -c '${hook}'`)
  const without = LEFT_OUT.map(path => `--dpkgopt=path-exclude=${path}`)
  const asHere = aptSettings().map(line => `--aptopt=${line}`)
  return [
    '--quiet',
    '--variant=essential',
    // It is made anew where it was cut off: it need not reach the disk file by file.
    '--dpkgopt=force-unsafe-io',
    `--include=${PACKAGES.join(',')}`,
    ...without,
    ...asHere,
    ...hooks,
    codename(),
    to,
    source() ?? '',
  ]
}

function cacheDir(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'backout-test')
}

function cached(): string {
  const made = createHash('sha256')
    .update(JSON.stringify([PACKAGES, LEFT_OUT, HOOKS]))
    .digest('hex')
    .slice(0, 8)
  return join(cacheDir(), `systemd-${codename()}-${process.arch}-${made}.tar`)
}

function codename(): string {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  return /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1] ?? 'unknown'
}

/** The line by which this machine gets the packages of its own release; null where there is none. */
function source(): string | null {
  const format = '$(RELEASE) $(COMPONENT) $(REPO_URI) $(SIGNED_BY)'
  try {
    const words = ['indextargets', '--format', format, 'Created-By: Packages']
    const lines = execFileSync('apt-get', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')
    const own = lines.map(line => line.split(' ')).find(([name, part]) => name === codename() && part === 'main')
    if (own === undefined) return null
    const [name, part, uri, key = ''] = own
    return `deb ${key.startsWith('/') ? `[signed-by=${key}] ` : ''}${uri} ${name} ${part}`
  } catch {
    return null
  }
}

/** How this machine's apt gets at its sources: proxies, and what it checks. */
function aptSettings(): string[] {
  const dump = execFileSync('apt-config', ['dump', 'Acquire'], { encoding: 'utf8' })
  return dump.split('\n').filter(line => /^Acquire::(https?::|Check-|Retries)/.test(line) && !line.endsWith(' "";'))
}
