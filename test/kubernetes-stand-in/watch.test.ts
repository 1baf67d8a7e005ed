import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, MERGE_PATCH } from '../support/kubernetes/client.ts'
import { isReal, makePlace, type Place } from '../support/kubernetes/place.ts'
import { type Fields } from '../support/kubernetes/types.ts'

describe('watches of a cluster', () => {
  let place: Place
  let client: Client
  let maps: string
  beforeAll(async () => {
    place = await makePlace({ bookmarkMs: 50 })
    client = place.client
    maps = `/api/v1/namespaces/${place.namespace}/configmaps`
  })
  afterAll(() => place.dispose())

  const make = (name: string, labels: Fields): Promise<unknown> =>
    client.must('POST', maps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels } })
  const label = (name: string, labels: Fields): Promise<unknown> =>
    client.must('PATCH', `${maps}/${name}`, { metadata: { labels } }, MERGE_PATCH)
  const now = async (): Promise<string> => (await client.ask('GET', maps)).body.metadata.resourceVersion ?? ''
  const open = (query: string): ReturnType<Client['watch']> => client.watch(`${maps}?watch=true&${query}`)

  it('shows what happened since a resourceVersion, in order, and goes on', async () => {
    const since = await now()
    await make('a', { w: '1' })
    await label('a', { x: '1' })
    const watch = await open(`resourceVersion=${since}&labelSelector=w%3D1`)
    expect((await watch.next()).type).toBe('ADDED')
    expect((await watch.next()).object.metadata.labels).toEqual({ w: '1', x: '1' })
    await client.must('DELETE', `${maps}/a`)
    expect((await watch.next()).type).toBe('DELETED')
    watch.close()
  })

  // apiserver, storage/cacher: an object that leaves the selection is deleted, as far as the watch can tell.
  it('shows an object that enters or leaves the selection as added or deleted', async () => {
    await make('b', { v: 'out' })
    const watch = await open(`resourceVersion=${await now()}&labelSelector=v%3Din`)
    await label('b', { v: 'in' })
    expect((await watch.next()).type).toBe('ADDED')
    await label('b', { v: 'out' })
    const left = await watch.next()
    expect([left.type, left.object.metadata.labels]).toEqual(['DELETED', { v: 'in' }])
    watch.close()
  })

  it('begins with what is there where no resourceVersion is given', async () => {
    await make('c', { u: '1' })
    const watch = await open('labelSelector=u%3D1')
    const first = await watch.next()
    expect([first.type, first.object.metadata.name, first.object.kind]).toEqual(['ADDED', 'c', 'ConfigMap'])
    watch.close()
  })

  it('ends by itself at its time limit', async () => {
    const watch = await open(`resourceVersion=${await now()}&timeoutSeconds=1`)
    await expect(watch.next()).rejects.toThrow('the watch has ended')
  })

  it.skipIf(isReal)('sends bookmarks to those who asked (a real server does so once a minute)', async () => {
    const watch = await open(`resourceVersion=${await now()}&allowWatchBookmarks=true`)
    const { type, object } = await watch.next()
    expect([type, object.kind, Object.keys(object.metadata)]).toEqual([
      'BOOKMARK',
      'ConfigMap',
      ['resourceVersion', 'creationTimestamp'],
    ])
    watch.close()
  })

  // apiserver, storage/cacher: newErrWatcher; the list's own 410 is an HTTP status.
  it.skipIf(isReal)('answers 410 Gone within the stream to whoever is too far behind', async () => {
    const since = await now()
    const watch = await open(`resourceVersion=${since}`)
    const page = (await client.ask('GET', `${maps}?limit=1`)).body.metadata as unknown as { continue: string }
    await make('d', {})
    place.standIn?.forget()
    expect((await watch.next()).type).toBe('ADDED')
    const end = await watch.next()
    expect([end.type, end.object.code, end.object.reason]).toEqual(['ERROR', 410, 'Expired'])
    const late = await (await open(`resourceVersion=${since}`)).next()
    expect([late.type, late.object.code]).toEqual(['ERROR', 410])
    const { code, body } = await client.ask('GET', `${maps}?limit=1&continue=${page.continue}`)
    expect([code, body.reason]).toEqual([410, 'Expired'])
  })
})
