import { type Access, type Trouble } from '../trouble.ts'
import { at, type Fields, isFields, textOf } from '../types.ts'
import { type Asked, decoded } from './request.ts'

/** Answers the reviews of authorization.k8s.io and authentication.k8s.io; undefined for any other path. */
export function review(request: Asked, trouble: Trouble, user: string): Fields | undefined {
  const { path, authorization } = request
  const body = decoded(request)
  const asked = isFields(body) ? body : {}
  switch (path.slice(1).join('/')) {
    case 'authorization.k8s.io/v1/selfsubjectaccessreviews':
      return accessReview(asked, trouble, authorization)
    case 'authorization.k8s.io/v1/selfsubjectrulesreviews':
      return {
        ...asked,
        status: {
          resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
          nonResourceRules: [],
          incomplete: false,
        },
      }
    case 'authentication.k8s.io/v1/selfsubjectreviews':
      return { ...asked, status: { userInfo: { username: user, groups: ['system:authenticated'] } } }
    default:
      return undefined
  }
}

function accessReview(asked: Fields, trouble: Trouble, authorization: string): Fields {
  const a = at(asked, 'spec', 'resourceAttributes')
  const text = (name: string): string => textOf(at(a, name))
  const optional = (name: 'subresource' | 'namespace' | 'name'): Partial<Access> =>
    text(name) === '' ? {} : { [name]: text(name) }
  const access: Access = {
    verb: text('verb'),
    group: text('group'),
    resource: text('resource'),
    ...optional('subresource'),
    ...optional('namespace'),
    ...optional('name'),
  }
  const allowed = !isFields(a) || !trouble.denies(access, authorization)
  return {
    ...asked,
    status: allowed ? { allowed, reason: 'RBAC: allowed by the cluster role of the tests' } : { allowed },
  }
}
