import { checkPassword, hashPassword, signToken, userOf } from './auth.ts'
import { insert } from './database.ts'
import { type Answer, type Asked, HttpError, type Routes } from './http.ts'
import type { Orders } from './orders.ts'
import type { Shop } from './release.ts'

/** What users can ask of the shop. */
export function routesOf(shop: Shop, orders: Orders): Routes {
  const { db, settings } = shop
  const addUser = 'INSERT INTO users (email, password, created_at) VALUES (?, ?, ?)'
  const userBy = 'SELECT id, password FROM users WHERE email = ?'
  const secret = settings.sessionSecret

  return {
    'GET /products': async () => ok({ products: await orders.products(), taxPercent: settings.checkout.taxPercent }),
    'GET /quote': async ({ url }) => {
      const sku = url.searchParams.get('sku') ?? ''
      const qty = Number(url.searchParams.get('qty') ?? 1)
      return ok({ sku, qty, total: await orders.quote(sku, qty) })
    },
    'GET /totals': async () => ok(await orders.totals()),
    'POST /register': async ({ body }) => {
      const [email, password] = [text(body, 'email'), text(body, 'password')]
      const user = await insert(db, addUser, [email, await hashPassword(password), new Date().toISOString()])
      if (user === null) throw new HttpError(409, `${email} is registered already`)
      return { status: 201, json: { user } }
    },
    'POST /login': async ({ body }) => {
      const [user] = await db.all(userBy, [text(body, 'email')])
      if (user === undefined || !(await checkPassword(text(body, 'password'), String(user.password))))
        throw new HttpError(401, 'the e-mail or the password is wrong')
      return ok({ token: signToken(Number(user.id), secret) })
    },
    'POST /orders': async asked => {
      const { body } = asked
      const coupon = typeof body.coupon === 'string' ? body.coupon : null
      const wanted = { sku: text(body, 'sku'), qty: Number(body.qty), coupon }
      return { status: 201, json: await orders.place(loggedIn(asked, secret), wanted) }
    },
    'POST /orders/:id/pay': async asked => ok(await orders.pay(loggedIn(asked, secret), asked.id)),
    'GET /orders/:id': async asked => ok(await orders.find(loggedIn(asked, secret), asked.id)),
  }
}

function ok(json: unknown): Answer {
  return { status: 200, json }
}

function loggedIn({ token }: Asked, secret: string): number {
  const user = userOf(token, secret)
  if (user === null) throw new HttpError(401, 'log in first')
  return user
}

function text(body: Asked['body'], name: string): string {
  const value = body[name]
  if (typeof value !== 'string' || value === '') throw new HttpError(400, `${name} is missing`)
  return value
}
