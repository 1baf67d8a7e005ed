import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, MERGE_PATCH } from '../support/kubernetes/client.ts'
import { deployment, IMAGES, job, NEVER_READY, type Options, statefulSet } from '../support/kubernetes/manifests.ts'
import { makePlace, type Place } from '../support/kubernetes/place.ts'
import { noPush } from '../support/kubernetes/real/index.ts'
import { at, type ContainerStatus, type Obj, type Pod } from '../support/kubernetes/types.ts'

describe('pods of a cluster', () => {
  let place: Place
  let client: Client
  let api: string
  beforeAll(async () => {
    place = await makePlace({ backoffMs: 2_000 })
    client = place.client
    api = `/api/v1/namespaces/${place.namespace}`
  })
  afterAll(() => place.dispose())

  const deploy = (name: string, image: string, o: Options = {}): Promise<Obj> =>
    client.must('POST', `/apis/apps/v1/namespaces/${place.namespace}/deployments`, deployment(name, image, o))
  const container = (pod: Obj): ContainerStatus | undefined => (pod as Pod).status.containerStatuses?.[0]
  const pod = async (app: string, wanted: (pod: Pod) => boolean): Promise<Pod> => {
    const url = `${api}/pods?labelSelector=app%3D${app}`
    const list = await client.until(url, found => (found['items'] as Pod[]).some(wanted))
    return (list['items'] as Pod[]).find(wanted) as Pod
  }
  const waits =
    (reason: string) =>
    (one: Pod): boolean =>
      container(one)?.state.waiting?.reason === reason

  it('shows the digest that runs, once it runs', async () => {
    await deploy('runs', IMAGES.old)
    const running = await pod('runs', one => container(one)?.ready === true)
    const [repository, digest] = container(running)?.imageID.split('@') ?? []
    expect(IMAGES.old).toContain(repository)
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(container(running)?.image).toBe(IMAGES.old)
    expect(running.status.phase).toBe('Running')
    const conditions = Object.fromEntries((running.status.conditions ?? []).map(one => [one.type, one.status]))
    expect(conditions).toMatchObject({
      PodScheduled: 'True',
      Initialized: 'True',
      ContainersReady: 'True',
      Ready: 'True',
    })
  })

  it('says that an image cannot be pulled', async () => {
    await deploy('unpulled', IMAGES.missing)
    const waiting = await pod('unpulled', waits('ImagePullBackOff'))
    expect(waiting.status.phase).toBe('Pending')
    expect(container(waiting)?.state.waiting?.message).toContain('Back-off pulling image')
    expect(container(waiting)?.imageID).toBe('')
  })

  it('says that a container crashes again and again, and keeps what it wrote', async () => {
    await deploy('crashes', IMAGES.shell, { container: { command: ['sh', '-c', 'echo it broke; exit 3'] } })
    const waiting = await pod('crashes', waits('CrashLoopBackOff'))
    expect(waiting.status.phase).toBe('Running')
    expect(container(waiting)?.lastState.terminated).toMatchObject({ exitCode: 3, reason: 'Error' })
    const logs = await place.kubectl('logs', waiting.metadata.name, '--previous')
    expect(logs).toBe('it broke\n')
  })

  it('keeps a pod unready whose probe fails, and ready ones serving', async () => {
    await deploy('unready', IMAGES.old, { container: NEVER_READY })
    const running = await pod('unready', one => container(one)?.state.running !== undefined)
    expect(container(running)?.ready).toBe(false)
    const ready = running.status.conditions?.find(one => one.type === 'Ready')
    expect([ready?.status, ready?.reason]).toEqual(['False', 'ContainersNotReady'])
    expect(ready?.message).toBe('containers with unready status: [app]')
  })

  it('becomes ready by an exec probe that is really run', async () => {
    const readinessProbe = { exec: { command: ['test', '-n', 'x'] }, periodSeconds: 1 }
    await deploy('probed', IMAGES.shell, { container: { command: ['sleep', '300'], readinessProbe } })
    expect(container(await pod('probed', one => container(one)?.ready === true))?.started).toBe(true)
  })

  it('does not start what a startup probe holds back', async () => {
    const command = ['sh', '-c', 'sleep 3; touch up; exec sleep 1000']
    const startupProbe = { exec: { command: ['cat', 'up'] }, periodSeconds: 1, failureThreshold: 60 }
    await deploy('starts', IMAGES.shell, { container: { command, startupProbe } })
    const held = await pod('starts', one => container(one)?.state.running !== undefined)
    expect(container(held)).toMatchObject({ started: false, ready: false })
    await pod('starts', one => container(one)?.started === true && container(one)?.ready === true)
  })

  it('never says of a container that ends at once that it runs', async () => {
    const path = `/apis/apps/v1/namespaces/${place.namespace}/statefulsets`
    const container = { command: ['sh', '-c', 'exit 3'] }
    await client.must('POST', path, statefulSet('ends', IMAGES.shell, { replicas: 2, container }))
    await pod('ends', waits('CrashLoopBackOff'))
    // A pod that was ready for a moment would have let the next one be made.
    const all = (await client.must('GET', `${api}/pods?labelSelector=app%3Dends`))['items'] as Pod[]
    expect(all.map(one => one.metadata.name)).toEqual(['ends-0'])
  })

  it('waits for a ConfigMap that is not there, and goes on once it is', async () => {
    const env = [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'late', key: 'a' } } }]
    await deploy('refers', IMAGES.old, { container: { env } })
    const waiting = await pod('refers', waits('CreateContainerConfigError'))
    expect(container(waiting)?.state.waiting?.message).toBe('configmap "late" not found')
    await client.must('POST', `${api}/configmaps`, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'late' },
      data: { a: '1' },
    })
    await pod('refers', one => container(one)?.ready === true)
  })

  it('leaves a pod unscheduled that asks for more than any node has', async () => {
    await deploy('huge', IMAGES.old, { container: { resources: { requests: { memory: '900Ti' } } } })
    const waiting = await pod(
      'huge',
      one => one.status.conditions?.some(condition => condition.reason === 'Unschedulable') === true,
    )
    expect(waiting.status.phase).toBe('Pending')
    expect(waiting.status.conditions?.find(one => one.type === 'PodScheduled')?.message).toMatch(
      /^0\/\d+ nodes are available: .*Insufficient memory/,
    )
  })

  // Init containers with `restartPolicy: Always` are known since 1.28, and GA in 1.33 (KEP-753).
  describe('a sidecar among the init containers', () => {
    const sidecar = (script: string, more: object = {}) => ({
      initContainers: [
        { name: 'proxy', image: IMAGES.shell, restartPolicy: 'Always', command: ['sh', '-c', script], ...more },
        { name: 'once', image: IMAGES.shell, command: ['sh', '-c', 'exit 0'] },
      ],
    })
    const knows = (ctx: { skip(why: string): void }) => {
      if (place.minor < 29) ctx.skip('the cluster does not know them')
    }
    const inits = (one: Pod) => one.status.initContainerStatuses ?? []

    it('lets what comes after it begin once it has started, and is started anew whenever it ends', async ctx => {
      knows(ctx)
      await deploy('beside', IMAGES.old, { pod: sidecar('sleep 1; exit 0') })
      const running = await pod('beside', one => container(one)?.ready === true)
      expect(inits(running)[1]?.state.terminated?.exitCode).toBe(0)
      expect(running.status.conditions?.find(one => one.type === 'Initialized')?.status).toBe('True')
      const again = await pod('beside', one => (inits(one)[0]?.restartCount ?? 0) > 0)
      expect(again.status.phase).toBe('Running')
      expect([container(again)?.restartCount, inits(again)[1]?.restartCount]).toEqual([0, 0])
    })

    it('keeps its pod unready while it is not ready itself', async ctx => {
      knows(ctx)
      await deploy('proxied', IMAGES.old, { pod: sidecar('exec sleep 300', NEVER_READY) })
      const running = await pod('proxied', one => container(one)?.ready === true)
      expect(running.status.conditions?.find(one => one.type === 'Ready')).toMatchObject({
        status: 'False',
        message: 'containers with unready status: [proxy]',
      })
    })

    it('ends with the others, and does not count in how its pod ended', async ctx => {
      knows(ctx)
      const jobs = `/apis/batch/v1/namespaces/${place.namespace}/jobs`
      await client.must(
        'POST',
        jobs,
        job('aside', 'exit 0', { pod: { restartPolicy: 'Never', ...sidecar('exec sleep 300') } }),
      )
      await client.until(`${jobs}/aside`, one => at(one.status, 'completionTime') !== undefined)
      const ended = await pod('aside', one => one.status.phase === 'Succeeded')
      expect(inits(ended)[0]?.state.terminated).toBeDefined()
    })
  })

  // GA in 1.30 (KEP-3521).
  it('gives a pod no node before its gates are taken away, and lets none be added', async ctx => {
    if (place.minor < 27) ctx.skip('the cluster does not know gates')
    await deploy('gated', IMAGES.old, { pod: { schedulingGates: [{ name: 'example.com/room' }] } })
    const waiting = await pod('gated', one => one.status.conditions?.some(c => c.reason === 'SchedulingGated') === true)
    expect(waiting.spec.nodeName).toBeUndefined()
    const url = `${api}/pods/${waiting.metadata.name}`
    const gates = (names: string[]) => ({ spec: { schedulingGates: names.map(name => ({ name })) } })
    const more = await client.ask('PATCH', url, gates(['example.com/room', 'example.com/more']), MERGE_PATCH)
    expect([more.code, more.body.message]).toEqual([422, expect.stringContaining('only deletion is allowed')])
    await client.must('PATCH', url, gates([]), MERGE_PATCH)
    await pod('gated', one => container(one)?.ready === true)
  })

  // pkg/apis/core/validation: validateResizePolicy.
  it('refuses a pod that is never restarted, and would be to be resized', async ctx => {
    if (place.minor < 33) ctx.skip('the cluster does not resize pods')
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }]
    const jobs = `/apis/batch/v1/namespaces/${place.namespace}/jobs`
    const { code, body } = await client.ask('POST', jobs, job('resized', 'exit 0', { container: { resizePolicy } }))
    expect([code, body.message]).toEqual([422, expect.stringContaining("must be 'NotRequired'")])
  })

  it('runs a job to its end, and tells what came of it', async () => {
    const jobs = `/apis/batch/v1/namespaces/${place.namespace}/jobs`
    await client.must('POST', jobs, job('good', 'echo "hello $WHO"', { env: { WHO: 'world' } }))
    await client.must('POST', jobs, job('bad', 'echo no; exit 7'))
    const good = await client.until(
      `${jobs}/good`,
      one => at(one.status, 'succeeded') === 1 && at(one.status, 'completionTime') !== undefined,
    )
    const types = (one: Obj): string[] =>
      (at(one.status, 'conditions') as { type: string }[]).map(condition => condition.type)
    expect(types(good)).toContain('Complete')
    const bad = await client.until(
      `${jobs}/bad`,
      one => at(one.status, 'conditions') !== undefined && types(one).includes('Failed'),
    )
    expect((at(bad.status, 'conditions') as { reason: string }[])[0]?.reason).toBe('BackoffLimitExceeded')
    expect(await place.kubectl('logs', 'job/good')).toBe('hello world\n')
    const ended = await pod('bad', one => one.status.phase === 'Failed')
    expect(container(ended)?.state.terminated?.exitCode).toBe(7)
  })

  // Its controller tracks them by finalizers from 1.25 on: what is deleted in the middle has failed (pkg/controller/job: isPodFailed).
  it('takes a pod of a job that is deleted in the middle for a failure, and runs it again where it is older', async () => {
    const jobs = `/apis/batch/v1/namespaces/${place.namespace}/jobs`
    await client.must('POST', jobs, job('cut', 'exec sleep 300'))
    const first = await pod('cut', one => container(one)?.state.running !== undefined)
    const { resourceVersion = '' } = first.metadata
    const watch = await client.watch(`${api}/pods?watch=1&labelSelector=app%3Dcut&resourceVersion=${resourceVersion}`)
    await client.must('DELETE', `${api}/pods/${first.metadata.name}?gracePeriodSeconds=1`)
    const codes: (number | undefined)[] = []
    for (;;) {
      const { type, object } = await watch.next()
      if (object.metadata.uid !== first.metadata.uid) continue
      if (type === 'DELETED') break
      codes.push(container(object)?.state.terminated?.exitCode)
    }
    watch.close()
    // It is told how it ended before it goes.
    expect(codes.at(-1)).toBeGreaterThan(0)
    if (place.minor < 25) {
      await pod('cut', one => one.metadata.uid !== first.metadata.uid && container(one)?.state.running !== undefined)
      return
    }
    const over = await client.until(`${jobs}/cut`, one => JSON.stringify(one.status).includes('"Failed"'))
    expect(over.status).toMatchObject({ failed: 1 })
    expect((await client.ask('GET', `${api}/pods?labelSelector=app%3Dcut`)).body.items).toEqual([])
  })

  it('replaces a pod that is deleted, and lets it end first', async () => {
    await deploy('replaced', IMAGES.old)
    const first = await pod('replaced', one => container(one)?.ready === true)
    await client.must('DELETE', `${api}/pods/${first.metadata.name}`)
    const next = await pod('replaced', one => one.metadata.uid !== first.metadata.uid && container(one)?.ready === true)
    expect(next.metadata.name).not.toBe(first.metadata.name)
  })

  it('keeps pods from being made beyond a quota, and says so on the deployment', async () => {
    const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'few' }, spec: { hard: { pods: '0' } } }
    await client.must('POST', `${api}/resourcequotas`, quota)
    await client.until(`${api}/resourcequotas/few`, one => at(one.status, 'hard', 'pods') === '0')
    await deploy('limited', IMAGES.old)
    const url = `/apis/apps/v1/namespaces/${place.namespace}/deployments/limited`
    const failed = await client.until(url, one => JSON.stringify(one.status).includes('ReplicaFailure'))
    await client.must('DELETE', `${api}/resourcequotas/few`)
    expect(JSON.stringify(failed.status)).toMatch(
      /is forbidden: exceeded quota: few, requested: pods=1, used: pods=\d+, limited: pods=0/,
    )
  })

  it('refuses to evict what a disruption budget protects', async () => {
    await deploy('guarded', IMAGES.old)
    const budgets = `/apis/${place.policy}/namespaces/${place.namespace}/poddisruptionbudgets`
    const spec = { minAvailable: 1, selector: { matchLabels: { app: 'guarded' } } }
    await client.must('POST', budgets, {
      apiVersion: place.policy,
      kind: 'PodDisruptionBudget',
      metadata: { name: 'one' },
      spec,
    })
    const running = await pod('guarded', one => container(one)?.ready === true)
    await client.until(`${budgets}/one`, one => at(one.status, 'currentHealthy') === 1)
    const { name } = running.metadata
    const eviction = { apiVersion: place.policy, kind: 'Eviction', metadata: { name } }
    const { code, body } = await client.ask('POST', `${api}/pods/${name}/eviction`, eviction)
    expect([code, body.reason]).toEqual([429, 'TooManyRequests'])
    expect(body.message).toBe("Cannot evict pod as it would violate the pod's disruption budget.")
    expect(body.details?.['causes']).toMatchObject([
      { reason: 'DisruptionBudget', message: 'The disruption budget one needs 1 healthy pods and has 1 currently' },
    ])
    await client.must('PATCH', `${budgets}/one`, { spec: { minAvailable: 0 } }, MERGE_PATCH)
    await client.until(`${budgets}/one`, one => at(one.status, 'disruptionsAllowed') === 1)
    expect(await client.ask('POST', `${api}/pods/${name}/eviction`, eviction)).toMatchObject({
      code: 201,
      body: { kind: 'Status', status: 'Success' },
    })
    const wrong = { ...eviction, apiVersion: 'policy/v9' }
    const unknown = await client.ask('POST', `${api}/pods/${name}/eviction`, wrong)
    expect([unknown.code, unknown.body.message]).toEqual([
      400,
      expect.stringContaining('no kind "Eviction" is registered'),
    ])
  })

  it('evicts only the very pod that is meant', async () => {
    await deploy('unguarded', IMAGES.old)
    const { name, uid } = (await pod('unguarded', one => container(one)?.ready === true)).metadata
    const evict = (meant: string | undefined) =>
      client.ask('POST', `${api}/pods/${name}/eviction`, {
        apiVersion: place.policy,
        kind: 'Eviction',
        metadata: { name },
        deleteOptions: { preconditions: { uid: meant } },
      })
    const { code, body } = await evict(randomUUID())
    expect([code, body.reason]).toEqual([409, 'Conflict'])
    expect((await evict(uid)).code).toBe(201)
  })

  it.skipIf(noPush !== null)(
    `runs what the node has where a tag was moved, unless it is told to pull always ${noPush ?? ''}`,
    async () => {
      const image = `shop/${place.namespace}:1`
      const [node] = (await client.ask('GET', '/api/v1/nodes')).body.items ?? []
      const there = { pod: { nodeName: node?.metadata.name } }
      const first = await place.push(image)
      await deploy('moved', image, { replicas: 1, ...there })
      await pod('moved', one => container(one)?.ready === true)
      const second = await place.push(image, { log: ['another build'] })
      expect(second).not.toBe(first)
      await deploy('moved-again', image, there)
      const cached = await pod('moved-again', one => container(one)?.ready === true)
      await deploy('moved-pulled', image, { ...there, container: { imagePullPolicy: 'Always' } })
      const pulled = await pod('moved-pulled', one => container(one)?.ready === true)
      expect(container(cached)?.imageID).toBe(`docker.io/shop/${place.namespace}@${first}`)
      expect(container(pulled)?.imageID).toBe(`docker.io/shop/${place.namespace}@${second}`)
    },
  )

  it("keeps replicas within an autoscaler's bounds", async () => {
    await deploy('scaled', IMAGES.old)
    const spec = {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'scaled' },
      minReplicas: 2,
      maxReplicas: 3,
    }
    const scalers = `/apis/${place.autoscaling}/namespaces/${place.namespace}/horizontalpodautoscalers`
    await client.must('POST', scalers, {
      apiVersion: place.autoscaling,
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'scaled' },
      spec,
    })
    const url = `/apis/apps/v1/namespaces/${place.namespace}/deployments/scaled`
    await client.until(url, one => at(one.spec, 'replicas') === 2)
    await client.must('PATCH', url, { spec: { replicas: 5 } }, MERGE_PATCH)
    expect(at((await client.until(url, one => at(one.spec, 'replicas') === 3)).spec, 'replicas')).toBe(3)
  })
})
