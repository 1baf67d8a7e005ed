import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Upstreams } from './upstreams.ts'
import { type Shares, type Side, type Weights, wrongWith } from './weights.ts'

/** `GET /admin/state` and `PUT /admin/weights`, guarded by the ETag of what was read. */
export function adminOf(weights: Weights, upstreams: Upstreams, active: Readonly<Record<Side, number>>) {
  const state = (): object => ({
    weights: weights.shares,
    active,
    upstreams: upstreams.all.map(({ name, up }) => ({ name, up })),
  })
  const etag = () => `"${weights.version}"`
  const say = (response: ServerResponse, status: number, json: object) => {
    response.writeHead(status, { 'content-type': 'application/json', etag: etag() })
    response.end(`${JSON.stringify(json)}\n`)
  }

  const put = (asked: IncomingMessage, text: string, response: ServerResponse) => {
    const match = asked.headers['if-match']
    if (match === undefined) return say(response, 428, { error: 'say with If-Match which state this is based on' })
    if (match !== etag()) return say(response, 412, { error: `the state is ${etag()} by now`, ...state() })
    const shares = parsed(text)
    const wrong = wrongWith(shares)
    if (wrong !== null) return say(response, 400, { error: wrong })
    weights.set(shares as Shares)
    say(response, 200, state())
  }

  return (asked: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = []
    asked.on('data', (chunk: Buffer) => chunks.push(chunk))
    asked.on('end', () => {
      const route = `${asked.method} ${asked.url}`
      if (route === 'GET /admin/state') say(response, 200, state())
      else if (route === 'GET /health') say(response, 200, { status: 'ok' })
      else if (route === 'PUT /admin/weights') put(asked, Buffer.concat(chunks).toString('utf8'), response)
      else say(response, 404, { error: `there is no ${route}` })
    })
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
