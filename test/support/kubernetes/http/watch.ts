import { type ServerResponse } from 'node:http'
import { type Http2ServerResponse } from 'node:http2'
import { type Clock } from '../clock.ts'
import { apiVersionOf, keyOf, type Resource } from '../resources.ts'
import { expired } from '../status.ts'
import { type Change, type Store } from '../store.ts'
import { type Obj } from '../types.ts'

export interface WatchQuery {
  readonly resource: Resource
  readonly namespace: string | undefined
  readonly matches: (object: Obj) => boolean
  readonly resourceVersion: string | null
  readonly bookmarks: boolean
  readonly initialEvents: boolean
  readonly timeoutMs: number
}

/** All open watches; a test closes them, or lets them fall behind. */
export class Watches {
  readonly #store: Store
  readonly #clock: Clock
  readonly #bookmarkMs: number
  readonly #open = new Set<Watch>()

  constructor(store: Store, clock: Clock, bookmarkMs: number) {
    this.#store = store
    this.#clock = clock
    this.#bookmarkMs = bookmarkMs
  }

  get count(): number {
    return this.#open.size
  }

  start(query: WatchQuery, response: Http2ServerResponse): void {
    const watch = new Watch(query, response)
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' })
    // Of HTTP/1, which sends them with the first line else; with the other they are on their way.
    ;(response as unknown as ServerResponse).flushHeaders()
    if (!watch.begin(this.#store)) return
    this.#open.add(watch)
    const unlisten = this.#store.listen(change => watch.tell(change))
    const untimed = this.#clock.after(query.timeoutMs, () => watch.end())
    const bookmarks = setInterval(() => watch.bookmark(this.#store.revision), this.#bookmarkMs)
    bookmarks.unref()
    response.on('close', () => {
      unlisten()
      untimed()
      clearInterval(bookmarks)
      this.#open.delete(watch)
    })
  }

  /** Ends every watch, as an API server does at its time limit or when it is restarted. */
  close(): void {
    for (const watch of this.#open) watch.end()
  }

  bookmark(): void {
    for (const watch of this.#open) watch.bookmark(this.#store.revision)
  }

  /** Every open watch is told that it is too far behind. */
  expire(): void {
    for (const watch of this.#open) watch.expire(this.#store.compacted)
  }
}

class Watch {
  readonly #query: WatchQuery
  readonly #response: Http2ServerResponse

  constructor(query: WatchQuery, response: Http2ServerResponse) {
    this.#query = query
    this.#response = response
  }

  /** Sends what there is to send before the first change. False: it is over already. */
  begin(store: Store): boolean {
    const { resourceVersion } = this.#query
    if (resourceVersion === null || resourceVersion === '' || resourceVersion === '0' || this.#query.initialEvents) {
      for (const object of store.list(this.#query.resource, this.#query.namespace)) {
        if (this.#query.matches(object)) this.#send('ADDED', object)
      }
      if (this.#query.initialEvents) this.bookmark(store.revision, { 'k8s.io/initial-events-end': 'true' })
      return true
    }
    const changes = store.since(Number(resourceVersion))
    if (changes === null) {
      this.expire(store.compacted)
      return false
    }
    for (const change of changes) this.tell(change)
    return true
  }

  /** A change as this watch sees it: one that leaves the selection is a deletion, one that enters it an addition. */
  tell(change: Change): void {
    const { resource, namespace, matches } = this.#query
    if (change.key !== keyOf(resource)) return
    if (namespace !== undefined && change.object.metadata.namespace !== namespace) return
    const now = change.type !== 'DELETED' && matches(change.object)
    const then = change.before !== null && matches(change.before)
    if (now) this.#send(then ? 'MODIFIED' : 'ADDED', change.object)
    else if (change.before !== null && then) this.#send('DELETED', lastSeen(change.before, change.object))
  }

  bookmark(revision: number, annotations?: Record<string, string>): void {
    if (!this.#query.bookmarks) return
    const { resource } = this.#query
    const metadata = { resourceVersion: String(revision), creationTimestamp: null, ...(annotations && { annotations }) }
    this.#send('BOOKMARK', { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata } as unknown as Obj)
  }

  /** 410 Gone comes within the stream, under HTTP 200 (apiserver, storage/cacher: newErrWatcher). */
  expire(compacted: number): void {
    const error = expired(`too old resource version: ${this.#query.resourceVersion ?? '0'} (${compacted})`)
    this.#send('ERROR', error.body())
    this.end()
  }

  end(): void {
    this.#response.end()
  }

  /** Ended, it is not closed yet: what happens in between goes to nobody. */
  #send(type: string, object: unknown): void {
    if (!this.#response.writableEnded) this.#response.write(`${JSON.stringify({ type, object })}\n`)
  }
}

/** A deletion shows the object as it was, under the revision of what happened. */
function lastSeen(before: Obj, object: Obj): Obj {
  const { resourceVersion = '' } = object.metadata
  return { ...before, metadata: { ...before.metadata, resourceVersion } }
}
