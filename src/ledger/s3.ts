import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AwsClient } from 'aws4fetch'
import type { Clock } from '../core/clock.ts'
import { reveal, type Text } from '../core/secret.ts'
import { hex } from './files.ts'
import { type Held, type RemoteFiles, StorageGone } from './remote-files.ts'
import { refused, unreachable } from './s3-errors.ts'

export interface S3Settings {
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** Stands before every name; empty or with a slash at its end. */
  readonly prefix: string
  readonly accessKey: Text
  readonly secretKey: Text
  readonly sessionToken?: Text | undefined
}

/** What S3 takes as the smallest part of several, and how many of them. */
const PART_BYTES = 16 * 1_048_576
const MOST_PARTS = 10_000
/** For one part, and for a silence while reading. */
const LIMIT_MS = 300_000
const TRIES = 4

/**
 * Files in an S3-compatible object storage. Each request carries the signed hash of what it sends, so that the storage itself
 * refuses what was changed on the way. Large files go in parts: until the last one is there, there is no object.
 */
export class S3Files implements RemoteFiles {
  readonly name: string
  readonly #settings: S3Settings
  readonly #clock: Clock
  readonly #partBytes: number
  #client: AwsClient | null = null

  constructor(settings: S3Settings, clock: Clock, partBytes = PART_BYTES) {
    this.#settings = settings
    this.#clock = clock
    this.#partBytes = partBytes
    this.name = `s3://${settings.bucket}/${settings.prefix}`
  }

  async put(name: string, path: string): Promise<{ etag: string }> {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      const part = Math.max(this.#partBytes, Math.ceil(size / MOST_PARTS))
      if (size <= part) await this.#ask('PUT', name, { body: await bytesOf(file, 0, size) })
      else await this.#inParts(name, file, size, part)
      const held = await this.look(name)
      if (held?.bytes === size) return { etag: held.etag }
      throw new StorageGone(
        `${name} was written and is ${held === null ? 'not there' : `${held.bytes} bytes of ${size}`}`,
      )
    } finally {
      await file.close()
    }
  }

  async #inParts(name: string, file: FileHandle, size: number, part: number): Promise<void> {
    const begun = await (await this.#ask('POST', name, { query: 'uploads=' })).text()
    const id = encodeURIComponent(tagIn(begun, 'UploadId'))
    try {
      const etags: string[] = []
      for (let at = 0; at < size; at += part) {
        const body = await bytesOf(file, at, Math.min(part, size - at))
        const answer = await this.#ask('PUT', name, { query: `partNumber=${etags.length + 1}&uploadId=${id}`, body })
        etags.push(answer.headers.get('etag') ?? '')
      }
      const list = etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`)
      const body = Buffer.from(`<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`)
      const said = await (await this.#ask('POST', name, { query: `uploadId=${id}`, body })).text()
      // It may answer 200 and tell of the failure only then.
      if (/<Error>/.test(said)) throw refused(this.#settings, name, 500, said)
    } catch (error) {
      await this.#ask('DELETE', name, { query: `uploadId=${id}`, tries: 1 }).catch(() => {})
      throw error
    }
  }

  async look(name: string): Promise<(Held & { bytes: number }) | null> {
    const answer = await this.#ask('HEAD', name, {}).catch((error: unknown) => {
      if (error instanceof StorageGone) return null
      throw error
    })
    if (answer === null) return null
    return { bytes: Number(answer.headers.get('content-length')), etag: answer.headers.get('etag') ?? '' }
  }

  /** Memory stays flat. What came is kept only where it is what was asked for. */
  async fetch(name: string, to: string, wanted: { bytes: number; sha256: string }): Promise<boolean> {
    await mkdir(dirname(to), { recursive: true, mode: 0o700 })
    const aside = `${to}.${hex(4)}.part`
    try {
      for (let tried = 1; ; tried++) {
        const found = await this.#download(name, aside).catch((error: unknown) => {
          if (error instanceof StorageGone || tried === TRIES) throw error
          return null
        })
        if (found === null) continue
        if (found.bytes !== wanted.bytes || found.sha256 !== wanted.sha256) return false
        await rename(aside, to)
        return true
      }
    } finally {
      await rm(aside, { force: true })
    }
  }

  async #download(name: string, to: string): Promise<{ bytes: number; sha256: string }> {
    const answer = await this.#ask('GET', name, {})
    const hash = createHash('sha256')
    let bytes = 0
    const measured = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk)
        bytes += chunk.length
        done(null, chunk)
      },
    })
    const said = Number(answer.headers.get('content-length') ?? Number.NaN)
    try {
      const body = answer.body === null ? Readable.from([]) : Readable.fromWeb(answer.body)
      await pipeline(body, measured, createWriteStream(to, { mode: 0o600, flush: true }))
    } catch (error) {
      throw unreachable(this.#settings, error)
    }
    if (!Number.isNaN(said) && said !== bytes)
      throw unreachable(this.#settings, new Error(`${bytes} bytes of ${said} came`))
    return { bytes, sha256: hash.digest('hex') }
  }

  async remove(name: string): Promise<void> {
    await this.#ask('DELETE', name, {}).catch((error: unknown) => {
      if (!(error instanceof StorageGone)) throw error
    })
  }

  /** Throws where it cannot be reached, or the keys may not list it. */
  async ready(): Promise<void> {
    const prefix = encodeURIComponent(`${this.#settings.prefix}.nothing`)
    await this.#ask('GET', null, { query: `list-type=2&max-keys=1&prefix=${prefix}` })
  }

  /** `name`: null for the bucket itself. What may be tried again is; throws `StorageGone`, `storage_unreachable`, `storage_refused`. */
  async #ask(
    method: string,
    name: string | null,
    { query = '', body, tries = TRIES }: { query?: string; body?: Uint8Array<ArrayBuffer>; tries?: number },
  ): Promise<Response> {
    const { endpoint, bucket, prefix } = this.#settings
    const path = name === null ? '' : `/${`${prefix}${name}`.split('/').map(encodeURIComponent).join('/')}`
    const url = `${endpoint.replace(/\/$/, '')}/${bucket}${path}${query === '' ? '' : `?${query}`}`
    for (let tried = 1; ; tried++) {
      const answer = await this.#once(url, method, body).catch((error: unknown) => {
        if (tried >= tries) throw unreachable(this.#settings, error)
        return null
      })
      if (answer?.ok === true) return answer
      if (answer !== null && (tried >= tries || (answer.status < 500 && answer.status !== 429))) {
        throw refused(this.#settings, name ?? '', answer.status, await answer.text().catch(() => ''))
      }
      await answer?.body?.cancel()
      await this.#clock.sleep(200 * 4 ** (tried - 1))
    }
  }

  async #once(url: string, method: string, body: Uint8Array<ArrayBuffer> | undefined): Promise<Response> {
    // Nothing of a secret is read before it is needed.
    this.#client ??= clientOf(this.#settings)
    const sha256 = createHash('sha256')
      .update(body ?? '')
      .digest('hex')
    const request = await this.#client.sign(url, {
      method,
      headers: { 'X-Amz-Content-Sha256': sha256 },
      ...(body === undefined ? {} : { body }),
    })
    return fetch(request, { signal: AbortSignal.timeout(LIMIT_MS) })
  }
}

function clientOf({ accessKey, secretKey, sessionToken, region }: S3Settings): AwsClient {
  const token = sessionToken === undefined ? {} : { sessionToken: reveal(sessionToken) }
  const keys = { accessKeyId: reveal(accessKey), secretAccessKey: reveal(secretKey), ...token }
  return new AwsClient({ ...keys, service: 's3', region, retries: 0 })
}

async function bytesOf(file: FileHandle, at: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length)
  let read = 0
  while (read < length) {
    const { bytesRead } = await file.read(bytes, read, length - read, at + read)
    if (bytesRead === 0) throw new Error('the file became shorter while it was read')
    read += bytesRead
  }
  return bytes
}

function tagIn(xml: string, tag: string): string {
  return new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml)?.[1] ?? ''
}
