import type { Within } from '../common/release.ts'

/** The coupons' partner allows so many look-ups a second. */
const PAUSE_MS = 80

export async function couponsUsed({ db }: Within): Promise<number> {
  const [row] = await db.all('SELECT count(*) AS used FROM orders WHERE discount IS NOT NULL')
  return Number(row?.used)
}

/**
 * The other reason to take this release back: every price reads every order again, and then keeps the partner's pace by
 * stopping the whole thread, so that everybody else's request waits too.
 */
export async function lookUpCoupons({ db }: Within): Promise<number> {
  let given = 0
  for (const row of await db.all('SELECT discount FROM orders')) given += Number(row.discount ?? 0)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
  return given
}
