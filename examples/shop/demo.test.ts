import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'

/** Runs the demo as `npm run demo -- ARGV` does, to its end. */
async function demo(...argv: readonly string[]): Promise<{ code: number | null; text: string }> {
  const main = join(import.meta.dirname, 'demo.ts')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...argv], {
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

function expectKept({ code, text }: Awaited<ReturnType<typeof demo>>): void {
  expect(code, text.slice(-3000)).toBe(0)
  expect(text).not.toMatch(/^✗ (every|before|after|the|what|no|users|nothing)/m)
  expect(text.match(/^✓ .*/gm) ?? []).toHaveLength(11)
  expect(text).toContain('shop is back on v1.2.9, verified.')
  expect(text).toContain('shop-db is back on v1.2.9, verified.')
}

it('takes the shop back as promised, twice at once', { timeout: 240_000 }, async () => {
  for (const done of await Promise.all([demo(), demo()])) expectKept(done)
})

it('names what can be asked for, and begins nothing', async () => {
  expect(await demo('--database', 'oracle')).toEqual({
    code: 2,
    text: 'There is no database "oracle" here: it can be sqlite, postgres, mysql\n',
  })
  expect(await demo('--fast')).toMatchObject({ code: 2, text: expect.stringContaining(`Unknown option '--fast'`) })
})
