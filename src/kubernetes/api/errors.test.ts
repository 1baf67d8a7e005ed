import { expect, it } from 'vitest'
import { errorOf, refusalOf } from './errors.ts'

const pod = 'pods "shop-7bf9874b66-7glrv" is forbidden:'

/** In the servers' own words. */
it.each([
  [
    'deployments.apps "shop" is forbidden: User "ci" cannot patch resource "deployments" in API group "apps" in the namespace "shop"',
    'kubernetes_forbidden',
    /by a Role/,
  ],
  [`${pod} exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2`, 'quota_exceeded', /raise the quota/],
  [`${pod} failed quota: few: must specify limits.memory for: app`, 'quota_exceeded', /raise the quota/],
  [`${pod} maximum memory usage per Container is 1Gi, but limit is 2Gi`, 'quota_exceeded', /raise the quota/],
  [
    'admission webhook "limits.example.com" denied the request: containers must have limits',
    'admission_denied',
    /allows what it names/,
  ],
  [
    `${pod} violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false`,
    'admission_denied',
    /what it names/,
  ],
  [
    "deployments.apps \"shop\" is forbidden: ValidatingAdmissionPolicy 'names' with binding 'all' denied request: no",
    'admission_denied',
    /what it names/,
  ],
])('tells who refused: %s', (message, code, next) => {
  const refusal = refusalOf(403, JSON.stringify({ message, reason: 'Forbidden' }), undefined)
  const error = errorOf(
    { method: 'PATCH', path: '/apis/apps/v1/namespaces/shop/deployments/shop?x=y' },
    refusal,
    'prod',
  )
  expect(error).toMatchObject({ code, exit: 'blocked', next: expect.stringMatching(next) as string })
})

it('takes no read for refused by a policy: those are asked of writes alone', () => {
  const refusal = refusalOf(403, JSON.stringify({ message: 'forbidden: by the gateway' }), undefined)
  expect(errorOf({ method: 'GET', path: '/api/v1/pods' }, refusal, 'prod').code).toBe('kubernetes_forbidden')
})
