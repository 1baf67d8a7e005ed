import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, MERGE_PATCH } from '../support/kubernetes/client.ts'
import { type Rollout } from '../support/kubernetes/controllers/rollout-types.ts'
import { IMAGES, NEVER_READY, type Options, rollout } from '../support/kubernetes/manifests.ts'
import { makePlace, type Place } from '../support/kubernetes/place.ts'
import { at, type Fields, type Pod, type ReplicaSet } from '../support/kubernetes/types.ts'

/** The stand-in's own controller of Rollouts: a real cluster rarely has one. */
describe('Argo Rollouts in the stand-in', () => {
  let place: Place
  let client: Client
  let rollouts: string
  beforeAll(async () => {
    place = await makePlace({ definitions: ['rollouts'] }, { standIn: true })
    client = place.client
    rollouts = `/apis/argoproj.io/v1alpha1/namespaces/${place.namespace}/rollouts`
    await client.until('/apis/argoproj.io/v1alpha1', () => true)
  })
  afterAll(() => place.dispose())

  const make = (name: string, o: Options & { strategy?: Fields } = {}): Promise<unknown> =>
    client.must('POST', rollouts, rollout(name, IMAGES.old, o))
  const patch = (name: string, body: Fields): Promise<unknown> =>
    client.must('PATCH', `${rollouts}/${name}`, body, MERGE_PATCH)
  const status = (name: string, body: Fields): Promise<unknown> =>
    client.must('PATCH', `${rollouts}/${name}/status`, { status: body }, MERGE_PATCH)
  const image = (to: string, more: Fields = {}): Fields => ({
    spec: { template: { spec: { containers: [{ name: 'app', image: to, ...more }] } } },
  })
  const reached = (name: string, phase: string, more: (one: Rollout) => boolean = () => true): Promise<Rollout> =>
    client.until(`${rollouts}/${name}`, one => {
      const { status: now, metadata } = one as Rollout
      return now?.phase === phase && now.observedGeneration === String(metadata.generation) && more(one as Rollout)
    }) as Promise<Rollout>
  const running = async (name: string): Promise<string[]> => {
    const { body } = await client.ask('GET', `/api/v1/namespaces/${place.namespace}/pods?labelSelector=app%3D${name}`)
    const alive = (body.items as Pod[]).filter(pod => pod.metadata.deletionTimestamp === undefined)
    return alive.map(pod => pod.spec.containers[0]?.image ?? '').sort()
  }

  // rollout/canary.go: a first version needs no steps; going back to the stable one skips them.
  it('pauses a canary at its step; an abort sends it back to the stable pods, but leaves the template', async () => {
    await make('canary')
    await reached('canary', 'Healthy')
    await patch('canary', image(IMAGES.new))
    const paused = await reached('canary', 'Paused')
    expect(await running('canary')).toEqual([IMAGES.new, IMAGES.old].sort())
    expect(paused.status?.pauseConditions?.[0]?.reason).toBe('CanaryPauseStep')
    await status('canary', { abort: true })
    const aborted = await reached('canary', 'Degraded')
    await expect.poll(() => running('canary'), { timeout: 30_000 }).toEqual([IMAGES.old, IMAGES.old])
    expect(aborted.status?.message).toContain('RolloutAborted')
    expect(aborted.spec.template.spec.containers[0]?.image).toBe(IMAGES.new)
    await patch('canary', image(IMAGES.old))
    const back = await reached('canary', 'Healthy')
    expect([back.status?.abort, back.status?.currentStepIndex, back.status?.stableRS]).toEqual([
      undefined,
      2,
      back.status?.currentPodHash,
    ])
  })

  it('goes through all steps on the way to any template that is not the stable one, unless it is promoted in full', async () => {
    await make('promoted')
    const first = await reached('promoted', 'Healthy')
    await patch('promoted', image(IMAGES.new))
    await reached('promoted', 'Paused')
    await status('promoted', { promoteFull: true })
    const second = await reached('promoted', 'Healthy')
    expect(await running('promoted')).toEqual([IMAGES.new, IMAGES.new])
    expect(second.status?.stableRS).not.toBe(first.status?.stableRS)
    await patch('promoted', image(IMAGES.old))
    await reached('promoted', 'Paused')
    await status('promoted', { promoteFull: true })
    const third = await reached('promoted', 'Healthy')
    expect([third.status?.stableRS, third.status?.promoteFull]).toEqual([first.status?.stableRS, undefined])
    const { body } = await client.ask(
      'GET',
      `/apis/apps/v1/namespaces/${place.namespace}/replicasets?labelSelector=app%3Dpromoted`,
    )
    const numbers = (body.items as ReplicaSet[]).map(set => set.metadata.annotations?.['rollout.argoproj.io/revision'])
    expect(new Set(numbers)).toEqual(new Set(['2', '3']))
  })

  it('keeps the stable pods while the canary does not get ready, and calls that degraded in the end', async () => {
    await make('stuck', { strategy: { canary: { steps: [] } }, spec: { progressDeadlineSeconds: 2 } })
    await reached('stuck', 'Healthy')
    await patch('stuck', image(IMAGES.new, NEVER_READY))
    const stuck = await reached('stuck', 'Degraded')
    expect(stuck.status?.message).toContain('ProgressDeadlineExceeded')
    expect((await running('stuck')).filter(one => one === IMAGES.old)).toHaveLength(2)
  })

  // rollout/service.go: the controller keeps the hash of the active ReplicaSet in the selector.
  it('switches the active service of a blue-green rollout only once all new pods are there', async () => {
    const services = `/api/v1/namespaces/${place.namespace}/services`
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'live' },
      spec: { selector: { app: 'blue' }, ports: [{ port: 80 }] },
    }
    await client.must('POST', services, service)
    await make('blue', { strategy: { blueGreen: { activeService: 'live', autoPromotionEnabled: false } } })
    const first = await reached('blue', 'Healthy')
    const hash = async (): Promise<unknown> =>
      at((await client.must('GET', `${services}/live`)).spec, 'selector', 'rollouts-pod-template-hash')
    expect(await hash()).toBe(first.status?.currentPodHash)
    await patch('blue', image(IMAGES.new))
    await reached('blue', 'Paused')
    expect(await hash()).toBe(first.status?.currentPodHash)
    await status('blue', { promoteFull: true })
    const second = await reached('blue', 'Healthy')
    expect(await hash()).toBe(second.status?.currentPodHash)
    expect(second.status?.currentPodHash).not.toBe(first.status?.currentPodHash)
    // The old pods stand for thirty seconds more.
    expect(await running('blue')).toHaveLength(4)
    place.standIn?.clock.advance(31_000)
    await expect.poll(() => running('blue'), { timeout: 30_000 }).toEqual([IMAGES.new, IMAGES.new])
  })
})
