import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcp } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Secret } from '../core/secret.ts'
import { percentile } from './http.ts'
import { openProbe, probeConfig, type Sample } from './index.ts'

const signal = new AbortController().signal
const seen: { connection: string | undefined; authorization: string | undefined }[] = []
let flaky = 0
let open = 0
let mostOpen = 0
let server: Server
let base: string

const pages: Record<string, (req: IncomingMessage, res: ServerResponse) => void> = {
  '/ok': (req, res) => {
    seen.push({ connection: req.headers.connection, authorization: req.headers.authorization })
    res.end('all is well')
  },
  '/json': (_, res) => res.end('{"status":"ok","queue":{"length":7},"a/b":null}'),
  '/broken': (_, res) => res.writeHead(500).end('{"error":"no table"}'),
  '/no-json': (_, res) => res.end('<html>'),
  '/hang': () => {},
  '/drip': (_, res) => void res.write('a'),
  '/slow': (_, res) => {
    mostOpen = Math.max(mostOpen, ++open)
    setTimeout(() => {
      open--
      res.end()
    }, 60)
  },
  '/flaky': (_, res) => void res.writeHead(++flaky % 10 === 0 ? 503 : 200).end(),
  '/reset': req => void req.socket.destroy(),
  '/loop': (_, res) => void res.writeHead(302, { location: '/loop' }).end(),
  '/moved': (_, res) => void res.writeHead(302, { location: '/ok' }).end(),
  '/endless': (_, res) => {
    const block = 'x'.repeat(64 * 1024)
    const more = () => {
      while (!res.destroyed && res.write(block));
    }
    res.on('drain', more)
    more()
  },
}

beforeAll(async () => {
  server = createServer((req, res) => (pages[req.url ?? ''] ?? pages['/broken'])?.(req, res)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})

function ask(settings: Record<string, unknown>): Promise<Sample> {
  return openProbe('p', probeConfig.parse({ kind: 'http', ...settings }), '/').measure(signal)
}

async function closedPort(): Promise<number> {
  const tcp = createTcp().listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  const { port } = tcp.address() as AddressInfo
  tcp.close()
  await once(tcp, 'close')
  return port
}

describe('D1: a health endpoint', () => {
  it('passes on 2xx, over a connection of its own', async () => {
    const sample = await ask({ url: `${base}/ok` })
    expect(sample).toMatchObject({ ok: true, value: 200, text: `GET ${base}/ok: status 200` })
    expect(seen.at(-1)?.connection).toBe('close')
  })

  it('fails on another status, and says which', async () => {
    expect(await ask({ url: `${base}/broken` })).toMatchObject({ ok: false, value: 500 })
    expect((await ask({ url: `${base}/broken` })).text).toContain('status 500, not 2xx')
  })

  it('takes a status, a range or a list', async () => {
    const url = `${base}/broken`
    const verdicts = await Promise.all(
      [500, '5xx', '500-503', [200, '500-503'], 503, '2xx'].map(
        async status => (await ask({ url, expect: { status } })).ok,
      ),
    )
    expect(verdicts).toEqual([true, true, true, true, false, false])
  })

  it('looks into the body: text, expression, JSON', async () => {
    const check = async (path: string, expect: unknown) => {
      const { ok, value, text } = await ask({ url: base + path, expect })
      return { ok, value, text: text.slice(text.indexOf(': ') + 2) }
    }
    expect(await check('/ok', { bodyContains: 'is well' })).toMatchObject({ ok: true })
    expect(await check('/ok', { bodyContains: 'is bad' })).toMatchObject({ ok: false })
    expect(await check('/ok', { bodyMatches: '^all.*well$' })).toMatchObject({ ok: true })
    expect(await check('/ok', { bodyMatches: 'ill$' })).toMatchObject({ ok: false })
    expect(await check('/json', { json: { '/status': 'ok', '/a~1b': null } })).toMatchObject({ ok: true, value: 200 })
    expect(await check('/json', { json: { '/queue/length': { max: 10 } } })).toMatchObject({ ok: true, value: 7 })
    expect(await check('/json', { json: { '/queue/length': { max: 5 } } })).toEqual({
      ok: false,
      value: 7,
      text: '/queue/length is 7, above 5',
    })
    expect((await check('/json', { json: { '/status': { min: 1 } } })).text).toBe('/status is "ok", not a number')
    expect((await check('/json', { json: { '/gone': 1 } })).text).toBe('/gone is not there')
    expect((await check('/no-json', { json: { '/a': 1 } })).text).toContain('the body is no JSON')
  })

  it('fails where nobody listens, the connection is reset, or no answer comes in time', async () => {
    const refused = await ask({ url: `http://127.0.0.1:${await closedPort()}/` })
    expect(refused).toMatchObject({ ok: false })
    expect(refused.text).toContain('ECONNREFUSED')
    expect(await ask({ url: `${base}/reset` })).toMatchObject({ ok: false })
    for (const page of ['/hang', '/drip']) {
      const late = await ask({ url: base + page, timeout: '100ms' })
      expect(late).toMatchObject({ ok: false, text: `GET ${base}${page}: no answer within 100 ms` })
    }
  })

  it('has no data, rather than a failure, where the name cannot be resolved', async () => {
    expect(await ask({ url: 'http://nobody.invalid/' })).toMatchObject({ ok: null, value: null })
  })

  it('takes a redirect for the answer, follows it when told, and leaves a loop', async () => {
    expect(await ask({ url: `${base}/moved` })).toMatchObject({ ok: false, value: 302 })
    expect(await ask({ url: `${base}/moved`, follow: 1 })).toMatchObject({ ok: true, value: 200 })
    const loop = await ask({ url: `${base}/loop`, follow: 3 })
    expect(loop).toMatchObject({ ok: false })
    expect(loop.text).toContain('redirected more than 3 times')
  })

  it('reads no more than it needs of an endless body', async () => {
    expect(await ask({ url: `${base}/endless` })).toMatchObject({ ok: true })
    const cut = await ask({ url: `${base}/endless`, expect: { json: { '': 1 } } })
    expect(cut).toMatchObject({ ok: false })
    expect(cut.text).toContain('only the first MiB')
  })

  it('sends secrets, and shows none', async () => {
    const token = new Secret('Bearer ${env:TOKEN}', 'Bearer hunter2-hunter2')
    const url = new Secret('${env:BASE}/json', `${base}/json`)
    expect(await ask({ url: `${base}/ok`, headers: { Authorization: token } })).toMatchObject({ ok: true })
    expect(seen.at(-1)?.authorization).toBe('Bearer hunter2-hunter2')
    expect((await ask({ url })).text).toBe('GET ${env:BASE}/json: status 200')
    expect((await ask({ url: `http://u:pw-of-u@127.0.0.1:1/?key=k3y` })).text).not.toMatch(/pw-of-u|k3y/)
  })

  it('stops when told to', async () => {
    const stop = new AbortController()
    const probe = openProbe('p', probeConfig.parse({ kind: 'http', url: `${base}/hang` }), '/')
    setTimeout(() => stop.abort(new Error('told to stop')), 30)
    await expect(probe.measure(stop.signal)).rejects.toThrow('told to stop')
  })
})

describe('D3: response times and error rate under a bounded load', () => {
  it('never asks more at the same time than allowed', async () => {
    const sample = await ask({ url: `${base}/slow`, samples: 12, concurrency: 4, latency: { p95: '3s' } })
    expect(sample).toMatchObject({ ok: true, figures: { requests: 12, errorRate: 0 } })
    expect(sample.value).toBe(sample.figures?.['p95'])
    expect(mostOpen).toBe(4)
  })

  it('fails where the answers are too slow', async () => {
    const slow = await ask({ url: `${base}/slow`, samples: 4, concurrency: 4, latency: { p50: '10ms' } })
    expect(slow).toMatchObject({ ok: false })
    expect(slow.text).toMatch(/p50 is \d+(\.\d+)? ms, above 10 ms/)
    expect(await ask({ url: `${base}/slow`, latency: { max: '10ms' } })).toMatchObject({ ok: false })
  })

  it('counts failures against the rate allowed', async () => {
    expect(await ask({ url: `${base}/flaky`, samples: 20, errorRate: 0.1 })).toMatchObject({
      ok: true,
      figures: { errorRate: 0.1 },
    })
    const strict = await ask({ url: `${base}/flaky`, samples: 20, errorRate: 0.05 })
    expect(strict).toMatchObject({ ok: false })
    expect(strict.text).toContain('2 of 20 requests failed: status 503')
  })

  it('does not take missing answers for quick ones', async () => {
    const sample = await ask({ url: `${base}/hang`, timeout: '50ms', errorRate: 1, latency: { p99: '1s' } })
    expect(sample).toMatchObject({ ok: false })
    expect(sample.text).toContain('no request was answered')
  })

  it('finds percentiles by nearest rank', () => {
    const times = Array.from({ length: 100 }, (_, i) => i + 1)
    expect([50, 95, 99, 100].map(p => percentile(times, p))).toEqual([50, 95, 99, 100])
    expect([50, 99].map(p => percentile([5], p))).toEqual([5, 5])
  })
})

describe('the settings of probes', () => {
  it('refuse what cannot work', () => {
    const bad = [
      { kind: 'http', url: base, expect: { bodyMatches: '(' } },
      { kind: 'http', url: base, expect: { status: '2x' } },
      { kind: 'http', url: base, expect: { json: { status: 1 } } },
      { kind: 'http', url: base, method: 'POST', follow: 1 },
      { kind: 'http', url: base, retries: 3 },
      { kind: 'sqlite', path: 'a', query: 'select 1', expect: {} },
      { kind: 'telepathy' },
    ]
    expect(bad.map(config => probeConfig.safeParse(config).success)).toEqual(bad.map(() => false))
  })
})
