import { afterAll, beforeAll, describe } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import { kubernetes } from './index.ts'
import {
  configMap,
  IMAGES,
  type Kube,
  put,
  rolledOut,
  running,
  secret,
  service,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'

const A = { greeting: 'hello' }
const TEMPLATE = {
  container: {
    envFrom: [{ configMapRef: { name: 'shop' } }, { secretRef: { name: 'shop' } }],
    env: [{ name: 'PLAIN', value: 'plain-secret' }],
  },
}

describe.skipIf(noKubectl() !== null)(`C5: with kubectl beside ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())

  conformance('kubernetes', {
    adapter: kubernetes,
    rungs: ['adopt', 'template', 'image', 'manifest'],
    make: async () => {
      const [space, other] = [await kube.namespace(), await kube.namespace()]
      const objects = [
        configMap('shop', A),
        secret('shop', { password: 's3cret-of-shop' }),
        service('shop', { app: 'shop' }),
        workload('Deployment', 'shop', { image: IMAGES.good, ...TEMPLATE }),
      ]
      await Promise.all([space, other].map(one => put(one, ...objects)))
      await rolledOut(space, 'deployment/shop')
      const settings = { objects: ['deployment/shop'], limits: { settle: '100ms' } }
      return {
        open: () => space.open(settings),
        openOther: () => other.open(settings),
        upgrade: async () => {
          await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
          await space.kubectl.apply(configMap('shop', { greeting: 'bye', extra: 'x' }))
          await rolledOut(space, 'deployment/shop')
        },
        serves: async () => {
          const images = await running(space)
          if (images.length !== 2) return 'other'
          return images.every(i => i === IMAGES.good) ? 'A' : images.every(i => i === IMAGES.bad) ? 'B' : 'other'
        },
        secrets: ['s3cret-of-shop', Buffer.from('s3cret-of-shop').toString('base64'), 'plain-secret'],
        dispose: async () => {},
      }
    },
  })
})
