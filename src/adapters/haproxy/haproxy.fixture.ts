import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent, createServer, get, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcp, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Of the system's packages, not of npm's.
const BINARY = 'haproxy'

async function listening(server: TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function freePort(): Promise<number> {
  const tcp = createTcp()
  const port = await listening(tcp)
  tcp.close()
  await once(tcp, 'close')
  return port
}

/** A real HAProxy in front of two live servers and one that shows the maintenance page. */
export class TestProxy {
  dir = ''
  port = 0
  tcpPort = 0
  readonly name: string
  /** Requests that each server answered. */
  readonly served: Record<string, number> = { 'web-1': 0, 'web-2': 0, sorry: 0 }
  #servers: Server[] = []
  #held: ServerResponse[] = []
  #proxy: ChildProcess | undefined
  #backendLines: string

  constructor(name = 'one', backendLines = '') {
    this.name = name
    this.#backendLines = backendLines
  }

  get socket(): string {
    return join(this.dir, 'admin.sock')
  }

  async start(maintenance = 'weight 0'): Promise<this> {
    this.dir = await mkdtemp(join(tmpdir(), 'backout-haproxy-'))
    const ports = await Promise.all(['web-1', 'web-2', 'sorry'].map(name => this.#web(name)))
    // After those that stay: a port that is free again is given to the next one who asks.
    this.port = await freePort()
    this.tcpPort = await freePort()
    const config = `
global
  node ${this.name}
  stats socket ${this.socket} mode 600 level admin
  stats socket ipv4@127.0.0.1:${this.tcpPort} level admin
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
frontend users
  bind 127.0.0.1:${this.port}
  default_backend web
backend web
  balance roundrobin
  ${this.#backendLines}
  server web-1 127.0.0.1:${ports[0]} weight 100 cookie web-1
  server web-2 127.0.0.1:${ports[1]} weight 100 cookie web-2
  server sorry 127.0.0.1:${ports[2]} ${maintenance}
`
    await writeFile(join(this.dir, 'haproxy.cfg'), config)
    await this.run()
    return this
  }

  /** Starts the proxy, with what its file says. */
  async run(): Promise<void> {
    this.#proxy = spawn(BINARY, ['-db', '-f', join(this.dir, 'haproxy.cfg')], { stdio: 'ignore' })
    for (let tries = 0; tries < 500 && this.#runs; tries++) {
      if ((await this.tell('show info').catch(() => '')) !== '') return
      await new Promise(resolve => setTimeout(resolve, 30))
    }
    throw new Error(this.#runs ? 'HAProxy did not come up' : 'HAProxy ended at once: another program may have its port')
  }

  get #runs(): boolean {
    return this.#proxy?.exitCode === null && this.#proxy.signalCode === null
  }

  async kill(): Promise<void> {
    if (this.#proxy === undefined || !this.#runs) return
    const gone = once(this.#proxy, 'exit')
    this.#proxy.kill('SIGKILL')
    await gone
  }

  /** Says something to the runtime API by its own means. */
  async tell(...commands: string[]): Promise<string> {
    const socket = connect(this.socket)
    socket.write(`${commands.join(';')}\n`)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    return answer
  }

  /** What one user sees: the server's name and the status. */
  ask(path = '/', agent?: Agent): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const request = get({ host: '127.0.0.1', port: this.port, path, agent: agent ?? false }, res => {
        let body = ''
        res.on('data', chunk => (body += String(chunk)))
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body }))
        res.on('error', reject)
      })
      request.on('error', reject)
    })
  }

  /** Ends the requests that are held open. */
  release(): void {
    for (const res of this.#held.splice(0)) res.end('held')
  }

  held(): number {
    return this.#held.length
  }

  async stop(): Promise<void> {
    await this.kill()
    this.release()
    for (const server of this.#servers) {
      server.closeAllConnections()
      server.close()
    }
    await rm(this.dir, { recursive: true })
  }

  #web(name: string): Promise<number> {
    const server = createServer((req, res) => {
      this.served[name] = (this.served[name] ?? 0) + 1
      if (req.url === '/slow') this.#held.push(res)
      else setTimeout(() => res.writeHead(name === 'sorry' ? 503 : 200).end(name), 3)
    })
    server.keepAliveTimeout = 60_000
    this.#servers.push(server)
    return listening(server)
  }
}

/** What a bounded number of users with kept connections saw while something else went on. */
export async function underLoad(proxy: TestProxy, what: () => Promise<void>) {
  const seen = { live: 0, maintenance: 0, failed: [] as string[] }
  const stop = new AbortController()
  const user = async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let i = 0; !stop.signal.aborted && i < 2000; i++) {
      const { status, body } = await proxy.ask('/', agent).catch((error: Error) => ({ status: 0, body: error.message }))
      if (status === 200 && body.startsWith('web-')) seen.live++
      else if (status === 503 && body === 'sorry') seen.maintenance++
      else seen.failed.push(`${status} ${body.slice(0, 100)}`)
    }
    agent.destroy()
  }
  const users = Array.from({ length: 8 }, user)
  try {
    await what()
  } finally {
    stop.abort()
    await Promise.all(users)
  }
  return seen
}
