import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from './client.ts'
import type { Tally } from './tally.ts'

const ORDERS_A_USER = 6
const MOST_QTY = 5

/** What an order must cost: from the price list that users have seen before the release. */
export interface PriceList {
  readonly taxPercent: number
  readonly products: readonly { sku: string; price: number }[]
}

export interface Visit {
  readonly client: Client
  readonly tally: Tally
  readonly prices: PriceList
  readonly coupon: string
  readonly thinkMs: number
  readonly stop: AbortSignal
  /** 0 to 1. */
  readonly random: () => number
}

/** One user: registers, logs in, then orders, pays and looks a few times. */
export async function visit(visit: Visit): Promise<void> {
  const { client, tally, stop } = visit
  const who = { email: `${randomUUID()}@example.test`, password: randomUUID() }
  if (!(await client.ask({ step: 'register', method: 'POST', path: '/register', body: who }))) return think(visit)
  tally.users += 1
  await think(visit)
  const login = await client.ask({ step: 'login', method: 'POST', path: '/login', body: who })
  if (login === null) return think(visit)
  for (let i = 0; i < ORDERS_A_USER && !stop.aborted; i += 1) {
    await think(visit)
    await shop(visit, String(login.json.token))
  }
}

async function shop(visit: Visit, token: string): Promise<void> {
  const { client, tally } = visit
  const { sku, price } = pick(visit.prices.products, visit)
  const qty = 1 + Math.floor(visit.random() * MOST_QTY)
  const due = costOf(price, qty, visit.prices.taxPercent)
  const wrong = ({ total, discount }: Record<string, unknown>) =>
    Number(total) + Number(discount) === due ? null : 'wrong total'
  const body = { sku, qty, coupon: visit.coupon }
  const placed = await client.ask({ step: 'order', method: 'POST', path: '/orders', body, token, wrong })
  if (placed === null) return
  const [id, total, discount] = [Number(placed.json.id), Number(placed.json.total), Number(placed.json.discount)]
  tally.acknowledge({ id, total, discount, paid: false, version: placed.version, at: new Date().toISOString() })
  await think(visit)
  if (await client.ask({ step: 'pay', method: 'POST', path: `/orders/${id}/pay`, token })) tally.paid(id)
  await think(visit)
  const kept = (json: Record<string, unknown>) => (json.total === total ? null : 'another total than was ordered')
  await client.ask({ step: 'look', method: 'GET', path: `/orders/${id}`, token, wrong: kept })
}

function costOf(price: number, qty: number, taxPercent: number): number {
  const net = price * qty
  return net + Math.floor((net * taxPercent + 50) / 100)
}

function pick<T>(list: readonly T[], { random }: Visit): T {
  const found = list[Math.floor(random() * list.length)]
  if (found === undefined) throw new Error('the shop sells nothing')
  return found
}

async function think({ thinkMs, stop, random }: Visit): Promise<void> {
  await sleep(thinkMs * (0.5 + random()), undefined, { signal: stop }).catch(() => undefined)
}
