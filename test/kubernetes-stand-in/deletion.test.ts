import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, MERGE_PATCH } from '../support/kubernetes/client.ts'
import { definition } from '../support/kubernetes/definitions.ts'
import { deployment, IMAGES, statefulSet } from '../support/kubernetes/manifests.ts'
import { isReal, makePlace, type Place } from '../support/kubernetes/place.ts'
import { at, type Fields, type Obj } from '../support/kubernetes/types.ts'

describe("deletion in a cluster, and kinds of one's own", () => {
  let place: Place
  let client: Client
  let maps: string
  let deployments: string
  beforeAll(async () => {
    place = await makePlace()
    client = place.client
    maps = `/api/v1/namespaces/${place.namespace}/configmaps`
    deployments = `/apis/apps/v1/namespaces/${place.namespace}/deployments`
  })
  afterAll(() => place.dispose())

  const map = (name: string, metadata: Fields = {}): Fields => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, ...metadata },
  })
  const gone = (url: string): Promise<void> =>
    expect.poll(async () => (await client.ask('GET', url)).code, { timeout: 30_000 }).toBe(404)

  it('only marks what has a finalizer, and deletes it once the last one is taken off', async () => {
    await client.must('POST', maps, map('kept', { finalizers: ['example.com/wait'] }))
    await client.must('DELETE', `${maps}/kept`)
    const marked = await client.must('GET', `${maps}/kept`)
    expect(marked.metadata.deletionTimestamp).toBeDefined()
    await client.must('PATCH', `${maps}/kept`, { metadata: { finalizers: null } }, MERGE_PATCH)
    expect((await client.ask('GET', `${maps}/kept`)).code).toBe(404)
  })

  // pkg/controller/certificates/rootcacertpublisher
  it('puts back the certificate that each namespace is told, whoever changes or deletes it', async () => {
    const url = `${maps}/kube-root-ca.crt`
    const { data } = await client.until(url, () => true)
    await client.must('PATCH', url, { data: { 'ca.crt': 'an older one' } }, MERGE_PATCH)
    await client.until(url, one => JSON.stringify(one['data']) === JSON.stringify(data))
    await client.must('DELETE', url)
    await client.until(url, one => JSON.stringify(one['data']) === JSON.stringify(data))
  })

  // stateful_pod_control.go: UpdatePodClaimForRetentionPolicy (since 1.27)
  it('deletes the claims of pods that a StatefulSet is scaled down by, where it says so, and no others', async context => {
    if (place.minor < 27) context.skip('served since 1.27')
    const claims = [
      {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
      },
    ]
    // All at once: where the cluster has nobody who makes volumes, no pod ever gets ready.
    const spec = {
      podManagementPolicy: 'Parallel',
      volumeClaimTemplates: claims,
      persistentVolumeClaimRetentionPolicy: { whenScaled: 'Delete' },
    }
    const sets = deployments.replace('deployments', 'statefulsets')
    const volumes = maps.replace('configmaps', 'persistentvolumeclaims')
    await client.must('POST', sets, statefulSet('kept', IMAGES.old, { replicas: 2, spec }))
    await client.until(`${sets}/kept`, one => at(one.status, 'replicas') === 2)
    for (const ordinal of [0, 1]) await client.until(`${volumes}/data-kept-${ordinal}`, () => true)
    await client.must('PATCH', `${sets}/kept`, { spec: { replicas: 1 } }, MERGE_PATCH)
    await gone(`${volumes}/data-kept-1`)
    expect((await client.ask('GET', `${volumes}/data-kept-0`)).code).toBe(200)
  })

  it('refuses to delete another object of the same name than the one meant', async () => {
    const made = await client.must('POST', maps, map('meant'))
    const preconditions = { uid: '00000000-0000-0000-0000-000000000000' }
    expect((await client.ask('DELETE', `${maps}/meant`, { preconditions })).code).toBe(409)
    expect((await client.ask('DELETE', `${maps}/meant`, { preconditions: { uid: made.metadata.uid } })).code).toBe(200)
  })

  it('takes along what the deleted object owns, or leaves it as an orphan', async () => {
    const made = async (name: string): Promise<Obj> => {
      await client.must('POST', deployments, deployment(name, IMAGES.old))
      await client.until(`${deployments}/${name}`, one => at(one.status, 'availableReplicas') === 1)
      const { body } = await client.ask(
        'GET',
        `/apis/apps/v1/namespaces/${place.namespace}/replicasets?labelSelector=app%3D${name}`,
      )
      return body.items?.[0] as Obj
    }
    const url = (set: Obj): string => `/apis/apps/v1/namespaces/${place.namespace}/replicasets/${set.metadata.name}`
    const [taken, left] = [await made('taken'), await made('orphaning')]
    await client.must('DELETE', `${deployments}/taken`, { propagationPolicy: 'Background' })
    await client.must('DELETE', `${deployments}/orphaning`, { propagationPolicy: 'Orphan' })
    await gone(url(taken))
    await gone(`${deployments}/orphaning`)
    expect((await client.must('GET', url(left))).metadata.ownerReferences).toBeUndefined()
  })

  it('collects what belongs to an owner that is not there', async () => {
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'never', uid: '11111111-1111-1111-1111-111111111111' }
    await client.must('POST', maps, map('stray', { ownerReferences: [owner] }))
    await gone(`${maps}/stray`)
  })

  it('empties a namespace that is deleted, and lets nothing new in', async () => {
    const name = `${place.namespace}-going`
    const url = `/api/v1/namespaces/${name}`
    await client.must('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    await client.must('POST', `${url}/configmaps`, map('held', { finalizers: ['example.com/wait'] }))
    await client.must('DELETE', url)
    expect(at((await client.must('GET', url)).status, 'phase')).toBe('Terminating')
    const refused = await client.ask('POST', `${url}/configmaps`, map('late'))
    expect([refused.code, refused.body.message]).toEqual([
      403,
      expect.stringContaining('because it is being terminated'),
    ])
    await client.must('PATCH', `${url}/configmaps/held`, { metadata: { finalizers: null } }, MERGE_PATCH)
    await gone(url)
  })

  // apiextensions-apiserver. On a real cluster these definitions may be someone else's: they are not touched there.
  it.skipIf(isReal)(
    "serves kinds of one's own: status apart, no strategic merge, no write without a resourceVersion",
    async () => {
      const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
      await client.must('POST', crds, definition('rollouts'))
      await client.until(`${crds}/rollouts.argoproj.io`, one => JSON.stringify(one.status).includes('Established'))
      const url = `/apis/argoproj.io/v1alpha1/namespaces/${place.namespace}/rollouts`
      const body = {
        apiVersion: 'argoproj.io/v1alpha1',
        kind: 'Rollout',
        metadata: { name: 'own' },
        spec: { replicas: 1 },
        status: { phase: 'x' },
      }
      const made = await client.must('POST', url, body)
      expect([made.status, made.metadata.generation]).toEqual([undefined, 1])
      const patched = await client.must(
        'PATCH',
        `${url}/own/status`,
        { status: { abort: true }, spec: { replicas: 9 } },
        MERGE_PATCH,
      )
      expect([patched.status, patched.spec, patched.metadata.generation]).toEqual([{ abort: true }, { replicas: 1 }, 1])
      const strategic = await client.ask('PATCH', `${url}/own`, {}, 'application/strategic-merge-patch+json')
      expect([strategic.code, strategic.body.reason]).toEqual([415, 'UnsupportedMediaType'])
      const put = await client.ask('PUT', `${url}/own`, body)
      expect([put.code, put.body.message]).toEqual([422, expect.stringContaining('must be specified for an update')])
      expect(
        (await client.must('PATCH', `${url}/own`, { spec: { replicas: 2 } }, MERGE_PATCH)).metadata.generation,
      ).toBe(2)
    },
  )
})
