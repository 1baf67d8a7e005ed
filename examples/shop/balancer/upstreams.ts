import { Agent, get, type RequestOptions } from 'node:http'

const LOOK_EVERY_MS = 100
const LOOK_LIMIT_MS = 3000

export interface Upstream {
  readonly name: string
  readonly options: RequestOptions
  /** False once it said that it drains, or refused a connection; true again once it answers 200. */
  up: boolean
}

export interface Upstreams {
  readonly all: readonly Upstream[]
  /** Those to try for one request, in turn; where none is up, all of them. */
  inTurn(): Upstream[]
  close(): void
}

/** Asks each instance for its health, so that one that is about to stop gets nothing more. */
export function upstreamsOf(names: readonly string[]): Upstreams {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 })
  const all = names.map(name => {
    const [host, port] = name.split(':')
    return { name, options: { agent, host, port: Number(port) }, up: true }
  })
  const timers = new Map<Upstream, NodeJS.Timeout>()
  const watch = (upstream: Upstream) => {
    const again = () =>
      timers.set(
        upstream,
        setTimeout(() => watch(upstream), LOOK_EVERY_MS),
      )
    look(upstream, again)
  }
  for (const upstream of all) watch(upstream)
  let turn = 0
  return {
    all,
    inTurn() {
      turn = (turn + 1) % all.length
      const order = [...all.slice(turn), ...all.slice(0, turn)]
      const up = order.filter(upstream => upstream.up)
      return up.length > 0 ? up : order
    },
    close() {
      for (const timer of timers.values()) clearTimeout(timer)
      agent.destroy()
    },
  }
}

/** Slow is not down: only a refusal or an answer changes what is thought of an instance. */
function look(upstream: Upstream, then: () => void): void {
  const request = get({ ...upstream.options, path: '/health', timeout: LOOK_LIMIT_MS }, response => {
    response.resume()
    upstream.up = response.statusCode === 200
  })
  request.on('timeout', () => request.destroy())
  request.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNREFUSED') upstream.up = false
  })
  request.on('close', then)
}
