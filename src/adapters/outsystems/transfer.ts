import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BackoutError } from '../../core/errors.ts'
import type { HttpAnswer } from '../../exec/http.ts'
import type { Call, LifeTime } from './client.ts'
import { refused, unreachable } from './errors.ts'

const MOST_ERROR = 1 << 16

type Progress = (bytes: number, total: number | null) => void

/** Streams what a link leads to into a file. The token goes along only to LifeTime itself. */
export async function download(
  lifetime: LifeTime,
  url: string,
  file: string,
  onProgress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const { origin, pathname } = new URL(url)
  const call: Call = { method: 'GET', path: pathname }
  const headers: Record<string, string> = origin === lifetime.config.url ? { authorization: lifetime.bearer() } : {}
  await within(lifetime, call, origin, signal, async (agent, both) => {
    const { request } = await import('undici')
    const answer = await request(url, { dispatcher: agent, signal: both, headers })
    if (answer.statusCode !== 200) throw refused(call, await errorOf(answer), { ...lifetime.config, url: origin })
    const length = Number(answer.headers['content-length'] ?? Number.NaN)
    const total = Number.isFinite(length) ? length : null
    let bytes = 0
    const counted = new Transform({
      transform(chunk: Buffer, _, done) {
        bytes += chunk.length
        onProgress(bytes, total)
        done(null, chunk)
      },
    })
    await pipeline(answer.body, counted, createWriteStream(file, { mode: 0o600 }), { signal: both })
    if (bytes === 0 || (total !== null && bytes !== total)) throw cutShort(origin, bytes, total)
  })
}

/** Streams a file to LifeTime, once: an upload whose reply is lost may have made a deployment. */
export async function upload(
  lifetime: LifeTime,
  path: string,
  file: string,
  onProgress: Progress,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const call: Call = { method: 'POST', path }
  const { size } = await stat(file)
  return within(lifetime, call, lifetime.config.url, signal, async (agent, both) => {
    const { request } = await import('undici')
    let bytes = 0
    const body = createReadStream(file)
    body.on('data', chunk => onProgress((bytes += chunk.length), size))
    const answer = await request(lifetime.addressOf(path), {
      dispatcher: agent,
      signal: both,
      method: 'POST',
      headers: {
        authorization: lifetime.bearer(),
        'content-type': 'application/octet-stream',
        'content-length': String(size),
      },
      body,
    })
    const got = await errorOf(answer)
    if (answer.statusCode >= 200 && answer.statusCode < 300) return got
    throw refused(call, got, lifetime.config)
  })
}

type Answered = Awaited<ReturnType<typeof import('undici').request>>

/** Over a connection of its own, within the time for a transfer; an error says which of the two hosts did not answer. */
async function within<T>(
  lifetime: LifeTime,
  call: Call,
  origin: string,
  signal: AbortSignal,
  work: (agent: import('undici').Agent, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { Agent } = await import('undici')
  const { transfer, request } = lifetime.config.limits
  const limit = AbortSignal.timeout(transfer)
  const tls = lifetime.ca === undefined ? {} : { ca: await readFile(lifetime.ca, 'utf8') }
  // What is sent has its own limit; LifeTime may think about an upload for long before it answers.
  const agent = new Agent({ pipelining: 0, headersTimeout: transfer, connect: { timeout: request, ...tls } })
  try {
    return await work(agent, AbortSignal.any([signal, limit]))
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof BackoutError) throw error
    if (limit.aborted) throw unreachable(call, origin, new Error(`not done within ${transfer} ms`))
    throw unreachable(call, origin, error)
  } finally {
    await agent.destroy().catch(() => {})
  }
}

async function errorOf(answer: Answered): Promise<HttpAnswer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer.body) {
    chunks.push(chunk as Buffer)
    size += (chunk as Buffer).length
    if (size > MOST_ERROR) break
  }
  const body = Buffer.concat(chunks).subarray(0, MOST_ERROR).toString('utf8')
  return { status: answer.statusCode, headers: {}, body, cut: size > MOST_ERROR, ms: 0 }
}

function cutShort(origin: string, bytes: number, total: number | null): BackoutError {
  return new BackoutError({
    code: 'package_cut',
    what: `The package from ${origin} ended after ${bytes} of ${total ?? 'an unknown number of'} bytes`,
    next: 'capture again',
    exit: 'failed',
  })
}
