import { apiVersionOf, type Resource, type Resources } from '../resources.ts'
import { type Fields } from '../types.ts'

/** As much of OpenAPI as kubectl looks at: whether a kind can be validated and dry-run by the server. */
export function openapi(path: readonly string[], resources: Resources): Fields | undefined {
  if (path[0] !== 'openapi') return undefined
  if (path[1] === 'v2')
    return { swagger: '2.0', info: { title: 'Kubernetes', version: 'v1.33.4' }, paths: {}, definitions: {} }
  const versions = [...new Set(resources.all().map(groupPath))]
  if (path.length === 2) {
    return { paths: Object.fromEntries(versions.map(one => [one, { serverRelativeURL: `/openapi/v3/${one}` }])) }
  }
  const asked = path.slice(2).join('/')
  if (!versions.includes(asked)) return undefined
  const some = resources.all().filter(resource => groupPath(resource) === asked)
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.33.4' },
    paths: Object.fromEntries(some.map(resource => [urlOf(resource), { patch: patchOf(resource) }])),
    components: { schemas: Object.fromEntries(some.map(schemaOf)) },
  }
}

const groupPath = (resource: Resource): string =>
  resource.group === '' ? `api/${resource.version}` : `apis/${apiVersionOf(resource)}`

function urlOf(resource: Resource): string {
  const scope = resource.namespaced ? '/namespaces/{namespace}' : ''
  return `/${groupPath(resource)}${scope}/${resource.plural}/{name}`
}

function patchOf(resource: Resource): Fields {
  const { group, version, kind } = resource
  return {
    parameters: ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map(name => ({
      name,
      in: 'query',
      schema: { type: 'string', uniqueItems: true },
    })),
    'x-kubernetes-action': 'patch',
    'x-kubernetes-group-version-kind': { group, version, kind },
  }
}

function schemaOf(resource: Resource): [string, Fields] {
  const { group, version, kind } = resource
  const name = `io.k8s.api.${group === '' ? 'core' : group}.${version}.${kind}`
  return [name, { type: 'object', 'x-kubernetes-group-version-kind': [{ group, version, kind }] }]
}
