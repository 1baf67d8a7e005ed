import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, MERGE_PATCH } from '../support/kubernetes/client.ts'
import { deployment, IMAGES, NEVER_READY, type Options, statefulSet } from '../support/kubernetes/manifests.ts'
import { isReal, makePlace, type Place } from '../support/kubernetes/place.ts'
import { at, type Deployment, type Fields, type Obj, type Pod, type ReplicaSet } from '../support/kubernetes/types.ts'

const REVISION = 'deployment.kubernetes.io/revision'

describe('workloads of a cluster', () => {
  let place: Place
  let client: Client
  let apps: string
  beforeAll(async () => {
    place = await makePlace()
    client = place.client
    apps = `/apis/apps/v1/namespaces/${place.namespace}`
  })
  afterAll(() => place.dispose())

  const deploy = (name: string, o: Options = {}): Promise<Obj> =>
    client.must('POST', `${apps}/deployments`, deployment(name, IMAGES.old, o))
  const patch = (name: string, body: Fields): Promise<Obj> =>
    client.must('PATCH', `${apps}/deployments/${name}`, body, MERGE_PATCH)
  const container = (image: string, more: Fields = {}): Fields => ({
    spec: { template: { spec: { containers: [{ name: 'app', image, ...more }] } } },
  })
  const done = (name: string): Promise<Deployment> =>
    client.until(`${apps}/deployments/${name}`, one => {
      const { spec, status, metadata } = one as Deployment
      const all = [status.replicas, status.updatedReplicas, status.availableReplicas].every(
        count => count === spec.replicas,
      )
      return all && status.observedGeneration === metadata.generation
    }) as Promise<Deployment>
  const sets = async (name: string): Promise<ReplicaSet[]> => {
    const { body } = await client.ask('GET', `${apps}/replicasets?labelSelector=app%3D${name}`)
    return (body.items as ReplicaSet[]).sort((a, b) => revision(a) - revision(b))
  }
  const revision = (object: Obj): number => Number(object.metadata.annotations?.[REVISION])
  const progressing = (one: Obj): string | undefined =>
    (one as Deployment).status.conditions?.find(condition => condition.type === 'Progressing')?.reason

  // pkg/controller/deployment/sync.go: getNewReplicaSet
  it('uses the ReplicaSet of a template again, under the highest revision plus one', async () => {
    await deploy('back', { replicas: 2 })
    const first = (await done('back'), await sets('back'))[0]
    await patch('back', container(IMAGES.new))
    await done('back')
    await patch('back', container(IMAGES.old))
    const now = await done('back')
    const all = await sets('back')
    expect(all.map(set => [revision(set), set.spec.replicas])).toEqual([
      [2, 0],
      [3, 2],
    ])
    expect(all[1]?.metadata.uid).toBe(first?.metadata.uid)
    expect(all[1]?.metadata.annotations?.['deployment.kubernetes.io/revision-history']).toBe('1')
    expect(revision(now)).toBe(3)
    expect(now.metadata.generation).toBe(3)
    expect(progressing(now)).toBe('NewReplicaSetAvailable')
  })

  it('passes its annotations on to the ReplicaSet, but not what kubectl keeps for itself', async () => {
    const made = deployment('noted', IMAGES.old)
    made.metadata.annotations = {
      'kubernetes.io/change-cause': 'first',
      'kubectl.kubernetes.io/last-applied-configuration': '{}',
    }
    await client.must('POST', `${apps}/deployments`, made)
    await done('noted')
    const [set] = await sets('noted')
    expect(set?.metadata.annotations).toEqual({
      'kubernetes.io/change-cause': 'first',
      [REVISION]: '1',
      'deployment.kubernetes.io/desired-replicas': '1',
      'deployment.kubernetes.io/max-replicas': '2',
    })
  })

  it('deletes ReplicaSets beyond the history limit, the oldest first', async () => {
    await deploy('short', { spec: { revisionHistoryLimit: 1 } })
    await done('short')
    for (const value of ['1', '2', '3']) {
      // Servers before 1.21 go by when they were made, which is told by the second, and not by their revisions.
      if (place.minor < 21) await sleep(1_100)
      await patch('short', container(IMAGES.old, { env: [{ name: 'V', value }] }))
      await done('short')
    }
    await expect.poll(async () => (await sets('short')).map(revision), { timeout: 30_000 }).toEqual([3, 4])
  })

  it('keeps the old pods serving while the new ones do not get ready', async () => {
    await deploy('held', { replicas: 4 })
    await done('held')
    await patch('held', container(IMAGES.old, NEVER_READY))
    const stuck = await client.until(`${apps}/deployments/held`, one => at(one.status, 'updatedReplicas') === 2)
    expect((await sets('held')).map(set => set.spec.replicas)).toEqual([3, 2])
    expect(at(stuck.status, 'availableReplicas')).toBeGreaterThanOrEqual(3)
    expect((stuck as Deployment).status.conditions?.find(one => one.type === 'Available')?.status).toBe('True')
    await patch('held', container(IMAGES.old))
    const after = await client.must('GET', `${apps}/deployments/held`)
    // A merge patch that leaves the probe out replaces the list of containers: the probe is gone.
    expect(JSON.stringify(after.spec)).not.toContain('readinessProbe')
    await done('held')
    expect((await sets('held')).map(set => set.spec.replicas)).toEqual([0, 4])
  })

  it('does not roll a paused deployment out, but scales it', async () => {
    await deploy('halted', { spec: { paused: false } })
    await done('halted')
    await patch('halted', { spec: { paused: true } })
    await patch('halted', container(IMAGES.new))
    await patch('halted', { spec: { replicas: 2 } })
    const halted = await client.until(`${apps}/deployments/halted`, one => at(one.status, 'availableReplicas') === 2)
    expect(progressing(halted)).toBe('DeploymentPaused')
    expect((await sets('halted')).map(set => set.spec.replicas)).toEqual([2])
    await patch('halted', { spec: { paused: false } })
    await done('halted')
    expect((await sets('halted')).map(set => set.spec.replicas)).toEqual([0, 2])
  })

  it('ends all old pods before it starts new ones where the strategy is Recreate', async () => {
    await deploy('anew', { replicas: 2, spec: { strategy: { type: 'Recreate' } } })
    await done('anew')
    await patch('anew', container(IMAGES.new))
    await done('anew')
    expect((await sets('anew')).map(set => set.spec.replicas)).toEqual([0, 2])
  })

  it('calls a rollout stuck when its time is over by the clock', async () => {
    // The clock of a real one cannot be put forward.
    await deploy('late', isReal ? { spec: { progressDeadlineSeconds: 5 } } : {})
    await done('late')
    await patch('late', container(IMAGES.old, NEVER_READY))
    // On a busy machine the time of a real one is over before it was asked.
    const after = ['ReplicaSetUpdated', ...(isReal ? ['ProgressDeadlineExceeded'] : [])]
    await client.until(`${apps}/deployments/late`, one => after.includes(String(progressing(one))))
    place.standIn?.clock.advance(601_000)
    const stuck = await client.until(`${apps}/deployments/late`, one => progressing(one) === 'ProgressDeadlineExceeded')
    expect((stuck as Deployment).status.conditions?.find(one => one.type === 'Progressing')?.status).toBe('False')
    await patch('late', container(IMAGES.old))
    expect(progressing(await done('late'))).toBe('NewReplicaSetAvailable')
  })

  // pkg/controller/controller_ref_manager.go
  it('adopts pods of its selector, and lets go of those that lose the label', async () => {
    await deploy('adopts')
    await done('adopts')
    const url = `/api/v1/namespaces/${place.namespace}/pods`
    const pods = async (label: string): Promise<Pod[]> =>
      (await client.ask('GET', `${url}?labelSelector=${label}`)).body.items as Pod[]
    const [pod] = await pods('app%3Dadopts')
    await client.must('PATCH', `${url}/${pod?.metadata.name}`, { metadata: { labels: { app: 'freed' } } }, MERGE_PATCH)
    const freed = await client.until(`${url}/${pod?.metadata.name}`, one => one.metadata.ownerReferences === undefined)
    await done('adopts')
    expect((await pods('app%3Dadopts')).map(one => one.metadata.uid)).not.toContain(freed.metadata.uid)
  })

  it('updates a StatefulSet from the highest ordinal down to the partition', async () => {
    const url = `${apps}/statefulsets/parted`
    const strategy = { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 1 } } }
    await client.must(
      'POST',
      `${apps}/statefulsets`,
      statefulSet('parted', IMAGES.old, { replicas: 3, spec: strategy }),
    )
    await client.until(url, one => at(one.status, 'readyReplicas') === 3)
    await client.must('PATCH', url, container(IMAGES.new), MERGE_PATCH)
    const set = await client.until(
      url,
      one => at(one.status, 'updatedReplicas') === 2 && at(one.status, 'readyReplicas') === 3,
    )
    expect(at(set.status, 'currentRevision')).not.toBe(at(set.status, 'updateRevision'))
    const image = async (ordinal: number): Promise<unknown> => {
      const pod = await client.must('GET', `/api/v1/namespaces/${place.namespace}/pods/parted-${ordinal}`)
      return (pod as Pod).spec.containers[0]?.image
    }
    expect([await image(0), await image(1), await image(2)]).toEqual([IMAGES.old, IMAGES.new, IMAGES.new])
  })

  it('leaves the pods of an OnDelete StatefulSet until somebody deletes them', async () => {
    const url = `${apps}/statefulsets/manual`
    const made = statefulSet('manual', IMAGES.old, { spec: { updateStrategy: { type: 'OnDelete' } } })
    await client.must('POST', `${apps}/statefulsets`, made)
    await client.until(url, one => at(one.status, 'readyReplicas') === 1)
    await client.must('PATCH', url, container(IMAGES.new), MERGE_PATCH)
    await client.until(url, one => at(one.status, 'observedGeneration') === 2)
    const pod = `/api/v1/namespaces/${place.namespace}/pods/manual-0`
    const before = (await client.must('GET', pod)) as Pod
    expect(before.spec.containers[0]?.image).toBe(IMAGES.old)
    await client.must('DELETE', pod)
    const after = await client.until(pod, one => one.metadata.uid !== before.metadata.uid)
    expect((after as Pod).spec.containers[0]?.image).toBe(IMAGES.new)
  })
})
