import type { DatabaseSync } from 'node:sqlite'
import type { Settings } from './settings.ts'

/** What one release of the shop does in its own way. Everything else is common to all of them. */
export interface Release {
  readonly version: string
  /** The column of `orders` that holds the total, in cents with tax. */
  readonly totalColumn: 'total' | 'total_cents'
  /** What an order costs in cents with tax, before any discount. */
  gross(shop: Shop, price: number, qty: number): number
  /** Cents off for this coupon, or null. Asked inside the order's transaction. Absent where the schema has no discounts. */
  discount?(shop: Shop, coupon: string, gross: number): number | null
}

export interface Shop {
  readonly db: DatabaseSync
  readonly settings: Settings
}
