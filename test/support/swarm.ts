import { execFileSync } from 'node:child_process'
import { type Dockerd, dockerd } from './dockerd.ts'
import { makeImage } from './shop-images.ts'

/** Swarm's own load balancing needs IPVS, which few kernels of test machines have: services get a bridge instead. */
export const NETWORK = 'shop-net'

export interface SwarmEngine extends Dockerd {
  /** Makes a service as people do, and waits until its tasks run. `more` are options of `docker service create`. */
  create(name: string, image: string, ...more: string[]): Promise<void>
  /** Updates it as people do, and waits until the old tasks are gone too, unless with `--detach`. */
  update(name: string, ...more: string[]): Promise<void>
  /** What the containers of a service that run say of themselves, each once, sorted. */
  versions(name: string): Promise<string>
  inspect(name: string): Promise<Inspected>
}

interface Inspected {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly Spec: {
    readonly Labels: Record<string, string>
    readonly TaskTemplate: {
      readonly ContainerSpec: { readonly Image: string; readonly Env?: string[] }
      readonly ForceUpdate: number
    }
    readonly UpdateConfig?: { readonly FailureAction: string }
  }
  readonly PreviousSpec?: Inspected['Spec']
  readonly UpdateStatus?: { readonly State?: string; readonly Message?: string }
}

/** An engine of the test's own that is a swarm of one node, with images v1, v2, v3 and ill. `more` are options of `docker swarm init`. */
export async function swarmEngine(hostname?: string, more: readonly string[] = []): Promise<SwarmEngine> {
  const engine = await dockerd(hostname)
  const { docker } = engine
  try {
    await docker('swarm', 'init', '--advertise-addr', engine.address(1), ...more)
    await docker('network', 'create', '--config-only', '--subnet', '10.77.0.0/24', 'shop-cfg')
    await docker('network', 'create', '-d', 'bridge', '--scope', 'swarm', '--config-from', 'shop-cfg', NETWORK)
    for (const version of ['v1', 'v2', 'v3']) await makeImage(engine, `shop:${version}`, { version })
    await makeImage(engine, 'shop:ill', { version: 'ill', ill: true })
    return { ...engine, ...acts(engine) }
  } catch (error) {
    await engine.dispose()
    throw error
  }
}

export interface Swarm extends SwarmEngine {
  readonly workers: readonly Dockerd[]
  /** What the containers of a service that run say of themselves, on every engine that is still there, each once, sorted. */
  everywhere(name: string): Promise<string>
  /** Ends a worker and all that runs on it, as one whose power fails. */
  lose(worker: number): Promise<void>
}

/** A manager and workers, on a net of the test's own. */
export async function swarmOf(workers: number): Promise<Swarm> {
  const manager = await swarmEngine('manager', ['--dispatcher-heartbeat', '1s'])
  const joined: Dockerd[] = []
  const gone = new Set<Dockerd>()
  const dispose = async () => {
    await Promise.all(joined.filter(worker => !gone.has(worker)).map(worker => worker.dispose()))
    await manager.dispose()
  }
  try {
    const token = await manager.docker('swarm', 'join-token', '-q', 'worker')
    for (let i = 1; i <= workers; i++) {
      const worker = await dockerd(`worker-${i}`)
      joined.push(worker)
      plugIn(manager, worker, i)
      await worker.docker('network', 'create', '--config-only', '--subnet', `10.77.${i}.0/24`, 'shop-cfg')
      const address = ['--advertise-addr', manager.address(200 + i), '--token', token]
      await worker.docker('swarm', 'join', ...address, `${manager.address(1)}:2377`)
    }
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    ...manager,
    workers: joined,
    async everywhere(name) {
      const there = [manager, ...joined.filter(worker => !gone.has(worker))]
      const said = await Promise.all(there.map(engine => acts(engine).versions(name)))
      return [...new Set(said.flatMap(words => words.split(' ')).filter(Boolean))].sort().join(' ')
    },
    async lose(worker) {
      const lost = joined[worker]
      if (lost === undefined) throw new Error(`there is no worker ${worker}`)
      gone.add(lost)
      await lost.dispose()
    },
    dispose,
  }
}

/** A wire from the worker to the manager's bridge: no packet leaves their namespaces. */
function plugIn(manager: Dockerd, worker: Dockerd, i: number): void {
  const enter = (engine: Dockerd, ...words: string[]) =>
    void execFileSync('nsenter', ['-t', String(engine.pid), '-n', 'ip', ...words])
  const peer = ['type', 'veth', 'peer', 'name', `down${i}`, 'netns', String(manager.pid)]
  enter(worker, 'link', 'add', 'lan0', ...peer)
  enter(manager, 'link', 'set', `down${i}`, 'master', 'backout', 'up')
  enter(worker, 'address', 'add', `${manager.address(200 + i)}/24`, 'dev', 'lan0')
  enter(worker, 'link', 'set', 'lan0', 'up')
}

/** Swarm takes 4 s to see that an old task has stopped: where new ones are started first, nothing waits for that. */
const FAST =
  '--update-order start-first --update-parallelism 0 --update-monitor 300ms --rollback-order start-first --rollback-parallelism 0 --rollback-monitor 300ms --restart-delay 200ms --stop-signal KILL'.split(
    ' ',
  )

function acts({ docker }: Dockerd) {
  const inspect = async (name: string) =>
    JSON.parse(await docker('service', 'inspect', '--format', '{{json .}}', name)) as Inspected
  return {
    inspect,
    async create(name: string, image: string, ...more: string[]) {
      const always = ['--quiet', '--no-resolve-image', '--network', NETWORK, '--stop-grace-period', '2s']
      await docker('service', 'create', ...always, ...FAST, '--name', name, ...more, image)
    },
    async update(name: string, ...more: string[]) {
      await docker('service', 'update', '--quiet', '--no-resolve-image', ...more, name)
      if (!more.includes('--detach')) await oldGone(docker, name)
    },
    async versions(name: string) {
      const ids = (await docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=${name}`)).split('\n')
      const said = await Promise.all(
        ids.filter(Boolean).map(id => docker('exec', id, 'cat', '/version').catch(() => 'gone')),
      )
      return [...new Set(said)].sort().join(' ')
    },
  }
}

/** Docker says that an update is complete while old tasks still stop. */
async function oldGone(docker: Dockerd['docker'], name: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const wanted = await docker('service', 'ps', '-q', '--filter', 'desired-state=running', name)
    const there = await docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=${name}`)
    if (wanted.split('\n').length === there.split('\n').length) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error(`old tasks of ${name} do not end`)
}
