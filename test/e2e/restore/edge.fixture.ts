import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, request as ask } from 'node:http'

/** What stands before the shop: one door for those outside, one for those inside. ARGV: file, app's port, outside, inside. */
const [file = '', app = '', ...doors] = process.argv.slice(2)
const OPEN_TO: Record<string, readonly string[]> = { closed: [], inside: ['inside'], open: ['outside', 'inside'] }

for (const [i, name] of ['outside', 'inside'].entries()) {
  const server = createServer((request, response) => {
    const allowed = OPEN_TO[readFileSync(file, 'utf8').trim()]?.includes(name) === true
    if (!allowed) {
      response.writeHead(503).end('maintenance')
      return
    }
    const { method, url } = request
    const onward = ask({ host: '127.0.0.1', port: Number(app), method, path: url, agent: false }, answer => {
      response.writeHead(answer.statusCode ?? 502)
      answer.pipe(response)
    })
    onward.on('error', () => response.writeHead(502).end('bad gateway'))
    request.pipe(onward)
  })
  server.listen(Number(doors[i]), '127.0.0.1')
  await once(server, 'listening')
}
process.once('SIGTERM', () => process.exit())
