import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { driver, tool } from './project.ts'
import { story } from './story.ts'

const KNEX = tool('knex/bin/cli.js', '--knexfile', 'knexfile.cjs')

/** Outside of a transaction, so that others can read meanwhile, as on a server. */
const HANGS = `exports.config = { transaction: false }
  exports.up = () => new Promise(resolve => setTimeout(resolve, 60000))
  exports.down = () => Promise.resolve()`

story({
  tool: 'knex',
  back: 'code',
  found: p =>
    p.write(
      'knexfile.cjs',
      `const Client = require('knex/lib/dialects/better-sqlite3')
       class NodeSqlite extends Client { _driver() { return require(${JSON.stringify(driver('better-sqlite3.fixture.ts'))}).default } }
       module.exports = { client: NodeSqlite, connection: { filename: ${JSON.stringify(p.file)} }, useNullAsDefault: true }`,
    ),
  write: (p, { version, title, up, down }) =>
    p.write(
      `migrations/${version}_${title}.js`,
      `exports.up = knex => knex.raw(${JSON.stringify(up)})
       exports.down = knex => knex.raw(${JSON.stringify(down)})`,
    ),
  up: p => void p.run([...KNEX, 'migrate:latest']),
  down: () => ['sh', '-c', `${KNEX.join(' ')} migrate:down "$BACKOUT_MIGRATION"`],
  called: ({ version, title }) => `${version}_${title}.js`,
  breaks: async (p, m, inFlight) => {
    await p.write(`migrations/${m.version}_${m.title}.js`, HANGS)
    const [, ...words] = [...KNEX, 'migrate:latest']
    const child = spawn(process.execPath, words, { cwd: p.dir, stdio: 'ignore' })
    const ended = once(child, 'exit')
    while ((await inFlight()).length === 0 && child.exitCode === null) await sleep(50)
    child.kill('SIGKILL')
    await ended
    return 'knex holds its migration lock (knex_migrations_lock)'
  },
})
