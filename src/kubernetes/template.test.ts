import { describe, expect, it } from 'vitest'
import { memoryVault } from '../../test/conformance/stores.ts'
import type { Template } from './api/objects.ts'
import { shortRef } from './observe.ts'
import { quantity } from './quota.ts'
import { differingPaths, digestOf, macOf, pinnedRef, referencesOf, runningIn } from './template.ts'

const D = `sha256:${'a'.repeat(64)}`
const template = (more: object = {}, metadata: object = {}): Template =>
  ({
    metadata: { labels: { app: 'shop' }, ...metadata },
    spec: { containers: [{ name: 'app', image: 'shop:1', ...more }] },
  }) as Template

describe('templates', () => {
  const vault = memoryVault()

  it('are the same whatever their images and the marks of controllers and restarts are', () => {
    const one = macOf(template(), vault)
    const labels = { app: 'shop', 'pod-template-hash': '5b4d8f' }
    const annotations = { 'kubectl.kubernetes.io/restartedAt': 'now', 'backout.dev/restarted': 'r1' }
    expect(macOf(template({ image: 'shop:2' }, { labels, annotations, creationTimestamp: null }), vault)).toBe(one)
    expect(macOf(template({ env: [{ name: 'A', value: '1' }] }), vault)).not.toBe(one)
    expect(macOf(template({}, { annotations: { team: 'shop' } }), vault)).not.toBe(one)
  })

  it('tell where they differ by name, and never what stands there', () => {
    const a = template({ env: [{ name: 'KEY', value: 's3cret' }] })
    const b = template({ env: [{ name: 'KEY', value: 'other' }], args: ['x'] })
    const paths = differingPaths(a, b)
    expect(paths).toEqual(['spec.containers.app.env.KEY.value', 'spec.containers.app.args'])
    expect(differingPaths(a, a)).toEqual([])
  })

  it('refer to ConfigMaps and Secrets in every way there is', () => {
    const spec = {
      containers: [
        {
          name: 'app',
          envFrom: [{ configMapRef: { name: 'a' } }, { secretRef: { name: 's1', optional: true } }],
          env: [
            { name: 'X', valueFrom: { secretKeyRef: { name: 's1', key: 'k' } } },
            { name: 'Y', valueFrom: { configMapKeyRef: { name: 'b', key: 'k', optional: true } } },
          ],
        },
      ],
      initContainers: [{ name: 'init', envFrom: [{ configMapRef: { name: 'i' } }] }],
      volumes: [
        { name: 'v1', configMap: { name: 'c' } },
        { name: 'v2', secret: { secretName: 's2' } },
        { name: 'v3', projected: { sources: [{ configMap: { name: 'd' } }, { secret: { name: 's3' } }] } },
      ],
    }
    expect(referencesOf({ spec } as unknown as Template).map(r => `${r.id}${r.optional ? '?' : ''}`)).toEqual([
      'configmap/a',
      'configmap/b?',
      'configmap/c',
      'configmap/d',
      'configmap/i',
      'secret/s1',
      'secret/s2',
      'secret/s3',
    ])
  })
})

describe('images', () => {
  it.each([
    [`docker.io/library/shop@${D}`, 'shop:1', `shop:1@${D}`],
    [`index.docker.io/team/shop@${D}`, 'index.docker.io/team/shop', `index.docker.io/team/shop@${D}`],
    [`localhost/shop@${D}`, 'localhost/shop:1', `localhost/shop:1@${D}`],
    // Loaded by hand: no registry could be asked for it.
    [D, 'shop:1', 'shop:1'],
    [`docker.io/library/import-2026-01-02@${D}`, 'registry.example:5000/shop:1', 'registry.example:5000/shop:1'],
    [`shop@${D}`, `shop@sha256:${'b'.repeat(64)}`, `shop@sha256:${'b'.repeat(64)}`],
  ])('that ran as %s are named by their digest where a registry has it', (id, ref, pinned) => {
    expect(digestOf(id)).toBe(D)
    expect(pinnedRef(ref, id)).toBe(pinned)
  })

  it('are read from what nodes say, in whatever form', () => {
    const pod = (imageID: string) => ({ status: { containerStatuses: [{ name: 'app', imageID }] } })
    const pods = [pod(`docker-pullable://shop@${D}`), pod(`shop@${D}`), pod('')] as never
    expect(runningIn(pods)).toEqual({ app: [`shop@${D}`] })
    expect(digestOf('shop:1')).toBeNull()
    expect([shortRef('registry.example:5000/team/shop:1'), shortRef(`a/shop:1@${D}`)]).toEqual(['shop:1', 'shop:1'])
  })
})

it('reads quantities as Kubernetes does', () => {
  expect(['500m', '2', '1Gi', '1.5k', '2e3', '1n'].map(quantity)).toEqual([0.5, 2, 2 ** 30, 1500, 2000, 1e-9])
  expect(quantity('1X')).toBeNaN()
})
