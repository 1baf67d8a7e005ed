import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { parseArgs } from 'node:util'
import { adminOf } from './balancer/admin.ts'
import { proxyOf } from './balancer/proxy.ts'
import { upstreamsOf } from './balancer/upstreams.ts'
import { openWeights } from './balancer/weights.ts'
import { readJson } from './lib/files.ts'

/** `balancer.json`. */
export interface BalancerConfig {
  /** Where users come in. */
  readonly port: number
  /** Where operators and Backout come in. */
  readonly adminPort: number
  /** `host:port` of each instance of the live side. */
  readonly upstreams: readonly string[]
  /** Where the weights are kept over a restart. */
  readonly stateFile: string
}

/** `balancer.ts --config FILE`: shares requests between the live side and the maintenance page. Ends on SIGTERM. */
async function main(): Promise<void> {
  const { config: path } = parseArgs({ options: { config: { type: 'string' } } }).values
  if (path === undefined) throw new Error('--config FILE is needed')
  const config = readJson(path) as BalancerConfig
  const weights = openWeights(config.stateFile)
  const upstreams = upstreamsOf(config.upstreams)
  const proxy = proxyOf(weights, upstreams)
  const users = createServer(proxy.handle)
  users.keepAliveTimeout = 120_000
  const admins = createServer(adminOf(weights, upstreams, proxy.active))
  await Promise.all([listen(users, config.port), listen(admins, config.adminPort)])
  console.log(`users on ${config.port}, operators on ${config.adminPort}`)
  await once(process, 'SIGTERM')
  upstreams.close()
  await Promise.all([ended(users), ended(admins)])
  process.exit()
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
}

async function ended(server: Server): Promise<void> {
  setTimeout(() => server.closeAllConnections(), 2000).unref()
  server.close()
  await once(server, 'close')
}

await main()
