import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH } from '../support/kubernetes/client.ts'
import { deployment, IMAGES, job, statefulSet } from '../support/kubernetes/manifests.ts'
import { makePlace, type Place } from '../support/kubernetes/place.ts'
import { at, type Fields, type Obj } from '../support/kubernetes/types.ts'

/** Each rule of the API server that going back relies on; run against the stand-in, or against a real cluster. */
describe('writes to a cluster', () => {
  let place: Place
  let client: Client
  let deployments: string
  let maps: string
  beforeAll(async () => {
    place = await makePlace()
    client = place.client
    deployments = `/apis/apps/v1/namespaces/${place.namespace}/deployments`
    maps = `/api/v1/namespaces/${place.namespace}/configmaps`
  })
  afterAll(() => place.dispose())

  const map = (name: string, data: Fields, more: Fields = {}): Fields => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name },
    data,
    ...more,
  })
  const settled = (name: string): Promise<Obj> =>
    client.until(`${deployments}/${name}`, one => at(one.status, 'availableReplicas') === 1)

  // apiserver, registry/generic/registry/store.go: Update
  it('refuses a write that was made from an old resourceVersion', async () => {
    const first = await client.must('POST', maps, map('locked', { a: '1' }))
    await client.must('PATCH', `${maps}/locked`, { data: { a: '2' } }, MERGE_PATCH)
    const { code, body } = await client.ask('PUT', `${maps}/locked`, { ...first, data: { a: '3' } })
    expect({ code, reason: body.reason, kind: body.kind, status: body.status }).toEqual({
      code: 409,
      reason: 'Conflict',
      kind: 'Status',
      status: 'Failure',
    })
    expect(body.message).toBe(
      'Operation cannot be fulfilled on configmaps "locked": the object has been modified; please apply your changes to the latest version and try again',
    )
    const stale = { metadata: { resourceVersion: first.metadata.resourceVersion }, data: { a: '4' } }
    expect((await client.ask('PATCH', `${maps}/locked`, stale, MERGE_PATCH)).code).toBe(409)
    expect((await client.must('GET', `${maps}/locked`))['data']).toEqual({ a: '2' })
  })

  it('takes a write without a resourceVersion as it comes, and keeps the revision where nothing changes', async () => {
    await client.must('POST', maps, map('plain', { a: '1' }))
    const once = await client.must('PUT', `${maps}/plain`, map('plain', { a: '2' }))
    const twice = await client.must('PUT', `${maps}/plain`, map('plain', { a: '2' }))
    expect(twice.metadata.resourceVersion).toBe(once.metadata.resourceVersion)
  })

  it('answers with the right Status for what is there already, is not there, and has another name', async () => {
    await client.must('POST', maps, map('twice', {}))
    const again = await client.ask('POST', maps, map('twice', {}))
    expect([again.code, again.body.reason, again.body.message]).toEqual([
      409,
      'AlreadyExists',
      'configmaps "twice" already exists',
    ])
    const missing = await client.ask('GET', `${deployments}/missing`)
    expect([missing.code, missing.body.reason, missing.body.message]).toEqual([
      404,
      'NotFound',
      'deployments.apps "missing" not found',
    ])
    expect(missing.body.details).toEqual({ name: 'missing', group: 'apps', kind: 'deployments' })
    expect((await client.ask('PUT', `${maps}/twice`, map('other', {}))).code).toBe(400)
  })

  // apiserver, endpoints/handlers/patch.go: a JSON patch that does not apply is 422, whatever the reason.
  it('applies a JSON patch as a whole or not at all', async () => {
    await client.must('POST', maps, map('patched', { a: '1' }))
    const test = (value: string): Fields => ({ op: 'test', path: '/data/a', value })
    const set = { op: 'replace', path: '/data/a', value: '2' }
    const failed = await client.ask('PATCH', `${maps}/patched`, [test('0'), set], JSON_PATCH)
    expect([failed.code, failed.body.reason]).toEqual([422, 'Invalid'])
    expect(failed.body.message).toBe('the server rejected our request due to an error in our request')
    const absent = [set, { op: 'remove', path: '/data/nothing' }]
    expect((await client.ask('PATCH', `${maps}/patched`, absent, JSON_PATCH)).code).toBe(422)
    expect((await client.must('GET', `${maps}/patched`))['data']).toEqual({ a: '1' })
    expect((await client.must('PATCH', `${maps}/patched`, [test('1'), set], JSON_PATCH))['data']).toEqual({ a: '2' })
  })

  it('fails a JSON patch whose test of the resourceVersion is out of date', async () => {
    const first = await client.must('POST', maps, map('tested', { a: '1' }))
    const patch = (version: unknown): Fields[] => [
      { op: 'test', path: '/metadata/resourceVersion', value: version },
      { op: 'add', path: '/data/b', value: '1' },
    ]
    const second = await client.must('PATCH', `${maps}/tested`, patch(first.metadata.resourceVersion), JSON_PATCH)
    expect((await client.ask('PATCH', `${maps}/tested`, patch(first.metadata.resourceVersion), JSON_PATCH)).code).toBe(
      422,
    )
    expect(second['data']).toEqual({ a: '1', b: '1' })
  })

  // k8s.io/api/core/v1: patchMergeKey of containers, env and volumes; patchStrategy=retainKeys of the strategy.
  it('merges lists by their keys in a strategic merge patch, and replaces them in a merge patch', async () => {
    await client.must('POST', deployments, deployment('merged', IMAGES.old, { env: { A: '1', B: '2' } }))
    await settled('merged')
    const container = (env: Fields[]): Fields => ({
      spec: { template: { spec: { containers: [{ name: 'app', env }] } } },
    })
    const env = (object: Obj): unknown => (at(object.spec, 'template', 'spec', 'containers') as Fields[])[0]?.['env']
    const strategic = container([
      { name: 'B', value: '3' },
      { name: 'A', $patch: 'delete' },
    ])
    const merged = await client.must('PATCH', `${deployments}/merged`, strategic, STRATEGIC_PATCH)
    expect(env(merged)).toEqual([{ name: 'B', value: '3' }])
    const refused = await client.ask('PATCH', `${deployments}/merged`, container([]), MERGE_PATCH)
    expect(refused.code).toBe(422)
    expect(refused.body.message).toContain('spec.template.spec.containers[0].image: Required value')
    const recreate = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } }
    const changed = await client.must('PATCH', `${deployments}/merged`, recreate, STRATEGIC_PATCH)
    expect(at(changed.spec, 'strategy')).toEqual({ type: 'Recreate' })
  })

  // pkg/registry/apps/deployment/strategy.go: PrepareForUpdate
  it('raises the generation for spec and annotations of a deployment, not for labels or status', async () => {
    const made = await client.must('POST', deployments, deployment('counted', IMAGES.old))
    expect(made.metadata.generation).toBe(1)
    const seen = await settled('counted')
    expect(seen.metadata.generation).toBe(1)
    expect(at(seen.status, 'observedGeneration')).toBe(1)
    const patch = async (body: Fields): Promise<number | undefined> =>
      (await client.must('PATCH', `${deployments}/counted`, body, MERGE_PATCH)).metadata.generation
    expect(await patch({ metadata: { labels: { a: 'b' } } })).toBe(1)
    expect(await patch({ status: { replicas: 9 } })).toBe(1)
    expect(await patch({ metadata: { annotations: { a: 'b' } } })).toBe(2)
    expect(await patch({ spec: { revisionHistoryLimit: 3 } })).toBe(3)
    await client.until(`${deployments}/counted`, one => at(one.status, 'observedGeneration') === 3)
  })

  // pkg/apis/apps/v1/defaults.go and pkg/apis/core/v1/defaults.go
  it('fills in what a manifest leaves out', async () => {
    const made = await client.must(
      'POST',
      deployments,
      deployment('filled', IMAGES.old, { pod: { terminationGracePeriodSeconds: null } }),
    )
    const { selector: _, ...spec } = made.spec as Fields
    expect(spec).toEqual({
      replicas: 1,
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
      template: {
        metadata: expect.objectContaining({ labels: { app: 'filled' } }) as unknown,
        spec: {
          restartPolicy: 'Always',
          terminationGracePeriodSeconds: 30,
          dnsPolicy: 'ClusterFirst',
          securityContext: {},
          schedulerName: 'default-scheduler',
          containers: [
            {
              name: 'app',
              image: IMAGES.old,
              imagePullPolicy: 'IfNotPresent',
              resources: {},
              terminationMessagePath: '/dev/termination-log',
              terminationMessagePolicy: 'File',
            },
          ],
        },
      },
    })
  })

  // pkg/apis/*/validation
  it('refuses changes of fields that are fixed', async () => {
    const sets = `/apis/apps/v1/namespaces/${place.namespace}/statefulsets`
    const jobs = `/apis/batch/v1/namespaces/${place.namespace}/jobs`
    await client.must('POST', deployments, deployment('fixed', IMAGES.old))
    await client.must('POST', sets, statefulSet('fixed', IMAGES.old, { replicas: 0 }))
    await client.must('POST', jobs, job('fixed', 'exit 0'))
    await client.must('POST', maps, map('fixed', { a: '1' }, { immutable: true }))
    const tried = async (url: string, patch: Fields): Promise<[number, string]> => {
      const { code, body } = await client.ask('PATCH', url, patch, MERGE_PATCH)
      return [code, body.message ?? '']
    }
    const labels = { app: 'fixed', more: 'x' }
    const selector = { spec: { selector: { matchLabels: labels }, template: { metadata: { labels } } } }
    expect(await tried(`${deployments}/fixed`, selector)).toEqual([422, expect.stringContaining('field is immutable')])
    expect(await tried(`${sets}/fixed`, { spec: { serviceName: 'other' } })).toEqual([
      422,
      expect.stringContaining("updates to statefulset spec for fields other than 'replicas'"),
    ])
    expect(await tried(`${jobs}/fixed`, { spec: { template: { spec: { restartPolicy: 'OnFailure' } } } })).toEqual([
      422,
      expect.stringContaining('field is immutable'),
    ])
    expect(await tried(`${maps}/fixed`, { data: { a: '2' } })).toEqual([422, expect.stringContaining('immutable')])
  })

  it('refuses a template that the selector does not pick', async () => {
    const wrong = deployment('astray', IMAGES.old, { spec: { selector: { matchLabels: { app: 'other' } } } })
    const { code, body } = await client.ask('POST', deployments, wrong)
    expect([code, body.reason]).toEqual([422, 'Invalid'])
    expect(body.message).toContain('`selector` does not match template `labels`')
    expect(body.details?.['causes']).toMatchObject([{ field: 'spec.template.metadata.labels' }])
  })

  // pkg/apis/apps/validation: ValidatePodTemplateSpecForStatefulSet leaves out the pod's spec
  it('takes a mount without a volume from a StatefulSet alone, whose volumes may be claims', async () => {
    const o = { replicas: 0, container: { volumeMounts: [{ name: 'data', mountPath: '/data' }] } }
    const { code, body } = await client.ask('POST', deployments, deployment('mounts', IMAGES.old, o))
    expect([code, body.message]).toEqual([422, expect.stringContaining('volumeMounts[0].name: Not found: "data"')])
    const sets = deployments.replace('deployments', 'statefulsets')
    expect((await client.ask('POST', sets, statefulSet('mounts', IMAGES.old, o))).code).toBe(201)
  })

  // apiserver, endpoints/handlers: fieldValidation; what is not asked to be strict is dropped, with a warning.
  it('keeps no field that the kind does not have, and refuses values of another type', async () => {
    const made = deployment('typed', IMAGES.old, { spec: { progressDeadline: 5 } })
    // Older servers do not know the parameter.
    if (place.minor >= 25) {
      const strict = await client.ask('POST', `${deployments}?fieldValidation=Strict`, made)
      expect([strict.code, strict.body.reason]).toEqual([400, 'BadRequest'])
      expect(strict.body.message).toContain('strict decoding error: unknown field "spec.progressDeadline"')
    }
    const kept = await client.must('POST', deployments, made)
    expect(at(kept.spec, 'progressDeadline')).toBeUndefined()
    const text = await client.ask('POST', deployments, deployment('untyped', IMAGES.old, { spec: { replicas: '2' } }))
    // Older servers read it by another decoder.
    const untyped = expect.stringMatching(/cannot unmarshal string|readUint32: unexpected character/) as string
    expect([text.code, text.body.message]).toEqual([400, untyped])
    const patch = await client.ask('PATCH', `${deployments}/typed`, { spec: { replicas: '2' } }, MERGE_PATCH)
    expect([patch.code, patch.body.message]).toEqual([422, untyped])
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'numbers' }, data: { a: 1 } }
    expect((await client.ask('POST', maps, map)).code).toBe(400)
  })

  it('writes nothing in a dry run, but refuses what it would refuse', async () => {
    const made = await client.must('POST', `${deployments}?dryRun=All`, deployment('dry', IMAGES.old))
    expect(at(made.spec, 'revisionHistoryLimit')).toBe(10)
    expect((await client.ask('GET', `${deployments}/dry`)).code).toBe(404)
    const bad = deployment('dry', IMAGES.old, { spec: { selector: { matchLabels: { app: 'other' } } } })
    expect((await client.ask('POST', `${deployments}?dryRun=All`, bad)).code).toBe(422)
  })

  it('keeps secrets as base64, and never shows stringData', async () => {
    const url = `/api/v1/namespaces/${place.namespace}/secrets`
    const made = await client.must('POST', url, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      stringData: { a: 'x' },
    })
    expect([made['data'], made['type'], made['stringData']]).toEqual([{ a: 'eA==' }, 'Opaque', undefined])
  })

  // apimachinery, meta/v1/validation; apiserver, storage/selection_predicate.go
  it('selects by labels and by the few fields that are indexed', async () => {
    for (const [name, tier] of [
      ['l1', 'a'],
      ['l2', 'b'],
      ['l3', 'b'],
    ] as const) {
      await client.must('POST', maps, { ...map(name, {}), metadata: { name, labels: { tier, set: 'l' } } })
    }
    const names = async (query: string): Promise<unknown> => {
      const { body } = await client.ask('GET', `${maps}?${query}`)
      return body.items?.map(one => one.metadata.name)
    }
    const by = (selector: string): string => `labelSelector=${encodeURIComponent(selector)}`
    expect(await names(by('tier=b,set=l'))).toEqual(['l2', 'l3'])
    expect(await names(by('set in (l),tier notin (b)'))).toEqual(['l1'])
    expect(await names(by('tier!=b,set'))).toEqual(['l1'])
    expect(await names(`${by('set')}&fieldSelector=metadata.name%3Dl2`)).toEqual(['l2'])
    expect((await client.ask('GET', `${maps}?fieldSelector=data.a%3D1`)).code).toBe(400)
  })

  it('lists in pages of one moment', async () => {
    for (const name of ['p1', 'p2', 'p3']) {
      await client.must('POST', maps, { ...map(name, {}), metadata: { name, labels: { paged: 'yes' } } })
    }
    const query = 'labelSelector=paged&limit=2'
    const first = (await client.ask('GET', `${maps}?${query}`)).body
    const token = (first.metadata as unknown as { continue: string }).continue
    await client.must('DELETE', `${maps}/p3`)
    const second = (await client.ask('GET', `${maps}?${query}&continue=${encodeURIComponent(token)}`)).body
    expect(first.items?.map(one => one.metadata.name)).toEqual(['p1', 'p2'])
    expect(second.items?.map(one => one.metadata.name)).toEqual(['p3'])
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion)
  })
})
