import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  captured,
  IMAGES,
  type Kube,
  onlyStandIn,
  proposed,
  put,
  rolledOut,
  type Space,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { ExecAct } from '../../core/contract.ts'

type Inject = NonNullable<Kube['standIn']>['api']['admit'][number]

const QUICK = { limits: { settle: '100ms' } }

describe.skipIf(noKubectl() !== null)(`C5: commands from an image ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })

  const container = { command: ['sh', '-c', 'exec sleep 100000'] }
  const act = (idem: string, more: Partial<ExecAct> = {}): ExecAct => ({ ...stepAct(), idem, ...more })
  const say = ['sh', '-c', 'echo $VERSION']

  /** Deploys a version, as a team would. */
  async function deploy(version: string): Promise<void> {
    const env = [{ name: 'VERSION', value: version }]
    await space.kubectl.apply(
      workload('Deployment', 'shop', { image: IMAGES.shell, replicas: 1, container: { ...container, env } }),
    )
    await rolledOut(space, 'deployment/shop')
  }

  it('runs a command in the image that is left, and in the one that is gone back to', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await deploy('good')
    const pin = await captured(target)
    await deploy('bad')
    const env = { BACKOUT_MIGRATION: '42' }
    const words = (word: string) => ['sh', '-c', `echo ${word} $VERSION $BACKOUT_MIGRATION; exit 7`]
    const before = await target.exec?.('from', words('down'), act('r1.db.down', { env }))
    expect(before).toMatchObject({ code: 7, stdout: 'down bad 42\n' })
    await expect(target.exec?.('to', words('up'), act('r1.db.up', { env }))).rejects.toMatchObject({
      code: 'exec_release_unknown',
    })
    await applied(target, await proposed(target, pin))
    // The bad release is still what is left, and its artefact still there.
    expect(await target.exec?.('from', words('down'), act('r1.db.again', { env }))).toMatchObject({
      stdout: 'down bad 42\n',
    })
    expect(await target.exec?.('to', words('up'), act('r1.db.up', { env }))).toMatchObject({ stdout: 'up good 42\n' })
    await expect.poll(() => space.kubectl('get', 'jobs', '-o', 'name'), { timeout: 60_000 }).toBe('')
  })

  it('finds the command of a process that died, instead of beginning a second one', async () => {
    const target = await space.open({ objects: ['deployment/shop'] })
    await deploy('v1')
    const argv = ['sh', '-c', 'echo begun; sleep 2; echo ended']
    const first = target.exec?.('from', argv, act('r1.db.slow')).catch(() => null)
    await expect.poll(() => space.kubectl('get', 'jobs', '-o', 'name'), { timeout: 60_000 }).toContain('job')
    // The first one lets go of its connections, as a process does that dies.
    await target[Symbol.asyncDispose]()
    await using second = await space.open({ objects: ['deployment/shop'], ...QUICK })
    const left = (idem: string) => second.execLeft?.(idem, new AbortController().signal)
    expect(await left('r1.db.slow')).toMatchObject({ what: expect.stringContaining('the Job backout-'), alive: true })
    expect(await left('r1.db.other')).toBeNull()
    await expect.poll(() => left('r1.db.slow'), { timeout: 60_000 }).toMatchObject({ alive: false, code: 0 })
    expect(await second.exec?.('from', argv, act('r1.db.slow'))).toMatchObject({
      code: 0,
      stdout: 'begun\nended\n',
    })
    await first
  })

  it('takes nothing of the attempt before for its own, whose pod may still be there', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await deploy('v1')
    const first = target.exec?.('from', ['sh', '-c', 'sleep 3; echo first; exit 7'], act('r1.db.down'))
    const there = () => space.kubectl('get', 'pods', '-l', 'backout.dev/job', '-o', 'name')
    await expect.poll(there, { timeout: 60_000 }).toContain('pod/')
    const [pod = ''] = (await there()).split('\n')
    // Somebody else is not through with it: it is there until that is taken off.
    const value = JSON.stringify({ metadata: { finalizers: ['example.test/slow'] } })
    await space.kubectl('patch', pod, '--type=merge', '-p', value)
    try {
      expect(await first).toMatchObject({ code: 7, stdout: 'first\n' })
      expect(await target.exec?.('from', ['echo', 'second'], act('r1.db.down'))).toMatchObject({
        code: 0,
        stdout: 'second\n',
      })
    } finally {
      await space.kubectl('patch', pod, '--type=merge', '-p', JSON.stringify({ metadata: { finalizers: null } }))
    }
  })

  it.each(['adopt', 'manifest'])('knows what is left after an earlier way back by the rung %s too', async rung => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await deploy('v1')
    const pin = await captured(target)
    await deploy('v2')
    await applied(target, await proposed(target, pin, rung))
    expect(await target.exec?.('from', say, act('r1.db.down'))).toMatchObject({ stdout: 'v2\n' })
    await deploy('v3')
    expect(await target.exec?.('from', say, act('r2.db.down'))).toMatchObject({ stdout: 'v3\n' })
    await expect(target.exec?.('to', say, act('r2.db.up'))).rejects.toMatchObject({ code: 'exec_release_unknown' })
    await applied(target, await proposed(target, pin, rung), 'r2')
    expect(await target.exec?.('from', say, act('r2.db.again'))).toMatchObject({ stdout: 'v3\n' })
    expect(await target.exec?.('to', say, act('r2.db.up'))).toMatchObject({ stdout: 'v1\n' })
    // Made anew as it is, it has left nothing else.
    const needs = [{ of: 'shop', what: 'redeployed' as const, by: 'db' }]
    await applied(target, await proposed(target, pin, rung, { needs }), 'r3')
    expect(await target.exec?.('from', say, act('r3.db.down'))).toMatchObject({ stdout: 'v3\n' })
  })

  it('takes what an earlier run to another release brought for what is left, and not what that one left', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await deploy('v1')
    const first = await captured(target)
    await deploy('v2')
    const second = await captured(target)
    await deploy('v3')
    await applied(target, await proposed(target, second, 'adopt', { release: 'v2' }))
    expect(await target.exec?.('from', say, act('r1.db.down', { release: 'v2' }))).toMatchObject({ stdout: 'v3\n' })
    // Found bad as well: what is left now is v2, before the code step and after it.
    expect(await target.exec?.('from', say, act('r2.db.down'))).toMatchObject({ stdout: 'v2\n' })
    await expect(target.exec?.('to', say, act('r2.db.up'))).rejects.toMatchObject({ code: 'exec_release_unknown' })
    await applied(target, await proposed(target, first), 'r2')
    expect(await target.exec?.('from', say, act('r2.db.again'))).toMatchObject({ stdout: 'v2\n' })
    expect(await target.exec?.('to', say, act('r2.db.up'))).toMatchObject({ stdout: 'v1\n' })
  })

  it('says that the revision that was left is gone, and does not take another one', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await deploy('v1')
    const pin = await captured(target)
    await deploy('v2')
    await applied(target, await proposed(target, pin))
    const [left = ''] = (await space.kubectl('get', 'replicasets', '-o', 'name', '--sort-by=.status.replicas')).split(
      '\n',
    )
    await space.kubectl('delete', left)
    await expect(target.exec?.('from', say, act('r1.db.down'))).rejects.toMatchObject({ code: 'exec_release_unknown' })
  })

  it('gives up on a command whose image cannot be had, long before its own time is over', async () => {
    const target = await space.open({ objects: ['deployment/shop'], limits: { stuck: '1s' } })
    await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.missing, replicas: 1 }))
    await expect(target.exec?.('from', say, act('r1.db.down'))).rejects.toMatchObject({
      code: 'exec_stuck',
      why: expect.stringMatching(/Image/) as string,
    })
    await expect.poll(() => space.kubectl('get', 'jobs', '-o', 'name'), { timeout: 60_000 }).toBe('')
  })

  it('does not take a second beginning for the end of the first, where the pod of a command is deleted in the middle', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    await deploy('v1')
    const argv = ['sh', '-c', 'echo begun; exec sleep 8']
    const ended = target.exec?.('from', argv, act('r1.db.down')).then(
      ({ code }) => ({ code }),
      (error: Error) => error,
    )
    const phase = ['get', 'pods', '-l', 'backout.dev/job', '-o', 'jsonpath={.items[*].status.phase}']
    await expect.poll(() => space.kubectl(...phase), { timeout: 60_000 }).toBe('Running')
    await space.kubectl('delete', 'pods', '-l', 'backout.dev/job', '--grace-period=1', '--wait=false')
    // It may be gone before anybody has read how it ended.
    const codes = kube.minor < 25 ? ['exec_repeated'] : [137, 143, 'exec_lost']
    expect(codes).toContain(((await ended) as { code: unknown }).code)
    await expect.poll(() => space.kubectl('get', 'jobs', '-o', 'name'), { timeout: 60_000 }).toBe('')
  })

  it('runs a command of a StatefulSet without the claims of its pods, and says so ahead', async () => {
    const target = await space.open({ objects: ['statefulset/shop'], ...QUICK })
    const mounted = { ...container, volumeMounts: [{ name: 'data', mountPath: '/data' }] }
    const claims = [
      {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
      },
    ]
    const made = { image: IMAGES.shell, replicas: 0, container: mounted, spec: { volumeClaimTemplates: claims } }
    await put(space, workload('StatefulSet', 'shop', made))
    await rolledOut(space, 'statefulset/shop')
    const pin = await captured(target)
    const needs = [{ of: 'shop', what: 'exec-from' as const, by: 'db' }]
    const { findings } = await proposed(target, pin, 'adopt', { needs })
    expect(findings.map(one => one.code)).toEqual(['claims_left_out'])
    expect(findings[0]?.what).toContain('data')
    expect(await target.exec?.('from', ['echo', 'down'], act('r1.db.down'))).toMatchObject({ stdout: 'down\n' })
  })

  it('runs a command of a container that is started anew to be resized, which a pod that runs once refuses', async () => {
    const target = await space.open({ objects: ['deployment/shop'], ...QUICK })
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }]
    const made = workload('Deployment', 'shop', {
      image: IMAGES.shell,
      replicas: 1,
      container: { ...container, resizePolicy },
    })
    // A server before 1.27 does not know the field.
    await space.kubectl.apply(made, '--validate=false')
    await rolledOut(space, 'deployment/shop')
    expect(await target.exec?.('from', ['echo', 'down'], act('r1.db.down'))).toMatchObject({ stdout: 'down\n' })
  })

  it.skipIf(onlyStandIn !== null).each([0, 3])(
    `ends with its own container (code %i) where a mesh adds one that never ends ${onlyStandIn ?? ''}`,
    async code => {
      const target = await space.open({ objects: ['deployment/shop'], limits: { exec: '20s' } })
      await deploy('v1')
      const marks: object[] = []
      // What a mutating webhook does to each pod, whatever the pod says of it.
      const message = { terminationMessagePath: '/dev/termination-log', terminationMessagePolicy: 'File' }
      const proxy = { name: 'a-proxy', image: IMAGES.good, imagePullPolicy: 'IfNotPresent', resources: {}, ...message }
      const { name } = space
      const inject: Inject = (verb, { kind }, { metadata, spec }) => {
        if (verb !== 'create' || kind !== 'Pod' || metadata.namespace !== name) return
        const { containers } = spec as { containers: object[] }
        containers.unshift(proxy)
        marks.push({ ...metadata.labels, ...metadata.annotations })
      }
      kube.standIn?.api.admit.push(inject)
      const argv = ['sh', '-c', `echo migrated; exit ${code}`]
      expect(await target.exec?.('from', argv, act(`r1.db.down${code}`))).toEqual({
        code,
        stdout: 'migrated\n',
        stderr: '',
      })
      expect(marks).toMatchObject([{ 'sidecar.istio.io/inject': 'false', 'linkerd.io/inject': 'disabled' }])
      await expect.poll(() => space.kubectl('get', 'jobs', '-o', 'name'), { timeout: 60_000 }).toBe('')
    },
  )

  it('runs a command while a DaemonSet is stopped', async () => {
    const target = await space.open({ objects: ['daemonset/shop'], ...QUICK })
    await space.kubectl.apply(workload('DaemonSet', 'shop', { image: IMAGES.shell, container }))
    await rolledOut(space, 'daemonset/shop')
    const pin = await captured(target)
    const needs = [{ of: 'shop', what: 'stopped' as const, by: 'db' }]
    const [stop] = (await proposed(target, pin, 'adopt', { needs })).steps
    if (stop === undefined) throw new Error('it is not stopped')
    await target.apply(stop, stepAct(stop))
    expect(await target.exec?.('from', ['echo', 'down'], act('r1.db.down'))).toMatchObject({ stdout: 'down\n' })
  })
})
