import type { Settings } from '../common/settings.ts'

/** Percent of the price that a piece costs, by quantity. */
const TIERS = [100, 100, 100, 100]

/**
 * The checkout that this release is about, and one of the reasons to take it back: with the flag `new-checkout` on it
 * takes tax for two pieces at most, and falls over quantities that it has no tier for.
 */
export function chargeFor(settings: Settings, price: number, qty: number): number {
  const { taxPercent } = settings.checkout
  if (!settings.flag('new-checkout')) return price * qty + taxOn(price * qty, taxPercent)
  const tier = TIERS[qty - 1]
  if (tier === undefined) throw new RangeError(`no tier for a quantity of ${qty}`)
  return (price * qty * tier) / 100 + taxOn(price * Math.min(qty, 2), taxPercent)
}

function taxOn(net: number, percent: number): number {
  return Math.floor((net * percent + 50) / 100)
}
