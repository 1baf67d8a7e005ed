import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.ts'
import type { Report } from '../../src/report/model.ts'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import {
  IMAGES,
  type Kube,
  put,
  rolledOut,
  running,
  type Space,
  startKube,
  workload,
} from '../support/kubernetes/component.ts'
import { noKubectl } from '../support/kubernetes/kubectl.ts'
import type { Wire } from '../support/kubernetes/real/wire.ts'
import type { Course } from '../support/lifetime/deployments.ts'
import { LifeTime } from '../support/lifetime/server.ts'
import { Shop } from '../support/lifetime/shop.ts'
import { type Releases, releases } from '../support/releases.ts'

const skipped = noKubectl()
const BAD: Course = { ends: 'finished_with_errors', partly: 0, says: 'Compilation failed' }
const APPS = ['applications', 'together', 'solution']
const WEB = ['adopt', 'template', 'image', 'manifest']

describe.skipIf(skipped !== null)(`C12: one ladder over platforms ${skipped ?? ''}`, () => {
  let kube: Kube
  let wire: Wire
  let space: Space
  let shop: Shop
  let edge: Releases
  let folder: string
  let line: CommandLine

  beforeAll(async () => {
    kube = await startKube()
    wire = await kube.wire()
  })
  afterAll(async () => {
    await wire.close()
    await kube[Symbol.asyncDispose]()
  })

  beforeEach(async () => {
    ;[space, shop, edge] = await Promise.all([kube.namespace(), Shop.open(), releases(['local'])])
    folder = await mkdtemp(join(tmpdir(), 'backout-ladder-'))
    line = commandLine(folder)
    for (const version of ['v1', 'v2']) await edge.unpack('local', `releases/${version}`, version)
    await configure('take')
    await put(space, workload('Deployment', 'shop', { image: IMAGES.good }))
    await at('v1')
    await rolledOut(space, 'deployment/shop')
    const captured = await backout('capture', 'v1', '--known-good')
    expect(captured).toMatchObject({ code: 0, stderr: '' })
    shop.upgrade()
    await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
    await rolledOut(space, 'deployment/shop')
    await at('v2')
  })
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true })
    await edge.dispose()
    await shop[Symbol.asyncDispose]()
  })

  const backout = (...argv: string[]) => line.backout(argv, { LIFETIME_TOKEN: LifeTime.token })
  const json = async <T>(...argv: string[]): Promise<T> => {
    const { stdout, stderr } = await backout('--json', ...argv)
    const last = stdout.trim().split('\n').at(-1)
    if (last === undefined || last === '') throw new Error(`no JSON: ${stderr}`)
    return JSON.parse(last) as T
  }

  async function at(version: string): Promise<void> {
    await edge.link('local', 'current', `releases/${version}`)
    edge.call('local', 'stop', 'current')
    edge.call('local', 'start', 'current')
  }

  async function configure(onFailure: string): Promise<void> {
    const apps = {
      url: shop.lifetime.url,
      token: '${env:LIFETIME_TOKEN}',
      environment: 'Production',
      producers: { Shop: ['Orders', 'Core'], Orders: ['Core'] },
      limits: { poll: '20ms', deployment: '30s', settle: '1s' },
    }
    const web = {
      kubeconfig: wire.kubeconfig,
      namespace: space.name,
      objects: ['deployment/shop'],
      limits: { settle: '100ms' },
    }
    const hosts = { hosts: ['local'], root: edge.root, service: edge.service, version: edge.version }
    const config = {
      environment: 'production',
      components: {
        apps: { adapter: 'outsystems', settings: apps },
        web: { adapter: 'kubernetes', dependsOn: ['apps'], settings: web },
        edge: { adapter: 'hosts', dependsOn: ['web'], settings: { ...hosts, limits: { settle: '0s' } } },
      },
      policy: { onFailure },
    }
    await writeFile(join(folder, 'backout.yaml'), JSON.stringify(config))
  }

  const where = async () => ({
    apps: shop.versions,
    web: [...new Set(await running(space))],
    edge: edge.running('local'),
  })
  const GOOD = { apps: ['1', '1', '1'], web: [IMAGES.good], edge: 'v1' }

  /** The next so many writes to the Deployment are answered with an error. */
  function refuseWrites(times: number): void {
    wire.trouble.fail(({ verb, resource }) => verb === 'patch' && resource === 'deployments', 500, times)
  }

  it('plans the gentlest rung of each platform, with what comes after it, from the bottom up', async () => {
    const plan = await json<Plan>('plan')
    expect(plan.components.map(c => [c.id, [c.rung, ...c.fallbacks]])).toEqual([
      ['apps', APPS],
      ['web', WEB],
      ['edge', ['switch']],
    ])
    expect(await backout('run', '--yes')).toMatchObject({ code: 0, stderr: '' })
    expect(await where()).toEqual(GOOD)
    const { steps } = await json<Report>('report')
    expect(steps.map(s => s.id)).toEqual([
      'apps/deploy/Core',
      'apps/deploy/Orders',
      'apps/deploy/Shop',
      'web/roll/deployment.shop',
      'edge/switch/local',
      'edge/restart/local',
    ])
  })

  it.each([
    [1, 0],
    [2, 0],
    [0, 1],
    [0, 2],
    [0, 3],
    [1, 1],
    [2, 3],
  ])('falls by policy where %i rungs of OutSystems and %i of Kubernetes fail', async (apps, web) => {
    // Every step is tried twice there.
    shop.lifetime.courses.push(...Array.from({ length: apps * 2 }, () => BAD))
    refuseWrites(web)
    expect(await backout('run', '--yes')).toMatchObject({ code: 0, stderr: '' })
    expect(await where()).toEqual(GOOD)
    expect(shop.lifetime.courses).toEqual([])
    const report = await json<Report>('report')
    expect(report.state).toBe('succeeded')
    expect(report.plans).toHaveLength(1 + apps + web)
    const failed = report.steps.filter(s => s.state === 'failed')
    expect(failed.map(s => s.id.split('/')[0])).toEqual([
      ...Array.from({ length: apps }, () => 'apps'),
      ...Array.from({ length: web }, () => 'web'),
    ])
    // What was done before the fall is not done again.
    const done = report.steps.filter(s => s.state === 'done').map(s => s.id)
    expect(new Set(done).size).toBe(done.length)
    expect((await backout('run', '--yes')).stdout).toContain('Nothing to do')
  })

  it('leaves what is above alone where the last rung fails, and stops where the policy says so', async () => {
    await configure('stop')
    refuseWrites(1)
    const run = await backout('run', '--yes')
    expect(run.code).not.toBe(0)
    expect(await where()).toEqual({ ...GOOD, web: [IMAGES.bad], edge: 'v2' })
    await configure('take')
    refuseWrites(WEB.length)
    const again = await backout('run', '--yes')
    expect(again.code).toBe(5)
    expect(await where()).toEqual({ ...GOOD, web: [IMAGES.bad], edge: 'v2' })
    expect(await backout('abort')).toMatchObject({ code: 7 })
    expect(await backout('run', '--yes')).toMatchObject({ code: 0 })
    expect(await where()).toEqual(GOOD)
  })
})
