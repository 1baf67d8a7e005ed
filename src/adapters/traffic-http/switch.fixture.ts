import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What goes wrong with the next request to the admin interface. */
type Fault = 'hang' | 'reset' | 'lose-reply' | '500' | 'garbage' | 'move-between'

/** A real load balancer in small: weights, open requests, a strict ETag, and faults on demand. */
export class TestSwitch {
  weights: Record<string, number> = { live: 100, canary: 0, maintenance: 0 }
  active: Record<string, number> = { live: 0, canary: 0, maintenance: 0 }
  maintenance = false
  version = 1
  etags = true
  /** Gives weak ETags, which it never takes back. */
  weak = false
  /** Weights as they were written, in order. */
  readonly writes: Record<string, number>[] = []
  authorization: string | undefined
  /** What is accepted shows so much later. Milliseconds. */
  lateMs = 0
  faults: { on: string; fault: Fault }[] = []
  #server: Server | undefined
  #held: ServerResponse[] = []
  #turn = 0

  async start(): Promise<this> {
    this.#server = createServer((req, res) => void this.#serve(req, res)).listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  get url(): string {
    const address = this.#server?.address() as AddressInfo | undefined
    return `http://127.0.0.1:${address?.port}`
  }

  /** Sets weights by the switch's own means. */
  set(weights: Record<string, number>): void {
    this.weights = { live: 0, canary: 0, maintenance: 0, ...weights }
    this.version++
  }

  /** Ends the requests that are held open. */
  release(): void {
    for (const res of this.#held.splice(0)) res.end()
  }

  async stop(): Promise<void> {
    this.release()
    this.#server?.closeAllConnections()
    this.#server?.close()
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const key = `${req.method} ${req.url}`
    if (!req.url?.startsWith('/admin/')) return this.#user(req, res)
    this.authorization = req.headers.authorization
    const index = this.faults.findIndex(f => f.on === key)
    const fault = index < 0 ? undefined : this.faults.splice(index, 1)[0]?.fault
    if (fault === 'hang') return
    if (fault === 'reset') return void req.socket.destroy()
    if (fault === '500') return void res.writeHead(500).end('boom')
    if (fault === 'garbage') return void res.end('<html>')
    if (fault === 'move-between') this.version++
    if (req.method === 'GET') return this.#state(res)
    let body = ''
    for await (const chunk of req) body += String(chunk)
    const guard = req.headers['if-match']
    if (this.etags && guard !== undefined && guard !== `"${this.version}"`) return void res.writeHead(412).end()
    const take = () => this.#take(req.url, body)
    if (this.lateMs === 0) take()
    else setTimeout(take, this.lateMs)
    if (fault === 'lose-reply') return void req.socket.destroy()
    this.#state(res)
  }

  #take(url: string | undefined, body: string): void {
    this.version++
    if (url === '/admin/maintenance') this.maintenance = body === 'on'
    else {
      this.weights = { ...this.weights, ...(JSON.parse(body) as Record<string, number>) }
      this.writes.push(this.weights)
    }
  }

  #state(res: ServerResponse): void {
    const { weights, active, maintenance } = this
    res.writeHead(200, this.etags ? { etag: `${this.weak ? 'W/' : ''}"${this.version}"` } : {})
    res.end(JSON.stringify({ weights, active, maintenance }))
  }

  /** Users are spread by weight, one after the other; `/slow` stays open until it is released. */
  #user(req: IncomingMessage, res: ServerResponse): void {
    const total = Object.values(this.weights).reduce((a, b) => a + b, 0)
    let at = this.maintenance ? -1 : (this.#turn++ * 37) % total
    const side = at < 0 ? 'maintenance' : Object.entries(this.weights).find(([, w]) => (at -= w) < 0)?.[0]
    if (side === undefined) return void res.writeHead(503).end('nobody')
    if (req.url !== '/slow') return void res.writeHead(side === 'maintenance' ? 503 : 200).end(side)
    this.active[side] = (this.active[side] ?? 0) + 1
    res.once('close', () => (this.active[side] = (this.active[side] ?? 0) - 1))
    this.#held.push(res.writeHead(200))
    res.flushHeaders()
  }
}
