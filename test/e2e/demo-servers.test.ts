import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { noMariadb } from '../support/mariadb.ts'
import { noPostgres } from '../support/postgres.ts'

const DEMO = join(import.meta.dirname, '..', '..', 'examples', 'shop', 'demo.ts')

async function demo(program: string, ...argv: readonly string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(program, argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  const folder = /^Everything lies in (\S+);/m.exec(text)?.[1]
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  return { code, text }
}

const LINE = [process.execPath, '--disable-warning=ExperimentalWarning', DEMO, '--database']

/** Why no folder can be hidden from one process alone, or null. */
function noNamespace(): string | null {
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' })
  return tried.status === 0 ? null : 'a mount namespace of its own needs root'
}

const unhidden = noNamespace()

const SERVERS = [
  { database: 'postgres', server: 'PostgreSQL', hidden: '/usr/lib/postgresql', skipped: noPostgres() },
  { database: 'mysql', server: 'MariaDB', hidden: '/usr/sbin', skipped: noMariadb() },
]

describe.each(SERVERS)('C13 C14: the demo on $server', ({ database, server, hidden, skipped }) => {
  it.skipIf(skipped !== null)(
    `restores, and carries forward what users wrote${skipped === null ? '' : ` (${skipped})`}`,
    { timeout: 400_000 },
    async () => {
      const { code, text } = await demo(process.execPath, ...LINE.slice(1), database)
      expect(code, text.slice(-3000)).toBe(0)
      expect(text).toMatch(new RegExp(`^Its database is .*${server}`, 'm'))
      expect(text.match(/^✓ .*/gm) ?? []).toHaveLength(11)
      expect(text).toContain('shop is back on v1.2.9, verified.')
      expect(text).toContain('shop-db is back on v1.2.9, verified.')
      expect(text).toMatch(/rows written since the backup: (\d+) \(.*\); \1 carried forward, 0 left in conflict/)
      expect(text).toContain('✓ nothing is left running')
    },
  )
  it.skipIf(unhidden !== null)(
    `says what to install where it is not there${unhidden === null ? '' : ` (${unhidden})`}`,
    async () => {
      const script = 'mount -t tmpfs none "$0" && PATH=/usr/bin:/bin exec "$@"'
      const { code, text } = await demo('unshare', '--mount', 'sh', '-c', script, hidden, ...LINE, database)
      expect({ code, text }).toEqual({
        code: 2,
        text: expect.stringMatching(/^.* is not installed.* apt install .*\n$/),
      })
      expect(text).toContain(server)
    },
  )
})
