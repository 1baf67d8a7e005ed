import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, MERGE_PATCH } from '../support/kubernetes/client.ts'
import { type Cluster } from '../support/kubernetes/index.ts'
import { makePlace, type Place } from '../support/kubernetes/place.ts'
import { type Fields } from '../support/kubernetes/types.ts'

/** What a test can ask of the stand-in; none of it can be asked of a real cluster. */
describe('the bad luck that the stand-in can be told to have', () => {
  let place: Place
  let client: Client
  let cluster: Cluster
  let maps: string
  beforeAll(async () => {
    // Whatever BACKOUT_TEST_KUBECONFIG says: this is about the stand-in itself.
    place = await makePlace({}, { standIn: true })
    client = place.client
    cluster = place.standIn as Cluster
    maps = `/api/v1/namespaces/${place.namespace}/configmaps`
  })
  afterAll(() => place.dispose())

  const make = (name: string): Promise<unknown> =>
    client.must('POST', maps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { a: '1' } })
  const set = (name: string, data: Fields): Promise<{ code: number }> =>
    client.ask('PATCH', `${maps}/${name}`, { data }, MERGE_PATCH)

  it('conflicts as often as it was told', async () => {
    await make('busy')
    cluster.trouble.conflictOn('configmaps', 'busy', 2)
    const codes = [await set('busy', { a: '2' }), await set('busy', { a: '2' }), await set('busy', { a: '2' })]
    expect(codes.map(one => one.code)).toEqual([409, 409, 200])
  })

  it('lets another writer come between a read and a write', async () => {
    await make('between')
    cluster.trouble.afterRead('configmaps', 'between', () => {
      cluster.change('configmaps', `${place.namespace}/between`, one => void (one['data'] = { a: 'theirs' }))
    })
    const read = await client.must('GET', `${maps}/between`)
    expect(read['data']).toEqual({ a: '1' })
    expect((await client.ask('PUT', `${maps}/between`, { ...read, data: { a: 'ours' } })).code).toBe(409)
    expect((await client.must('GET', `${maps}/between`))['data']).toEqual({ a: 'theirs' })
  })

  it('takes a right away, and says so to whoever asks first', async () => {
    const denied = { verb: 'patch', group: '', resource: 'configmaps', namespace: place.namespace }
    cluster.trouble.deny(denied)
    const review = async (verb: string): Promise<unknown> => {
      const spec = { resourceAttributes: { ...denied, verb } }
      const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec }
      const { status } = await client.must('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', body)
      return (status as { allowed: boolean }).allowed
    }
    await make('denied')
    const { code, body } = await client.ask('PATCH', `${maps}/denied`, {}, MERGE_PATCH)
    expect([code, body.reason]).toEqual([403, 'Forbidden'])
    expect(body.message).toBe(
      `configmaps "denied" is forbidden: User "backout" cannot patch resource "configmaps" in API group "" in the namespace "${place.namespace}"`,
    )
    expect([await review('patch'), await review('get')]).toEqual([false, true])
    cluster.trouble.allowAll()
    expect((await set('denied', { a: '2' })).code).toBe(200)
  })

  it('lets the token expire', async () => {
    cluster.trouble.tokenExpired = true
    const { code, body } = await client.ask('GET', maps)
    cluster.trouble.tokenExpired = false
    expect([code, body.reason, body.message]).toEqual([401, 'Unauthorized', 'Unauthorized'])
  })

  it('is away for a while, ends all watches by that, and comes back at the same place', async () => {
    const watch = await client.watch(`${maps}?watch=true&resourceVersion=0`)
    await watch.next()
    const { url } = cluster
    await cluster.goAway()
    await expect(client.ask('GET', maps)).rejects.toThrow()
    await expect(
      Promise.all([watch.next(), watch.next(), watch.next(), watch.next(), watch.next(), watch.next()]),
    ).rejects.toThrow()
    await cluster.comeBack()
    expect((await client.ask('GET', maps)).code).toBe(200)
    expect(cluster.url).toBe(url)
  })

  it('does what was asked, and loses the reply', async () => {
    await make('lost')
    cluster.trouble.loseReply(access => access.verb === 'patch' && access.name === 'lost')
    await expect(set('lost', { a: '2' })).rejects.toThrow()
    expect((await client.must('GET', `${maps}/lost`))['data']).toEqual({ a: '2' })
  })

  it('fails a request without doing anything', async () => {
    await make('failing')
    cluster.trouble.fail(access => access.name === 'failing' && access.verb === 'patch', 503)
    expect((await set('failing', { a: '2' })).code).toBe(503)
    expect((await client.must('GET', `${maps}/failing`))['data']).toEqual({ a: '1' })
  })

  it('closes watches', async () => {
    const watch = await client.watch(`${maps}?watch=true&resourceVersion=${cluster.api.store.revision}`)
    await expect.poll(() => cluster.watches.count).toBe(1)
    cluster.watches.close()
    await expect(watch.next()).rejects.toThrow('the watch has ended')
  })

  it('closes watches, though something happens before they are closed', async () => {
    const query = `watch=true&allowWatchBookmarks=true&resourceVersion=${cluster.api.store.revision}`
    const watch = await client.watch(`${maps}?${query}`)
    await expect.poll(() => cluster.watches.count).toBe(1)
    cluster.watches.close()
    cluster.watches.bookmark()
    cluster.watches.expire()
    await expect(watch.next()).rejects.toThrow('the watch has ended')
    await expect.poll(() => cluster.watches.count).toBe(0)
  })
})
