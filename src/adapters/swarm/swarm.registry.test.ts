import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noRegistry, type Registry, registry } from '../../../test/support/registry.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { NETWORK, type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import { captured, codes, open, proposed, run } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages() ?? noRegistry()
const signal = new AbortController().signal

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(`C6: images from a registry${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: SwarmEngine
  let hub: Registry
  beforeAll(async () => {
    engine = await swarmEngine()
    hub = await registry(engine)
  })
  afterAll(async () => {
    await hub?.dispose()
    await engine?.dispose()
  })

  /** As a deployment does that lets Swarm resolve tags: the digest stands in the service. */
  const create = (name: string, image: string) =>
    engine.docker('service', 'create', '--quiet', '--network', NETWORK, '--stop-signal', 'KILL', '--name', name, image)

  it.concurrent('goes back by digest, to an image that has to be pulled again, though its tag was moved', async ({
    expect,
  }) => {
    const good = await hub.push('shop:v1', 'shop:live')
    await create('web', `${hub.name}/shop:live`)
    const target = await open(engine, { services: ['web'] })
    const pin = await captured(target)
    const digest = good.slice(good.indexOf('@') + 1)
    expect(pin.services[0]?.image).toMatchObject({ ref: `${hub.name}/shop:live@${digest}`, digest })
    await hub.push('shop:v2', 'shop:live')
    await engine.update('web', '--image', `${hub.name}/shop:live`)
    // By tag it runs v1 still, for it was not resolved; by digest it gets the new one.
    await engine.docker('service', 'update', '--quiet', '--image', `${hub.name}/shop:live`, 'web')
    expect(await engine.versions('web')).toBe('v2')
    const ids = (await engine.docker('images', '-q', '--filter', `reference=shop:v1`)).split('\n')
    await engine.docker('container', 'prune', '-f')
    await engine.docker('rmi', '-f', ...ids)
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual([])
    expect(await run(target, proposal)).toEqual(['done'])
    expect(await engine.versions('web')).toBe('v1')
    expect((await target.observe(signal)).state).toMatchObject({ services: { web: { image: digest } } })
  })

  it.concurrent('blocks where the registry has lost the image too, and warns where it does not answer', async ({
    expect,
  }) => {
    await hub.push('shop:v3', 'lost:v3')
    await create('lost', `${hub.name}/lost:v3`)
    const target = await open(engine, { services: ['lost'] })
    const pin = await captured(target)
    await engine.docker('service', 'update', '--quiet', '--no-resolve-image', '--image', 'shop:v2', 'lost')
    await engine.docker('container', 'prune', '-f')
    await engine.docker('rmi', '-f', `${hub.name}/lost:v3`, 'shop:v3')
    await hub.forget('lost')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual(['blocker image_gone'])
    const elsewhere = pin.services.map(s => ({
      ...s,
      image: { ...s.image, ref: s.image.ref.replace(':5000', ':5001') },
    }))
    expect(codes(await proposed(target, { ...pin, services: elsewhere }))).toEqual(['warning image_unproven'])
  })
})
