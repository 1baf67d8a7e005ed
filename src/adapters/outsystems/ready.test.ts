import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keyOf } from '../../../test/support/lifetime/model.ts'
import { Shop } from '../../../test/support/lifetime/shop.ts'
import { daysLeft } from './ready.ts'

const signal = new AbortController().signal

let shop: Shop
beforeEach(async () => {
  shop = await Shop.open()
})
afterEach(() => shop[Symbol.asyncDispose]())

describe('doctor, asked of an OutSystems environment', () => {
  it('says what is there, and what going back lacks', async () => {
    await using target = await shop.target()
    expect(await target.ready?.(signal)).toEqual({
      well: [
        'LifeTime shows 3 applications in Production, and its deployments',
        'earlier versions are deployed from Quality',
      ],
      findings: [],
    })
    const running = shop.lifetime.environment('Development').running.get(keyOf('application Shop'))
    Object.assign(running ?? {}, { modified: true })
    const more = { environment: 'Development', package: false, applications: ['Shop', 'Shup'] }
    await using other = await shop.target(more)
    const { findings } = (await other.ready?.(signal)) ?? { findings: [] }
    expect(findings.map(f => f.code)).toEqual(['no_such_application', 'no_source', 'not_tagged', 'no_package'])
  })
})

it('knows until when a token holds, where it says so', () => {
  const token = (body: object) => `x.${Buffer.from(JSON.stringify(body)).toString('base64url')}.y`
  const now = Date.parse('2026-01-01T00:00:00Z')
  expect(daysLeft(token({ exp: now / 1000 + 3.5 * 86_400 }), now)).toBe(3)
  expect(daysLeft(token({ exp: now / 1000 - 9 }), now)).toBe(0)
  expect([token({}), 'no-jwt', 'a.b.c'].map(t => daysLeft(t, now))).toEqual([null, null, null])
})
