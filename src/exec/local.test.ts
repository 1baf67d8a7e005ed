import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { reveal, Secret } from '../core/secret.ts'
import { groupAlive, runLocal } from './local.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-exec-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

/** Ignores what asks it to end, and says its pid. */
const STUBBORN = "trap '' TERM; echo $$ > stubborn; while :; do sleep 0.2; done"

async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) Z /.test(stat)
}

describe('C16: a supervised child', () => {
  it('gives its output and exit code', async () => {
    const result = await runLocal({ argv: ['sh', '-c', 'cat; echo bad >&2; exit 3'], stdin: 'hi', limitMs: 5000 })
    expect(result).toEqual({ code: 3, stdout: 'hi', stderr: 'bad\n' })
  })

  it('keeps the end of a flood, and says what it left out', async () => {
    const { stdout } = await runLocal({ argv: ['sh', '-c', 'yes | head -c 3000000; echo end'], limitMs: 10_000 })
    expect(stdout).toMatch(/^\[\d+ bytes left out\]\n/)
    expect(stdout.endsWith('end\n')).toBe(true)
    expect(stdout.length).toBeLessThan(70_000)
  })

  it('reads a stream and pours its output into another, however much it is', async () => {
    const file = join(dir, 'poured')
    const stdin = Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(100_000, 'x')))
    const stdout = createWriteStream(file)
    const result = await runLocal({ argv: ['sh', '-c', 'cat; exit 3'], stdin, stdout, limitMs: 10_000 })
    expect(result).toMatchObject({ code: 3, stdout: '' })
    expect((await stat(file)).size).toBe(10_000_000)
  })

  it('is ended when its output cannot be taken, or what it reads fails', async () => {
    const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error('no room')) })
    await expect(runLocal({ argv: ['yes'], stdout: full, limitMs: 10_000 })).rejects.toThrow('no room')
    const torn = new Readable({ read: () => torn.destroy(new Error('torn')) })
    await expect(runLocal({ argv: ['cat'], stdin: torn, limitMs: 10_000 })).rejects.toThrow('torn')
  })

  it('does not mind a command that reads only the beginning of a stream', async () => {
    const stdin = Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(100_000, 'x')))
    const result = await runLocal({ argv: ['head', '-c', '3'], stdin, limitMs: 10_000 })
    expect(result).toMatchObject({ code: 0, stdout: 'xxx' })
  })

  it('is ended with all that it started when it runs over its limit, even what ignores TERM', async () => {
    const argv = ['sh', '-c', `sh -c '${STUBBORN.replaceAll("'", "'\\''")}' & sleep 60`]
    await expect(runLocal({ argv, cwd: dir, limitMs: 500 })).rejects.toMatchObject({ code: 'command_timed_out' })
    const pid = Number(await readFile(join(dir, 'stubborn'), 'utf8'))
    expect(await isAlive(pid)).toBe(false)
  })

  it('does not wait for a daemon that it left behind on purpose', async () => {
    const { stdout } = await runLocal({ argv: ['sh', '-c', 'sleep 30 & echo $!'], limitMs: 5000 })
    const pid = Number(stdout)
    expect(await isAlive(pid)).toBe(true)
    process.kill(pid)
  })

  it('does not begin before its group is written down', async () => {
    const seen: string[] = []
    const onSpawn = async (pgid: number) => {
      await new Promise(resolve => setTimeout(resolve, 50))
      seen.push(await readFile(join(dir, 'ran'), 'utf8').catch(() => 'not yet'))
      expect(await groupAlive(pgid, 'r1.step')).toBe(true)
    }
    await runLocal({ argv: ['sh', '-c', 'echo ran > ran'], cwd: dir, limitMs: 5000, idem: 'r1.step', onSpawn })
    expect(seen).toEqual(['not yet'])
    expect(await readFile(join(dir, 'ran'), 'utf8')).toBe('ran\n')
  })

  it('dies with a parent that is killed', async () => {
    const script = join(dir, 'parent.ts')
    const local = JSON.stringify(join(import.meta.dirname, 'local.ts'))
    await writeFile(
      script,
      `import { runLocal } from ${local}
await runLocal({ argv: ['sh', '-c', 'sleep 60'], limitMs: 60000, idem: 'r1.orphan', onSpawn: async g => console.log(g) })`,
    )
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [first] = (await once(parent.stdout, 'data')) as [Buffer]
    const pgid = Number(first.toString())
    parent.kill('SIGKILL')
    await once(parent, 'exit')
    await expect.poll(() => groupAlive(pgid, 'r1.orphan'), { timeout: 5000 }).toBe(false)
  })

  it('shows no secret of its words where it runs over its limit', async () => {
    const word = new Secret('${env:TOKEN}', 'a-token-of-the-test')
    const error: unknown = await runLocal({ argv: ['sh', '-c', 'sleep 9', reveal(word)], limitMs: 100 }).catch(
      (e: unknown) => e,
    )
    expect(error).toMatchObject({ code: 'command_timed_out', message: expect.stringContaining('sleep 9 [secret]') })
  })

  it('says what could not be started, and where', async () => {
    const wrong = runLocal({ argv: ['true'], cwd: join(dir, 'gone'), limitMs: 1000 })
    await expect(wrong).rejects.toMatchObject({ code: 'command_not_started' })
  })
})
