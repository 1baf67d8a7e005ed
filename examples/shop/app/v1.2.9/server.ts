import type { Release } from '../common/release.ts'
import { serve } from '../common/serve.ts'

const release: Release = {
  version: 'v1.2.9',
  totalColumn: 'total',
  gross: async ({ settings }, price, qty) => {
    const net = price * qty
    return net + Math.floor((net * settings.checkout.taxPercent + 50) / 100)
  },
}

await serve(release)
