import { existsSync } from 'node:fs'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { resolveBinary } from 'dbmate'
import { writeJson } from './lib/files.ts'
import { freePorts } from './lib/ports.ts'
import { runs } from './lib/processes.ts'
import { commandOf, pidOfService, type Service, servicesOf, startService, stopService } from './lib/services.ts'
import { checkOutConfig, makeConfigRepository, newSecret, type Secrets, writeEnv, writeFlags } from './world/config.ts'
import { type Discount, dbmate, discountsIn, migrationsIn, ordersIn, type StoredOrder, seed } from './world/database.ts'
import { INSTANCES, OLD, type Paths, pathsOf, type Version } from './world/paths.ts'
import { switchTo, unpackRelease } from './world/releases.ts'
import { run } from './world/run.ts'
import { type Kind, type Store, startStore } from './world/store.ts'
import { type BalancerState, drain, readBalancer, type Shares, setWeights } from './world/traffic.ts'

export { dbmate, dbmateArgv } from './world/database.ts'
export { INSTANCES, NEW, OLD } from './world/paths.ts'

export interface World extends AsyncDisposable {
  readonly root: string
  readonly paths: Paths
  readonly store: Store
  /** Where users come in: the balancer. */
  readonly url: string
  readonly adminUrl: string
  readonly instances: readonly { name: string; url: string }[]
  /** What the team's own deployment script does. Users see the maintenance page while it migrates and restarts. */
  deploy(version: Version, hooks?: DeployHooks): Promise<void>
  /** The version that each process says; null for one that does not answer. */
  servedVersions(): Promise<Record<string, string | null>>
  ordersInDb(): Promise<StoredOrder[]>
  discountsInDb(): Promise<Discount[]>
  migrations(): Promise<string[]>
  balancer(): Promise<BalancerState>
  setWeights(weights: Shares): Promise<void>
  /** Process ids of everything that runs. */
  pids(): number[]
  /** Ends the shop and leaves its database as it is. */
  close(): Promise<void>
  /** Ends every process; throws where one is still there afterwards. The folder is the caller's to remove. */
  teardown(): Promise<void>
}

interface DeployHooks {
  /** Before anything is touched. */
  begun?(): Promise<void>
  /** Once nobody is served any more, before the migrations. */
  drained?(): Promise<void>
  /** Right after the migrations, before any user is served. */
  migrated?(): Promise<void>
  /** Once users are served by the new release. */
  ended?(): Promise<void>
}

/** What the shop's processes import besides their own code. */
const PACKAGES = resolve(import.meta.dirname, '..', '..', 'node_modules')

/** Builds the shop at v1.2.9 under an empty or missing folder and starts it: three processes behind a balancer. */
export async function buildWorld(folder: string, kind: Kind = 'sqlite'): Promise<World> {
  const root = resolve(folder)
  const paths = pathsOf(root)
  await Promise.all(paths.folders.map(folder => mkdir(folder, { recursive: true })))
  await symlink(PACKAGES, join(root, 'node_modules'))
  const store = await startStore(kind, paths)
  const [port = 0, adminPort = 0, ...appPorts] = await freePorts(2 + INSTANCES.length)
  const secrets = { secret: newSecret(), databaseUrl: store.url() }
  const world = worldOf(paths, store, { port, adminPort, appPorts }, secrets)
  try {
    await lay(world, { port, adminPort, appPorts }, secrets)
    await Promise.all(Object.keys(servicesOf(root)).map(name => startService(root, name)))
  } catch (error) {
    await world.teardown()
    throw error
  }
  return world
}

async function lay({ paths, store }: World, ports: Ports, secrets: Secrets): Promise<void> {
  await writeTools(paths, ports)
  writeServices(paths, ports)
  writeEnv(paths, OLD, secrets)
  writeFlags(paths, false)
  await Promise.all([makeConfigRepository(paths), layDatabase(paths, store)])
}

interface Ports {
  readonly port: number
  readonly adminPort: number
  readonly appPorts: readonly number[]
}

async function writeTools(paths: Paths, ports: Ports): Promise<void> {
  await symlink(resolveBinary(), paths.dbmate)
  const words = [...node(), join(import.meta.dirname, 'service.ts'), paths.root]
  await writeFile(paths.service, serviceScript(words.map(quoted).join(' '), paths.root, ports))
  await chmod(paths.service, 0o755)
}

/** `status` and `version` are asked often: the shell answers them where it can, without starting a Node for each. */
function serviceScript(service: string, root: string, { appPorts }: Ports): string {
  const urls = INSTANCES.map((name, i) => `  ${name}) url=http://127.0.0.1:${appPorts[i]}/health ;;`)
  return `#!/bin/sh
full() { exec ${service} "$@"; }
case $1 in
status)
  [ -d /proc/self ] && [ "$2" != balancer ] || full "$@"
  pid=$(cat ${quoted(join(root, 'run'))}/"$2".pid 2>/dev/null) || { echo stopped; exit 3; }
  case "$(tr '\\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" in
  *${quoted(` --home ${root} --instance `)}"$2 "*) echo "running ($pid)"; exit 0 ;;
  esac
  echo stopped
  exit 3 ;;
version)
  command -v curl >/dev/null || full "$@"
  case $2 in
${urls.join('\n')}
  *) full "$@" ;;
  esac
  health=$(curl -fsS --max-time 3 "$url") || exit 1
  echo "$health" | sed -n 's/.*"version":"\\([^"]*\\)".*/\\1/p' ;;
*) full "$@" ;;
esac
`
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

function writeServices(paths: Paths, { port, adminPort, appPorts }: Ports): void {
  const env = { SHOP_OWNER: String(process.pid) }
  const leash = ['--import', pathToFileURL(join(import.meta.dirname, 'leash.ts')).href]
  const services: Record<string, Service> = {
    balancer: {
      command: [...node(), ...leash, join(import.meta.dirname, 'balancer.ts'), '--config', paths.balancerConfig],
      health: `http://127.0.0.1:${adminPort}/health`,
      envFile: null,
      env,
    },
  }
  INSTANCES.forEach((name, i) => {
    const server = join(paths.current, 'server', 'server.ts')
    services[name] = {
      command: [...node(), ...leash, server, '--home', paths.root, '--instance', name, '--port', `${appPorts[i]}`],
      health: `http://127.0.0.1:${appPorts[i]}/health`,
      envFile: paths.envFile,
      env,
    }
  })
  writeJson(paths.services, services)
  const upstreams = appPorts.map(appPort => `127.0.0.1:${appPort}`)
  writeJson(paths.balancerConfig, { port, adminPort, upstreams, stateFile: paths.balancerState })
}

function node(): string[] {
  return [process.execPath, '--disable-warning=ExperimentalWarning']
}

async function layDatabase(paths: Paths, store: Store): Promise<void> {
  const folder = await unpackRelease(paths, store, OLD)
  await switchTo(paths, OLD)
  await dbmate(paths, store, folder, 'up')
  await seed(store)
}

function worldOf(paths: Paths, store: Store, ports: Ports, secrets: Secrets): World {
  const { root } = paths
  const adminUrl = `http://127.0.0.1:${ports.adminPort}`
  const instances = INSTANCES.map((name, i) => ({ name, url: `http://127.0.0.1:${ports.appPorts[i]}` }))
  const services = () => (existsSync(paths.services) ? Object.keys(servicesOf(root)) : [])
  const close = async () => {
    const names = services()
    const running = names.map(name => ({ pid: pidOfService(root, name), command: commandOf(root, name) }))
    await Promise.all(names.map(name => stopService(root, name)))
    const left = running.filter(({ pid, command }) => pid !== null && runs(pid, command))
    if (left.length > 0) throw new Error(`still running: ${left.map(({ pid }) => pid).join(', ')}`)
  }
  const teardown = async () => {
    try {
      await close()
    } finally {
      await store.stop()
    }
  }
  return {
    root,
    paths,
    store,
    url: `http://127.0.0.1:${ports.port}`,
    adminUrl,
    instances,
    deploy: (version, hooks = {}) => deploy({ paths, store, adminUrl, secrets }, version, hooks),
    async servedVersions() {
      const said = await Promise.all(instances.map(async ({ name, url }) => [name, await versionAt(url)] as const))
      return Object.fromEntries(said)
    },
    ordersInDb: () => ordersIn(store),
    discountsInDb: () => discountsIn(store),
    migrations: () => migrationsIn(store),
    balancer: async () => (await readBalancer(adminUrl)).state,
    setWeights: weights => setWeights(adminUrl, weights),
    pids: () => [
      ...services()
        .map(name => pidOfService(root, name))
        .filter(pid => pid !== null),
      ...store.pids(),
    ],
    close,
    teardown,
    [Symbol.asyncDispose]: teardown,
  }
}

interface Deployed {
  readonly paths: Paths
  readonly store: Store
  readonly adminUrl: string
  readonly secrets: Secrets
}

async function deploy({ paths, store, adminUrl, secrets }: Deployed, to: Version, hooks: DeployHooks): Promise<void> {
  await hooks.begun?.()
  const folder = await unpackRelease(paths, store, to)
  await drain(adminUrl)
  await hooks.drained?.()
  await dbmate(paths, store, folder, 'up')
  await hooks.migrated?.()
  await checkOutConfig(paths, to)
  writeEnv(paths, to, secrets)
  writeFlags(paths, to !== OLD)
  await switchTo(paths, to)
  for (const name of INSTANCES) await run([paths.service, 'restart', name], paths.root)
  await setWeights(adminUrl, { live: 100, maintenance: 0 })
  await hooks.ended?.()
}

async function versionAt(url: string): Promise<string | null> {
  try {
    const response = await fetch(`${url}/version`, { signal: AbortSignal.timeout(3000) })
    return ((await response.json()) as { version: string }).version
  } catch {
    return null
  }
}
