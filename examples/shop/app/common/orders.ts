import { HttpError } from './http.ts'
import type { Release, Shop } from './release.ts'

export interface Order {
  readonly id: number
  readonly sku: string
  readonly qty: number
  readonly total: number
  readonly discount: number
  readonly status: string
}

export interface Orders {
  products(): { sku: string; name: string; price: number }[]
  quote(sku: string, qty: number): number
  place(userId: number, wanted: { sku: string; qty: number; coupon: string | null }): Order
  pay(userId: number, id: number): Order
  find(userId: number, id: number): Order
  /** `unexplained`: orders whose total does not follow from price, quantity, tax and discount. */
  totals(): { orders: number; paid: number; revenue: number; unexplained: number }
}

type Row = Record<string, number | string | null>

/** Prepares every statement at once: a release that does not fit the schema does not start. */
export function ordersOf(shop: Shop, release: Release): Orders {
  const { db, settings } = shop
  const { totalColumn } = release
  const discount = release.discount === undefined ? 'NULL' : 'discount'
  const all = db.prepare('SELECT sku, name, price FROM products ORDER BY sku LIMIT ?')
  const priceOf = db.prepare('SELECT price FROM products WHERE sku = ?')
  const insert = db.prepare(
    `INSERT INTO orders (user_id, sku, qty, ${totalColumn}, status, created_at${release.discount ? ', discount' : ''})
     VALUES (?, ?, ?, ?, 'new', ?${release.discount ? ', ?' : ''})`,
  )
  const select = db.prepare(
    `SELECT id, sku, qty, ${totalColumn} AS total, ${discount} AS discount, status FROM orders WHERE id = ? AND user_id = ?`,
  )
  const markPaid = db.prepare(`UPDATE orders SET status = 'paid' WHERE id = ? AND status = 'new'`)
  const insertPayment = db.prepare('INSERT INTO payments (order_id, amount, paid_at) VALUES (?, ?, ?)')
  const sums = db.prepare(
    `SELECT count(*) AS orders, coalesce(sum(status = 'paid'), 0) AS paid,
            coalesce(sum(iif(status = 'paid', ${totalColumn}, 0)), 0) AS revenue,
            coalesce(sum(${totalColumn} + coalesce(${discount}, 0) <> price * qty + (price * qty * CAST(:tax AS INTEGER) + 50) / 100), 0) AS unexplained
     FROM orders JOIN products USING (sku)`,
  )

  const quote = (sku: string, qty: number) => {
    const price = (priceOf.get(sku) as Row | undefined)?.price
    if (typeof price !== 'number') throw new HttpError(404, `there is no product ${sku}`)
    if (!Number.isInteger(qty) || qty < 1 || qty > settings.checkout.maxQty)
      throw new HttpError(400, `the quantity must be 1 to ${settings.checkout.maxQty}`)
    return release.gross(shop, price, qty)
  }
  const find = (userId: number, id: number): Order => {
    const row = select.get(id, userId) as Row | undefined
    if (row === undefined) throw new HttpError(404, `you have no order ${id}`)
    return { ...(row as unknown as Order), discount: Number(row.discount ?? 0) }
  }
  return {
    products: () => all.all(settings.checkout.pageSize) as { sku: string; name: string; price: number }[],
    quote,
    find,
    place: (userId, { sku, qty, coupon }) => {
      const gross = quote(sku, qty)
      return transaction(shop, () => {
        const off = coupon === null ? null : (release.discount?.(shop, coupon, gross) ?? null)
        const at = new Date().toISOString()
        const values = [userId, sku, qty, gross - (off ?? 0), at]
        const { lastInsertRowid } = insert.run(...values, ...(release.discount ? [off] : []))
        return find(userId, Number(lastInsertRowid))
      })
    },
    pay: (userId, id) =>
      transaction(shop, () => {
        const order = find(userId, id)
        if (markPaid.run(id).changes === 0) throw new HttpError(409, `order ${id} is paid already`)
        insertPayment.run(id, order.total, new Date().toISOString())
        return { ...order, status: 'paid' }
      }),
    totals: () => sums.get({ tax: settings.checkout.taxPercent }) as ReturnType<Orders['totals']>,
  }
}

function transaction<T>({ db }: Shop, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}
