import { expect } from 'vitest'
import { type Case, conformance } from '../../../test/conformance/suite.ts'
import { LifeTime } from '../../../test/support/lifetime/server.ts'
import { Shop } from '../../../test/support/lifetime/shop.ts'
import { outsystems } from './index.ts'
import type { Pin } from './pin.ts'

/** Columns that the bad release added are there for ever: going back takes none away. */
async function production(more: object, unlike: (shop: Shop) => void): Promise<Case<Pin>> {
  const shop = await Shop.open()
  unlike(shop)
  return {
    open: () => shop.target(more),
    openOther: () => shop.target({ ...more, environment: 'Quality' }),
    upgrade: async () => shop.upgrade(),
    serves: async () => shop.serves,
    secrets: [LifeTime.token],
    async dispose() {
      expect([...shop.lifetime.environment('Production').columns]).toContain('Shop.New')
      expect(shop.lifetime.deployments.filter(d => d.status === 'saved')).toEqual([])
      await shop[Symbol.asyncDispose]()
    },
  }
}

conformance('outsystems, one by one and all at once', {
  adapter: outsystems,
  rungs: ['applications', 'together'],
  make: () =>
    production({}, shop => {
      shop.lifetime.manner.created = 201
      shop.lifetime.manner.zones = false
    }),
})

conformance('outsystems, the whole solution', {
  adapter: outsystems,
  rungs: ['solution'],
  make: () =>
    production({ checkAhead: false }, shop => {
      Object.assign(shop.lifetime.manner, { link: 'Url', listed: true, binaryKey: 'json', padding: 300_000 })
    }),
})

conformance('outsystems with maintenance mode held around it', {
  adapter: outsystems,
  rungs: ['together'],
  make: () => production({ maintenance: { reason: 'a rollback' } }, () => {}),
})
