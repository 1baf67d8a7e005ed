import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { APPLY_PATCH, type Client, MERGE_PATCH, type Reply } from '../support/kubernetes/client.ts'
import { IMAGES } from '../support/kubernetes/manifests.ts'
import { makePlace, type Place } from '../support/kubernetes/place.ts'
import { at, type Fields, type Obj } from '../support/kubernetes/types.ts'

// Kubernetes documentation, "Server-Side Apply"; sigs.k8s.io/structured-merge-diff, merge/update.go.
describe('server-side apply to a cluster', () => {
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

  const apply = (url: string, config: Fields, manager: string, force = false): Promise<Reply> =>
    client.ask('PATCH', `${url}?fieldManager=${manager}&force=${force}`, named(url, config), APPLY_PATCH)
  const named = (url: string, config: Fields): Fields => ({
    ...config,
    metadata: { name: url.slice(url.lastIndexOf('/') + 1), ...(config['metadata'] as Fields) },
  })
  const map = (data: Fields): Fields => ({ apiVersion: 'v1', kind: 'ConfigMap', data })
  const owners = (object: Obj): Record<string, unknown> =>
    Object.fromEntries(
      (object.metadata.managedFields ?? []).map(entry => [`${entry.operation} ${entry.manager}`, entry.fieldsV1]),
    )

  it('creates what is not there, and answers who owns which fields', async () => {
    const { code, body } = await apply(`${maps}/made`, map({ a: '1' }), 'one')
    expect([code, body['data']]).toEqual([201, { a: '1' }])
    expect(owners(body)).toEqual({ 'Apply one': { 'f:data': { 'f:a': {} } } })
    expect((await apply(`${maps}/made`, map({ a: '1' }), 'one')).code).toBe(200)
  })

  it('takes out what the manager applies no more, unless another owns it too', async () => {
    await apply(`${maps}/shared`, map({ a: '1', b: '1', c: '1' }), 'one')
    expect((await apply(`${maps}/shared`, map({ b: '1' }), 'two')).code).toBe(200)
    const { body } = await apply(`${maps}/shared`, map({ a: '1' }), 'one')
    expect(body['data']).toEqual({ a: '1', b: '1' })
    expect(owners(body)).toEqual({ 'Apply one': { 'f:data': { 'f:a': {} } }, 'Apply two': { 'f:data': { 'f:b': {} } } })
  })

  it('conflicts over another value of an owned field, and names all of them', async () => {
    await apply(`${maps}/fought`, map({ a: '1', b: '1' }), 'one')
    const { code, body } = await apply(`${maps}/fought`, map({ a: '2', b: '2' }), 'two')
    expect([code, body.reason]).toEqual([409, 'Conflict'])
    expect(body.message).toBe('Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b')
    expect(body.details?.['causes']).toEqual([
      { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.a' },
      { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.b' },
    ])
    const forced = await apply(`${maps}/fought`, map({ a: '2' }), 'two', true)
    expect(forced.body['data']).toEqual({ a: '2', b: '1' })
    expect(owners(forced.body)['Apply one']).toEqual({ 'f:data': { 'f:b': {} } })
  })

  it('gives a field to whoever writes it without applying', async () => {
    await apply(`${maps}/taken`, map({ a: '1' }), 'one')
    const patched = await client.must('PATCH', `${maps}/taken?fieldManager=hand`, { data: { a: '2' } }, MERGE_PATCH)
    expect(Object.keys(owners(patched))).toEqual(['Update hand'])
    const { code, body } = await apply(`${maps}/taken`, map({ a: '1' }), 'one')
    expect([code, body.message]).toEqual([409, expect.stringMatching(/conflict with "hand" using v1.*: \.data\.a$/)])
  })

  it('tells containers apart by name, and leaves alone what others put into them', async () => {
    const template = (containers: Fields[]): Fields => ({
      metadata: { labels: { app: 'keyed' } },
      spec: { containers },
    })
    const config = (containers: Fields[]): Fields => ({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      spec: { replicas: 0, selector: { matchLabels: { app: 'keyed' } }, template: template(containers) },
    })
    const app = { name: 'app', image: IMAGES.old }
    await apply(`${deployments}/keyed`, config([app]), 'team')
    const side = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      spec: { template: { spec: { containers: [{ name: 'side', image: IMAGES.new }] } } },
    }
    expect((await apply(`${deployments}/keyed`, side, 'mesh')).code).toBe(200)
    const { code, body } = await apply(`${deployments}/keyed`, config([{ ...app, image: IMAGES.new }]), 'team')
    const containers = at(body.spec, 'template', 'spec', 'containers') as Fields[]
    expect([code, containers.map(one => [one['name'], one['image']])]).toEqual([
      200,
      [
        ['app', IMAGES.new],
        ['side', IMAGES.new],
      ],
    ])
    // What the server filled in belongs to nobody.
    expect(at(body.spec, 'revisionHistoryLimit')).toBe(10)
    expect(JSON.stringify(owners(body)['Apply team'])).not.toContain('revisionHistoryLimit')
  })

  it('wants a field manager, and no managedFields', async () => {
    const anonymous = await client.ask('PATCH', `${maps}/made`, named('/made', map({})), APPLY_PATCH)
    expect([anonymous.code, anonymous.body.message]).toEqual([
      422,
      expect.stringContaining('fieldManager: Required value'),
    ])
    const owned = [{ manager: 'one', operation: 'Apply', apiVersion: 'v1' }]
    const config = { ...map({}), metadata: { managedFields: owned } }
    expect((await apply(`${maps}/made`, config, 'one')).code).toBe(400)
  })
})
