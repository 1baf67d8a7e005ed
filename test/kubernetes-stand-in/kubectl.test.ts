import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noKubectl } from '../support/kubernetes/kubectl.ts'
import { daemonSet, deployment, IMAGES, NEVER_READY, statefulSet } from '../support/kubernetes/manifests.ts'
import { makePlace, type Place } from '../support/kubernetes/place.ts'

const WITHOUT = noKubectl()

describe.skipIf(WITHOUT !== null)(`a cluster, as kubectl sees it ${WITHOUT ?? ''}`, () => {
  let place: Place
  beforeAll(async () => void (place = await makePlace()))
  afterAll(() => place.dispose())

  const status = (what: string): Promise<string> => place.kubectl('rollout', 'status', what, '--timeout=90s')
  const revisions = async (what: string): Promise<string[]> => [
    ...((await place.kubectl('rollout', 'history', what)).match(/^\d+/gm) ?? []),
  ]
  const images = (app: string): Promise<string> =>
    place.kubectl('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[*].spec.containers[*].image}')

  // kubectl's DeploymentRollbacker; pkg/controller/deployment/util: SetNewReplicaSetAnnotations.
  it('takes a deployment back by undo, and renumbers the revision that is used again', async () => {
    const { kubectl } = place
    await kubectl.apply(deployment('web', IMAGES.old, { replicas: 2 }))
    expect(await status('deployment/web')).toContain('successfully rolled out')
    await kubectl('set', 'image', 'deployment/web', `app=${IMAGES.new}`)
    await status('deployment/web')
    expect(await revisions('deployment/web')).toEqual(['1', '2'])
    await kubectl('rollout', 'undo', 'deployment/web')
    await status('deployment/web')
    expect(await revisions('deployment/web')).toEqual(['2', '3'])
    const template = await kubectl(
      'get',
      'deployment',
      'web',
      '-o',
      'jsonpath={.spec.template.spec.containers[0].image}',
    )
    expect(template).toBe(IMAGES.old)
    const missing = await kubectl.fails('rollout', 'undo', 'deployment/web', '--to-revision=1')
    expect(missing.stderr).toContain('unable to find specified revision 1 in history')
  })

  // kubectl/pkg/polymorphichelpers/rollback.go
  it('refuses to undo a paused deployment', async () => {
    const { kubectl } = place
    await kubectl.apply(deployment('paused', IMAGES.old))
    await kubectl('set', 'image', 'deployment/paused', `app=${IMAGES.new}`)
    await status('deployment/paused')
    await kubectl('rollout', 'pause', 'deployment/paused')
    const { stderr } = await kubectl.fails('rollout', 'undo', 'deployment/paused')
    expect(stderr).toContain('you cannot rollback a paused deployment')
    await kubectl('rollout', 'resume', 'deployment/paused')
    expect(await kubectl('rollout', 'undo', 'deployment/paused')).toContain('rolled back')
  })

  // pkg/controller/deployment/util: DeploymentTimedOut
  it('tells of a rollout that is stuck beyond its deadline, and goes on from there', async () => {
    const { kubectl } = place
    await kubectl.apply(deployment('stuck', IMAGES.old, { spec: { progressDeadlineSeconds: 3 } }))
    await status('deployment/stuck')
    await kubectl('set', 'image', 'deployment/stuck', `app=${IMAGES.missing}`)
    const { stderr } = await kubectl.fails('rollout', 'status', 'deployment/stuck', '--timeout=90s')
    expect(stderr).toContain('deployment "stuck" exceeded its progress deadline')
    await kubectl('rollout', 'undo', 'deployment/stuck')
    // The condition stays until some pod gets further, and kubectl believes it.
    const told = () => status('deployment/stuck').catch(String)
    await expect.poll(told, { timeout: 90_000 }).toContain('successfully rolled out')
  })

  // Kubernetes documentation, StatefulSets: "Forced rollback".
  it('leaves a StatefulSet stuck on a bad revision until its pods are deleted', async () => {
    const { kubectl, client, namespace } = place
    await kubectl.apply(statefulSet('db', IMAGES.old, { replicas: 2 }))
    expect(await status('statefulset/db')).toContain('partitioned roll out complete')
    await kubectl(
      'patch',
      'statefulset',
      'db',
      '-p',
      JSON.stringify({
        spec: { template: { spec: { containers: [{ name: 'app', image: IMAGES.new, ...NEVER_READY }] } } },
      }),
    )
    const pod = `/api/v1/namespaces/${namespace}/pods/db-1`
    const bad = await client.until(pod, one => JSON.stringify(one.spec).includes(IMAGES.new))
    await kubectl('rollout', 'undo', 'statefulset/db')
    await kubectl.fails('rollout', 'status', 'statefulset/db', '--timeout=3s')
    expect((await client.must('GET', pod)).metadata.uid).toBe(bad.metadata.uid)
    await kubectl('delete', 'pod', 'db-1')
    await status('statefulset/db')
    expect(await images('db')).toBe(`${IMAGES.old} ${IMAGES.old}`)
    expect(await revisions('statefulset/db')).toEqual(['2', '3'])
  })

  it('rolls a DaemonSet out and back', async () => {
    const { kubectl } = place
    await kubectl.apply(daemonSet('agent', IMAGES.old))
    expect(await status('daemonset/agent')).toContain('successfully rolled out')
    await kubectl('set', 'image', 'daemonset/agent', `app=${IMAGES.new}`)
    await status('daemonset/agent')
    await kubectl('rollout', 'undo', 'daemonset/agent')
    await status('daemonset/agent')
    expect(new Set((await images('agent')).split(' '))).toEqual(new Set([IMAGES.old]))
    expect(await revisions('daemonset/agent')).toEqual(['2', '3'])
  })

  // apimachinery, managedfields/internal/conflict.go
  it('names the field and its owner where server-side apply conflicts, and gives it to whoever forces', async () => {
    const { kubectl } = place
    const made = deployment('owned', IMAGES.old)
    await kubectl.apply(made, '--server-side', '--field-manager=team')
    await kubectl('set', 'image', 'deployment/owned', `app=${IMAGES.new}`, '--field-manager=ci')
    await expect(kubectl.apply(made, '--server-side', '--field-manager=team')).rejects.toThrow(
      /Apply failed with 1 conflict: conflict with "ci" using apps\/v1.*\.spec\.template\.spec\.containers\[name="app"\]\.image/s,
    )
    await kubectl.apply(made, '--server-side', '--field-manager=team', '--force-conflicts')
    const image = 'jsonpath={.spec.template.spec.containers[0].image}'
    expect(await kubectl('get', 'deployment', 'owned', '-o', image)).toBe(IMAGES.old)
  })

  it('deletes in the foreground, waits, and answers a second time that it is not there', async () => {
    const { kubectl } = place
    await kubectl.apply(deployment('gone', IMAGES.old))
    await status('deployment/gone')
    await kubectl('delete', 'deployment', 'gone', '--cascade=foreground', '--timeout=60s')
    expect(await images('gone')).toBe('')
    expect((await kubectl.fails('get', 'deployment', 'gone')).stderr).toContain('deployments.apps "gone" not found')
  })

  it('shows events, logs of a shell command, and refuses an unknown container', async () => {
    const { kubectl, client, namespace } = place
    const container = { command: ['sh', '-c', 'echo "one $WHO"; echo two >&2; sleep 300'] }
    await kubectl.apply(deployment('talks', IMAGES.shell, { container, env: { WHO: 'me' } }))
    await status('deployment/talks')
    const logs = (...more: string[]): Promise<string> => kubectl('logs', 'deployment/talks', ...more)
    await expect.poll(() => logs(), { timeout: 30_000 }).toBe('one me\ntwo\n')
    expect(await logs('--tail=1')).toBe('two\n')
    expect((await kubectl.fails('logs', 'deployment/talks', '-c', 'other')).stderr).toContain('other')
    const events = await client.must(
      'GET',
      `/api/v1/namespaces/${namespace}/events?fieldSelector=involvedObject.name%3Dtalks`,
    )
    expect(JSON.stringify(events)).toContain('ScalingReplicaSet')
  })
})
