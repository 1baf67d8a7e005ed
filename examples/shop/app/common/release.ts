import type { Connected, Database } from './database.ts'
import type { Settings } from './settings.ts'

/** What one release of the shop does in its own way. Everything else is common to all of them. */
export interface Release {
  readonly version: string
  /** The column of `orders` that holds the total, in cents with tax. */
  readonly totalColumn: 'total' | 'total_cents'
  /** What an order costs in cents with tax, before any discount. */
  readonly gross: (shop: Shop, price: number, qty: number) => Promise<number>
  /** Cents off for this coupon, or null. Asked inside the order's transaction. Absent where the schema has no discounts. */
  readonly discount?: (shop: Within, coupon: string, gross: number) => Promise<number | null>
}

export interface Shop {
  readonly db: Connected
  readonly settings: Settings
}

/** The shop in the middle of a transaction. */
export interface Within {
  readonly db: Database
  readonly settings: Settings
}
