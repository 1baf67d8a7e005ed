import { readFile } from 'node:fs/promises'
import { type IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { type Fields, type Obj } from './types.ts'

export interface Reply {
  readonly code: number
  readonly body: Obj & { message?: string; reason?: string; details?: Fields; items?: Obj[] }
}

export interface WatchStream {
  /** Answers the next event; throws at the end of the stream. */
  next(): Promise<{ type: string; object: Obj & { code?: number; reason?: string } }>
  close(): void
}

/** HTTP as it is, so that a test sees codes and bodies and not what a client library makes of them. */
export interface Client {
  ask(method: string, path: string, body?: unknown, type?: string): Promise<Reply>
  /** Throws where the answer is no success. */
  must(method: string, path: string, body?: unknown, type?: string): Promise<Obj>
  watch(path: string): Promise<WatchStream>
  /** Asks until the object is there and as wanted. */
  until(path: string, wanted: (object: Obj) => boolean, ms?: number): Promise<Obj>
  close(): void
}

export const JSON_PATCH = 'application/json-patch+json'
export const MERGE_PATCH = 'application/merge-patch+json'
export const STRATEGIC_PATCH = 'application/strategic-merge-patch+json'
export const APPLY_PATCH = 'application/apply-patch+yaml'

interface Kubeconfig {
  'current-context': string
  contexts: { name: string; context: { cluster: string; user: string } }[]
  clusters: { name: string; cluster: { server: string } & Material }[]
  users: { name: string; user: { token?: string } & Material }[]
}

/** `client-key-data` has it in base64, `client-key` names its file. */
type Material = Record<string, string | undefined>

export interface Sender {
  send(method: string, path: string, body: string | Buffer, type: string): Promise<IncomingMessage>
  close(): void
}

/** Sends requests to the current context of a kubeconfig that holds its credentials itself, or names their files. */
export async function senderTo(path: string): Promise<Sender> {
  const config = parse(await readFile(path, 'utf8')) as Kubeconfig
  const context = config.contexts.find(one => one.name === config['current-context'])?.context
  const cluster = config.clusters.find(one => one.name === context?.cluster)?.cluster
  const user = config.users.find(one => one.name === context?.user)?.user ?? {}
  if (cluster === undefined) throw new Error(`${path} has no current context`)
  const pem = async (from: Material, field: string): Promise<string | undefined> => {
    const { [`${field}-data`]: data, [field]: file } = from
    if (data !== undefined) return Buffer.from(data, 'base64').toString()
    return file === undefined ? undefined : readFile(resolve(dirname(path), file), 'utf8')
  }
  const cert = await pem(user, 'client-certificate')
  if (cert === undefined && user.token === undefined)
    throw new Error(`${path} has neither a certificate nor a token: the tests run no plugin that gives one`)
  const [ca, key] = [await pem(cluster, 'certificate-authority'), await pem(user, 'client-key')]
  const agent = new Agent({ keepAlive: true, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) })
  return { send: sendTo(cluster.server, agent, user.token), close: () => agent.destroy() }
}

export async function connect(path: string): Promise<Client> {
  const sender = await senderTo(path)
  const ask: Client['ask'] = async (method, url, body, type = 'application/json') => {
    const response = await sender.send(method, url, body === undefined ? '' : JSON.stringify(body), type)
    return { code: response.statusCode ?? 0, body: await jsonOf(response) }
  }
  const must: Client['must'] = async (method, url, body, type) => {
    const reply = await ask(method, url, body, type)
    if (reply.code >= 300) throw new Error(`${method} ${url}: ${reply.code} ${reply.body.message}`)
    return reply.body
  }
  return {
    ask,
    must,
    watch: async url => streamOf(await sender.send('GET', url, '', 'application/json')),
    async until(url, wanted, ms = 120_000) {
      const end = Date.now() + ms
      for (;;) {
        const { code, body } = await ask('GET', url)
        if (code === 200 && wanted(body)) return body
        if (Date.now() > end)
          throw new Error(`${url} is not as wanted after ${ms} ms: ${JSON.stringify(body.status ?? body)}`)
        await sleep(10)
      }
    },
    close: () => sender.close(),
  }
}

function sendTo(server: string, agent: Agent, token: string | undefined): Sender['send'] {
  return (method, path, body, type) =>
    new Promise((resolve, reject) => {
      const headers = {
        'user-agent': 'backout-tests/1',
        ...(body.length === 0 ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      }
      request(new URL(path, server), { method, agent, headers }, resolve).on('error', reject).end(body)
    })
}

async function jsonOf(response: IncomingMessage): Promise<Reply['body']> {
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return JSON.parse(Buffer.concat(parts).toString()) as Reply['body']
}

function streamOf(response: IncomingMessage): WatchStream {
  const lines = linesOf(response)
  return {
    async next() {
      const line = await lines.next()
      if (line.done === true) throw new Error('the watch has ended')
      return JSON.parse(line.value) as Awaited<ReturnType<WatchStream['next']>>
    },
    close: () => response.destroy(),
  }
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string, undefined> {
  let left = ''
  for await (const part of response) {
    const lines = (left + (part as Buffer).toString()).split('\n')
    left = lines.pop() ?? ''
    yield* lines
  }
  return undefined
}
