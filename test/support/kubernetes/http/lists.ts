import { type Store } from '../store.ts'
import { apiVersionOf, type Resource } from '../resources.ts'
import { expired } from '../status.ts'
import { type Fields, type Obj, omit } from '../types.ts'

interface Page {
  readonly revision: number
  readonly left: readonly Obj[]
}

/** Lists in pages: the pages of one list show one moment, until that moment is compacted away. */
export class Lists {
  readonly #store: Store
  readonly #pages = new Map<string, Page>()
  #next = 0

  constructor(store: Store) {
    this.#store = store
  }

  first(resource: Resource, objects: readonly Obj[], limit: number): Fields {
    return this.#answer(resource, objects, limit, this.#store.revision)
  }

  more(resource: Resource, token: string, limit: number): Fields {
    const page = this.#pages.get(token)
    if (page === undefined || page.revision < this.#store.compacted) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
      )
    }
    return this.#answer(resource, page.left, limit, page.revision)
  }

  #answer(resource: Resource, objects: readonly Obj[], limit: number, revision: number): Fields {
    const shown = limit > 0 ? objects.slice(0, limit) : objects
    const left = objects.slice(shown.length)
    const more: Fields = {}
    if (left.length > 0) {
      this.#next += 1
      const token = Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, n: this.#next })).toString(
        'base64url',
      )
      this.#pages.set(token, { revision, left })
      Object.assign(more, { continue: token, remainingItemCount: left.length })
    }
    // Items of a list carry no kind of their own for built-in types, as Go's typed lists leave it out.
    const items = resource.custom ? shown : shown.map(object => omit(object, 'apiVersion', 'kind'))
    return {
      kind: `${resource.kind}List`,
      apiVersion: apiVersionOf(resource),
      metadata: { resourceVersion: String(revision), ...more },
      items,
    }
  }
}
