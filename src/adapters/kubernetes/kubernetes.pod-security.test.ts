import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  applied,
  captured,
  codes,
  IMAGES,
  type Kube,
  proposed,
  put,
  rolledOut,
  running,
  type Space,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'

/** A namespace that came to enforce a Pod Security Standard with, or since, the bad release. */
describe.skipIf(noKubectl() !== null)(
  `C5: pods that the namespace does not let be made any more ${noKubectl() ?? ''}`,
  () => {
    let kube: Kube
    let space: Space
    beforeAll(async () => {
      kube = await startKube()
    })
    afterAll(() => kube[Symbol.asyncDispose]())
    beforeEach(async ctx => {
      if (kube.minor < 26) ctx.skip('the cluster does not say what Pod Security Standards would refuse')
      space = await kube.namespace()
    })

    const label = (...labels: string[]) =>
      space.kubectl(
        'label',
        'namespace',
        space.name,
        '--overwrite',
        ...labels.map(one => `pod-security.kubernetes.io/${one}`),
      )
    /** All that the standard "restricted" asks of a container. */
    const hardened = {
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        runAsNonRoot: true,
        runAsUser: 65_535,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    }

    describe.each(['Deployment', 'StatefulSet', 'DaemonSet'])('of a %s', kind => {
      const id = `${kind.toLowerCase()}/shop`

      async function left() {
        const target = await space.open({ objects: [id], limits: { settle: '100ms' } })
        await put(space, workload(kind, 'shop', { image: IMAGES.good }))
        await rolledOut(space, id)
        const pin = await captured(target)
        await put(space, workload(kind, 'shop', { image: IMAGES.bad, container: hardened }))
        await rolledOut(space, id)
        return { target, pin }
      }

      it.each(['adopt', 'template'])('are named before anything is begun (%s)', async rung => {
        const { target, pin } = await left()
        await label('enforce=restricted')
        const proposal = await proposed(target, pin, rung)
        expect(codes(proposal)).toEqual(['PODS_REFUSED'])
        expect(proposal).toMatchObject({
          steps: [],
          findings: [
            {
              what: expect.stringContaining(
                `no pod of ${id} as it was at v1: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "app" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities`,
              ) as string,
              remedy: expect.stringContaining(
                `kubectl label namespace ${space.name} pod-security.kubernetes.io/enforce-`,
              ) as string,
            },
          ],
        })
        expect(await running(space)).toEqual([IMAGES.bad, IMAGES.bad])
        // Only the images go back: the pods are as hardened as they are now.
        expect(codes(await proposed(target, pin, 'image'))).toEqual(['template_differs'])
      })

      it('are let be where that is only warned of', async () => {
        const { target, pin } = await left()
        await label('enforce=baseline', 'warn=restricted')
        const proposal = await proposed(target, pin)
        expect(codes(proposal)).toEqual([])
        await applied(target, proposal)
        expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
      })
    })
  },
)
