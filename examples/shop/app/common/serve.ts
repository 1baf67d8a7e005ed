import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { parseArgs } from 'node:util'
import { openDatabase } from './database.ts'
import { answer, type Routes, send } from './http.ts'
import { ordersOf } from './orders.ts'
import type { Release } from './release.ts'
import { routesOf } from './routes.ts'
import { readSettings } from './settings.ts'

/** Between being told to stop and turning new connections away, so that the balancer has looked away by then. */
const LAME_DUCK_MS = 250
/** Whoever is not done by then is cut off. */
const MOST_STOPPING_MS = 3000

/** One instance of the shop: `server.ts --home DIR --instance NAME --port N`. Ends on SIGTERM, once nothing is in flight. */
export async function serve(release: Release): Promise<void> {
  const { home, instance, port } = parseArgs({
    options: { home: { type: 'string' }, instance: { type: 'string' }, port: { type: 'string' } },
  }).values
  if (!home || !instance || !port) throw new Error('--home, --instance and --port are needed')
  const settings = readSettings(home, process.env)
  const db = await openDatabase(settings.databaseUrl)
  const shop = { db, settings }
  let draining = false
  const routes: Routes = {
    ...routesOf(shop, await ordersOf(shop, release)),
    'GET /version': () => ({ status: 200, json: { version: release.version } }),
    'GET /health': () => ({
      status: draining ? 503 : 200,
      json: {
        status: draining ? 'draining' : 'ok',
        version: release.version,
        instance,
        config: settings.checkout.version,
        theme: settings.theme,
        logLevel: settings.logLevel,
        flags: { 'new-checkout': settings.flag('new-checkout') },
      },
    }),
  }
  const server = createServer((request, response) => {
    response.setHeader('x-shop-version', release.version)
    response.setHeader('x-shop-instance', instance)
    void answer(routes, request).then(found => {
      if (draining) response.setHeader('connection', 'close')
      send(response, found)
    })
  })
  server.keepAliveTimeout = 60_000
  await listen(server, Number(port))
  console.log(`${release.version} ${instance} listens on ${port}`)
  await once(process, 'SIGTERM')
  draining = true
  await ended(server)
  await db.close()
  process.exit()
}

async function ended(server: Server): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, LAME_DUCK_MS))
  setTimeout(() => server.closeAllConnections(), MOST_STOPPING_MS).unref()
  server.close()
  await once(server, 'close')
}

/** The port may be taken for a moment by somebody's outgoing connection: then it is tried again. */
async function listen(server: Server, port: number, attempts = 20): Promise<void> {
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempts <= 1) throw error
    await new Promise(resolve => setTimeout(resolve, 100))
    await listen(server, port, attempts - 1)
  }
}
