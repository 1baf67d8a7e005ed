import type { IncomingMessage, ServerResponse } from 'node:http'

/** An answer other than 200, meant for the user. */
export class HttpError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export interface Asked {
  readonly url: URL
  /** The part of the path where the route has `:id`. */
  readonly id: number
  readonly body: Readonly<Record<string, unknown>>
  /** The bearer token, or an empty string. */
  readonly token: string
}

export interface Answer {
  readonly status: number
  readonly json: unknown
}

type Handler = (asked: Asked) => Answer | Promise<Answer>
/** "GET /orders/:id" and the like. */
export type Routes = Readonly<Record<string, Handler>>

const MOST_BYTES = 16 * 1024

/** Finds the route, reads the body, and turns whatever is thrown into an answer. */
export async function answer(routes: Routes, request: IncomingMessage): Promise<Answer> {
  try {
    const url = new URL(request.url ?? '/', 'http://shop')
    const [key, id] = routeOf(request.method ?? 'GET', url.pathname)
    const handler = routes[key]
    if (handler === undefined) throw new HttpError(404, `there is no ${key}`)
    const token = request.headers.authorization?.replace(/^Bearer /, '') ?? ''
    return await handler({ url, id, body: await bodyOf(request), token })
  } catch (error) {
    if (error instanceof HttpError) return { status: error.status, json: { error: error.message } }
    console.error(`${request.method} ${request.url}:`, error)
    return { status: 500, json: { error: 'the shop made a mistake' } }
  }
}

export function send(response: ServerResponse, { status, json }: Answer): void {
  const body = Buffer.from(`${JSON.stringify(json)}\n`)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

function routeOf(method: string, path: string): [key: string, id: number] {
  const id = /\/(\d+)(?=\/|$)/.exec(path)?.[1]
  return [`${method} ${id === undefined ? path : path.replace(`/${id}`, '/:id')}`, Number(id ?? 0)]
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MOST_BYTES) throw new HttpError(413, 'the request is too large')
    chunks.push(chunk)
  }
  if (size === 0) return {}
  return parsed(Buffer.concat(chunks).toString('utf8'))
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Not JSON: said below, with everything else that is not an object.
  }
  throw new HttpError(400, 'the body is not a JSON object')
}
