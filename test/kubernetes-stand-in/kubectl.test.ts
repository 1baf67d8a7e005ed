import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../support/kubernetes/index.ts'
import { type Kubectl, kubectl, noKubectl } from '../support/kubernetes/kubectl.ts'
import { deployment } from '../support/kubernetes/manifests.ts'

describe.skipIf(noKubectl() !== null)(`the stand-in answers kubectl ${noKubectl() ?? ''}`, () => {
  let cluster: Cluster
  let run: Kubectl

  beforeAll(async () => {
    cluster = await startCluster({
      namespaces: ['shop'],
      images: { 'web:1': { listens: [80] }, 'web:2': { listens: [80] } },
    })
    run = kubectl(cluster.kubeconfig, 'shop')
  })
  afterAll(() => cluster.stop())

  it('rolls a deployment out, forward and back, and renumbers the revision that is used again', async () => {
    await run.apply(deployment('web', 'web:1', { replicas: 3 }))
    expect(await run('rollout', 'status', 'deployment/web', '--timeout=60s')).toContain('successfully rolled out')
    await run('set', 'image', 'deployment/web', 'app=web:2')
    await run('rollout', 'status', 'deployment/web', '--timeout=60s')
    await run('rollout', 'undo', 'deployment/web')
    await run('rollout', 'status', 'deployment/web', '--timeout=60s')
    const history = await run('rollout', 'history', 'deployment/web')
    expect(history.match(/^\d+/gm)).toEqual(['2', '3'])
    const images = await run('get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].spec.containers[*].image}')
    expect(images).toBe('web:1 web:1 web:1')
  })
})
