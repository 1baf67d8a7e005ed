import type { Shop } from '../common/release.ts'

/** The coupons' partner allows so many look-ups a second. */
const PAUSE_MS = 80

export function couponsUsed({ db }: Shop): number {
  return Number(db.prepare('SELECT count(*) AS used FROM orders WHERE discount IS NOT NULL').get()?.used)
}

/**
 * The other reason to take this release back: every price reads every order again, and then keeps the partner's pace by
 * stopping the whole thread, so that everybody else's request waits too.
 */
export function lookUpCoupons({ db }: Shop): number {
  let given = 0
  for (const row of db.prepare('SELECT discount FROM orders').all()) given += Number(row.discount ?? 0)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
  return given
}
