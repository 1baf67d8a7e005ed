import { type Database, insertWithin, type Row } from './database.ts'
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
  products(): Promise<Row[]>
  quote(sku: string, qty: number): Promise<number>
  place(userId: number, wanted: { sku: string; qty: number; coupon: string | null }): Promise<Order>
  pay(userId: number, id: number): Promise<Order>
  find(userId: number, id: number): Promise<Order>
  /** `unexplained`: orders whose total does not follow from price, quantity, tax and discount. */
  totals(): Promise<{ orders: number; paid: number; revenue: number; unexplained: number }>
}

/** Asks for everything that it will need at once: a release that does not fit the schema does not start. */
export async function ordersOf(shop: Shop, release: Release): Promise<Orders> {
  const { db, settings } = shop
  const { insert, select, sums } = statements(release, settings.checkout.taxPercent)
  const quote = async (sku: string, qty: number) => {
    const [product] = await db.all('SELECT price FROM products WHERE sku = ?', [sku])
    if (product === undefined) throw new HttpError(404, `there is no product ${sku}`)
    if (!Number.isInteger(qty) || qty < 1 || qty > settings.checkout.maxQty)
      throw new HttpError(400, `the quantity must be 1 to ${settings.checkout.maxQty}`)
    return release.gross(shop, Number(product.price), qty)
  }
  const find = async (userId: number, id: number, within: Database = db): Promise<Order> => {
    const [row] = await within.all(select, [id, userId])
    if (row === undefined) throw new HttpError(404, `you have no order ${id}`)
    return { ...(row as unknown as Order), discount: Number(row.discount ?? 0) }
  }
  await db.all(select, [0, 0])
  await db.all(sums)
  return {
    products: () => db.all('SELECT sku, name, price FROM products ORDER BY sku LIMIT ?', [settings.checkout.pageSize]),
    quote,
    find,
    place: async (userId, { sku, qty, coupon }) => {
      const gross = await quote(sku, qty)
      return db.transaction(async tx => {
        const off = coupon === null ? null : ((await release.discount?.({ ...shop, db: tx }, coupon, gross)) ?? null)
        const values = [userId, sku, qty, gross - (off ?? 0), new Date().toISOString()]
        const id = await insertWithin(tx, insert, [...values, ...(release.discount ? [off] : [])])
        return find(userId, id, tx)
      })
    },
    pay: (userId, id) =>
      db.transaction(async tx => {
        const order = await find(userId, id, tx)
        const paid = await tx.run(`UPDATE orders SET status = 'paid' WHERE id = ? AND status = 'new'`, [id])
        if (paid === 0) throw new HttpError(409, `order ${id} is paid already`)
        const payment = [id, order.total, new Date().toISOString()]
        await tx.run('INSERT INTO payments (order_id, amount, paid_at) VALUES (?, ?, ?)', payment)
        return { ...order, status: 'paid' }
      }),
    totals: async () => (await db.all(sums))[0] as unknown as Awaited<ReturnType<Orders['totals']>>,
  }
}

function statements({ totalColumn, discount }: Release, taxPercent: number) {
  const off = discount === undefined ? 'NULL' : 'discount'
  const more = discount === undefined ? ['', ''] : [', discount', ', ?']
  const taxed = `price * qty * ${Math.trunc(taxPercent)} + 50`
  // Whole cents, whatever the database takes a division for.
  const due = `price * qty + (${taxed} - (${taxed}) % 100) / 100`
  return {
    insert: `INSERT INTO orders (user_id, sku, qty, ${totalColumn}, status, created_at${more[0]})
             VALUES (?, ?, ?, ?, 'new', ?${more[1]})`,
    select: `SELECT id, sku, qty, ${totalColumn} AS total, ${off} AS discount, status FROM orders WHERE id = ? AND user_id = ?`,
    sums: `SELECT count(*) AS orders, coalesce(sum(CASE WHEN status = 'paid' THEN 1 ELSE 0 END), 0) AS paid,
                  coalesce(sum(CASE WHEN status = 'paid' THEN ${totalColumn} ELSE 0 END), 0) AS revenue,
                  coalesce(sum(CASE WHEN ${totalColumn} + coalesce(${off}, 0) <> ${due} THEN 1 ELSE 0 END), 0) AS unexplained
           FROM orders JOIN products ON products.sku = orders.sku`,
  }
}
