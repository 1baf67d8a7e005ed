import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Pool } from 'pg'

/** A small shop: what its release folder says it is decides on the column that it keeps amounts in. ARGV: root, port. */
const [root = '', port = ''] = process.argv.slice(2)
const version = readFileSync(join(root, 'current', 'VERSION'), 'utf8').trim()
const amount = version === 'v1' ? 'total' : 'cents'
const pool = new Pool({ connectionString: process.env['DATABASE_URL'] ?? '', max: 2 })
pool.on('error', () => {})
// A release that does not fit the schema does not start.
await pool.query(`SELECT ${amount} FROM orders LIMIT 1`)

const server = createServer((request, response) => {
  route(`${request.method} ${request.url}`, response).catch((error: Error) => {
    response.writeHead(500).end(error.message)
  })
})

async function route(asked: string, response: ServerResponse): Promise<void> {
  if (asked === 'GET /version') {
    response.end(version)
    return
  }
  if (asked === 'GET /smoke') {
    const { rows } = await pool.query<{ n: number }>(`SELECT count(${amount})::int AS n FROM orders`)
    const broken = readFileSync(join(root, 'broken'), 'utf8').trim() === 'yes'
    response.writeHead(broken ? 500 : 200).end(String(rows[0]?.n))
    return
  }
  const { rows } = await pool.query<{ id: number }>(
    `INSERT INTO orders (${amount}, note) VALUES ($1, $2) RETURNING id`,
    [version === 'v1' ? 1 : 100, `on ${version}`],
  )
  response.writeHead(201).end(String(rows[0]?.id))
}

server.listen(Number(port), '127.0.0.1')
await once(server, 'listening')
process.once('SIGTERM', () => process.exit())
