import { afterAll, beforeAll, describe } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import type { Target } from '../../core/contract.ts'
import { swarm } from './index.ts'
import type { SwarmPin } from './pin.ts'

const why = noDockerd() ?? noImages()

/** The suite for one rung, on an engine of its own: each waits for Swarm most of its time. */
export function swarmConformance(rung: string): void {
  describe.skipIf(why !== null)(`C6: swarm on a real engine${why === null ? '' : ` (skipped: ${why})`}`, () => {
    let engine: SwarmEngine
    beforeAll(async () => {
      engine = await swarmEngine()
    })
    afterAll(() => engine?.dispose())

    conformance(`swarm ${rung}`, {
      adapter: swarm,
      rungs: [rung],
      make: async () => {
        const name = 'shop'
        const { vault, backups } = stepAct()
        const ctx = { environment: 'test', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
        const open = (services: string[]): Promise<Target<SwarmPin>> =>
          swarm.open(
            swarm.config.parse({ engine: engine.host, services, limits: { update: '100s', settle: '300ms' } }),
            ctx,
          )
        await engine.create(name, 'shop:v1', '--replicas', '2', '--env', 'COLOUR=blue', '--env', 'API_TOKEN=geheim-123')
        return {
          open: () => open([name]),
          openOther: () => open([name, 'other']),
          upgrade: () => engine.update(name, '--image', 'shop:v2', '--env-add', 'COLOUR=red', '--env-add', 'NEW=1'),
          serves: async () => {
            const said = await engine.versions(name)
            return said === 'v1' ? 'A' : said === 'v2' ? 'B' : 'other'
          },
          secrets: ['geheim-123'],
          dispose: async () => void (await engine.docker('service', 'rm', name)),
        }
      },
    })
  })
}
