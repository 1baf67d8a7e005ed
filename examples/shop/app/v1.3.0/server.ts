import type { Release } from '../common/release.ts'
import { serve } from '../common/serve.ts'
import { chargeFor } from './checkout.ts'
import { couponsUsed, lookUpCoupons } from './coupons.ts'

const release: Release = {
  version: 'v1.3.0',
  totalColumn: 'total_cents',
  gross: async (shop, price, qty) => {
    await lookUpCoupons(shop)
    return chargeFor(shop.settings, price, qty)
  },
  discount: async (shop, code, gross) => {
    const coupon = shop.settings.checkout.coupon
    if (coupon?.code !== code || (await couponsUsed(shop)) >= coupon.limit) return null
    return Math.floor((gross * coupon.percentOff) / 100)
  },
}

await serve(release)
