import { type Api } from '../api.ts'
import { type Resource } from '../resources.ts'
import { type Change } from '../store.ts'
import { at, type Obj } from '../types.ts'
import { type Controller } from './manager.ts'
import { writeStatus } from './owned.ts'

interface Names {
  plural: string
  singular?: string
  kind: string
  shortNames?: string[]
  categories?: string[]
}

interface Version {
  name: string
  served: boolean
  storage: boolean
  subresources?: { status?: object; scale?: object }
}

/** Serves what CustomResourceDefinitions define (apiextensions-apiserver). */
export class CustomResources implements Controller {
  readonly name = 'customresourcedefinition'
  readonly #api: Api

  constructor(api: Api) {
    this.#api = api
  }

  keysOf(change: Change): string[] {
    if (change.key !== 'apiextensions.k8s.io/customresourcedefinitions') return []
    if (change.type === 'DELETED') this.#api.resources.remove(resourceOf(change.object))
    return [`/${change.object.metadata.name}`]
  }

  sync(_: string, name: string): void {
    const kind = this.#api.resources.key('apiextensions.k8s.io/customresourcedefinitions')
    const definition = this.#api.store.get(kind, undefined, name)
    if (definition === undefined || at(definition.status, 'conditions') !== undefined) return
    this.#api.resources.add(resourceOf(definition))
    const now = this.#api.clock.stamp()
    const set = (type: string, reason: string): object => ({
      type,
      status: 'True',
      lastTransitionTime: now,
      reason,
      message: '',
    })
    const conditions = [set('NamesAccepted', 'NoConflicts'), set('Established', 'InitialNamesAccepted')]
    writeStatus(this.#api, kind, { ...definition, status: { conditions } })
  }
}

function resourceOf(definition: Obj): Resource {
  const names = at(definition.spec, 'names') as Names
  const versions = at(definition.spec, 'versions') as Version[]
  const version = versions.find(one => one.storage)
  const subresources = Object.keys(version?.subresources ?? {})
  return {
    group: at(definition.spec, 'group') as string,
    version: version?.name ?? 'v1',
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    kind: names.kind,
    namespaced: at(definition.spec, 'scope') === 'Namespaced',
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    subresources,
    custom: true,
    generation: 'all-but-status',
  }
}
