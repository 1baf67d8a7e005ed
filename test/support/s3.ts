import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import S3rver from 's3rver'
import { isSigned } from './s3-signature.ts'

/** The one pair of keys that the server knows. */
export const KEY = 'S3RVER'
export const BUCKET = 'shop-backups'

export interface S3Server {
  readonly endpoint: string
  /** Where the objects lie, as files of the server's own. */
  readonly data: string
  /** From now on no connection lives beyond so many bytes from the client; null: as ever. */
  cutAfter(bytes: number | null): void
  /** The same for what comes from the server. */
  cutAnswers(bytes: number | null): void
  stop(): Promise<void>
  dispose(): Promise<void>
}

/** A real S3-compatible server on loopback, behind a relay that can fail. */
export async function s3Server(): Promise<S3Server> {
  const data = await mkdtemp(join(tmpdir(), 'backout-s3-'))
  const server = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: data,
    configureBuckets: [{ name: BUCKET }],
  })
  server.middleware.unshift(async (ctx, next) => {
    const known = /Credential=([^/]+)\//.exec(String(ctx.req.headers.authorization))?.[1]
    if (known !== KEY || isSigned(ctx.req, KEY)) return next()
    ctx.status = 403
    ctx.body = '<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code></Error>'
  })
  const { port } = await server.run()
  const cut: { up: number | null; down: number | null } = { up: null, down: null }
  const links = new Set<Socket>()
  const relay = createServer(client => {
    const upstream = connect(port, '127.0.0.1')
    links.add(client)
    links.add(upstream)
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    const passing = (from: Socket, to: Socket, side: 'up' | 'down') => {
      let passed = 0
      from.on('data', (chunk: Buffer) => {
        passed += chunk.length
        const most = cut[side]
        if (most !== null && passed > most) end()
        else to.write(chunk)
      })
      from.on('error', end)
      from.on('close', end)
    }
    passing(client, upstream, 'up')
    passing(upstream, client, 'down')
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  let stopped = false
  const stop = async () => {
    if (stopped) return
    stopped = true
    for (const link of links) link.destroy()
    await closed(relay)
    await server.close()
  }
  const address = relay.address()
  return {
    endpoint: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    data,
    cutAfter: bytes => void (cut.up = bytes),
    cutAnswers: bytes => void (cut.down = bytes),
    stop,
    async dispose() {
      await stop()
      await rm(data, { recursive: true, force: true })
    },
  }
}

async function closed(server: Server): Promise<void> {
  const over = once(server, 'close')
  server.close()
  await over
}
