import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noSshd, type SshHosts, sshHosts } from '../../test/support/sshd.ts'
import { localRunner, quote, type Runner, sshRunner } from './ssh.ts'
import { runSession } from './ssh-session.ts'

const skipped = noSshd()

/** A zombie is dead: it only waits for its parent to notice. */
function alive(pid: number): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** The process group of a process on the other side. */
async function runGroup(runner: Runner, pid: string): Promise<string> {
  return (await runner.run({ argv: ['ps', '-o', 'pgid=', '-p', pid], limitMs: 5_000 })).stdout.trim()
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await holds()) return
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  throw new Error(`never: ${what}`)
}

describe.skipIf(skipped !== null)(
  `C7: commands over OpenSSH${skipped === null ? '' : ` (skipped: ${skipped})`}`,
  () => {
    let hosts: SshHosts
    let dir: string
    let web: Runner

    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'backout-ssh-'))
      hosts = await sshHosts(['web-1', 'web-2', 'web-3'])
      web = sshRunner({ address: 'web-1', config: hosts.config, connectMs: 3_000 })
    })
    afterAll(async () => {
      await web?.[Symbol.asyncDispose]()
      await hosts?.dispose()
      await rm(dir, { recursive: true, force: true })
    })

    it('gives back output and exit code, 255 included, and keeps every argument as it is', async () => {
      const odd = [`it's`, 'a "b" $HOME `id`', 'back\\slash \\n', 'new\nline', 'ünï', '', '*', '-n']
      const argv = ['sh', '-c', 'printf "<%s>" "$@"; echo err >&2; exit 255', 'x', ...odd]
      const result = await web.run({ argv, limitMs: 5_000 })
      expect(result).toEqual({ code: 255, stdout: odd.map(a => `<${a}>`).join(''), stderr: 'err\n' })
    })

    it('feeds stdin byte by byte, and sets folder and environment', async () => {
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
      const sum = await web.run({ argv: ['od', '-An', '-v', '-tu1'], stdin: bytes, limitMs: 5_000 })
      expect(sum.stdout.trim().split(/\s+/).map(Number)).toEqual([...bytes])
      const where = await web.run({
        argv: ['sh', '-c', 'pwd; echo "$A"'],
        cwd: dir,
        env: { A: "x'y $z" },
        limitMs: 5_000,
      })
      expect(where.stdout).toBe(`${dir}\nx'y $z\n`)
    })

    it('says that a folder is not there, and gives 127 for a command that is not', async () => {
      await expect(web.run({ argv: ['true'], cwd: '/no/such', limitMs: 5_000 })).rejects.toMatchObject({
        code: 'command_not_started',
      })
      expect((await web.run({ argv: ['no-such-command'], limitMs: 5_000 })).code).toBe(127)
    })

    it('puts the environment into no command line that others on the host can read', async () => {
      const result = await web.run({
        argv: ['sh', '-c', 'ps -e -o args= | grep -c "[b]ackout-hidden-word" || true', 'x'],
        env: { HIDDEN: 'backout-hidden-word' },
        limitMs: 5_000,
      })
      expect(result.stdout.trim()).toBe('0')
    })

    it('uses one connection for many commands at a time, by several runners', async () => {
      await using again = sshRunner({ address: 'web-1', config: hosts.config })
      const before = hosts.logins('web-1')
      const results = await Promise.all(
        Array.from({ length: 24 }, (_, i) =>
          (i % 2 ? web : again).run({ argv: ['sh', '-c', `sleep 0.05; echo ${i}`], limitMs: 20_000 }),
        ),
      )
      expect(results.map(r => r.stdout.trim())).toEqual(Array.from({ length: 24 }, (_, i) => String(i)))
      expect(hosts.logins('web-1')).toBe(before)
    })

    it('ends the whole group at the limit, what ignores TERM included', async () => {
      const file = join(dir, 'stubborn')
      const script = `sh -c 'trap "" TERM; echo $$ > ${file}; while :; do sleep 1; done' & wait`
      const run = web.run({ argv: ['sh', '-c', script], limitMs: 400 })
      await expect(run).rejects.toMatchObject({ code: 'command_timed_out' })
      const pid = Number(await readFile(file, 'utf8'))
      await until('the stubborn process is gone', () => !alive(pid))
    })

    it('asks with TERM before it ends with KILL', async () => {
      const file = join(dir, 'polite')
      const script = `trap 'echo bye >${file}; exit' TERM; sleep 30 & wait`
      await expect(web.run({ argv: ['sh', '-c', script], limitMs: 300 })).rejects.toMatchObject({
        code: 'command_timed_out',
      })
      expect(await readFile(file, 'utf8')).toBe('bye\n')
    })

    it('ends the command when aborted, and does not start it when aborted before', async () => {
      const file = join(dir, 'aborted')
      const gone = new AbortController()
      const run = web.run({ argv: ['sh', '-c', `echo $$ > ${file}; exec sleep 60`], limitMs: 60_000 }, gone.signal)
      run.catch(() => {})
      await until('it runs', async () => (await readFile(file, 'utf8').catch(() => '')) !== '')
      gone.abort(new Error('stop'))
      await expect(run).rejects.toMatchObject({ code: 'command_stopped' })
      expect(alive(Number(await readFile(file, 'utf8')))).toBe(false)
      await expect(web.run({ argv: ['true'], limitMs: 1_000 }, gone.signal)).rejects.toThrow('stop')
    })

    it('starts only once onSpawn has resolved, and not at all where it failed', async () => {
      const file = join(dir, 'spawned')
      const fail = async () => {
        throw new Error('disk full')
      }
      await expect(web.run({ argv: ['touch', file], limitMs: 5_000, onSpawn: fail })).rejects.toThrow('disk full')
      await expect(readFile(file)).rejects.toThrow('ENOENT')
      let group = 0
      const result = await web.run({
        argv: ['sh', '-c', 'ps -o pgid= -p $$'],
        limitMs: 5_000,
        onSpawn: async pgid => void (group = pgid),
      })
      expect(Number(result.stdout)).toBe(group)
    })

    it('keeps the end of a flood and says what it left out', async () => {
      const result = await web.run({
        argv: ['sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x; echo; echo last'],
        limitMs: 20_000,
        keepBytes: 1_000,
      })
      expect(result.stdout).toMatch(/^\[\d+ bytes left out\]\nx+\nlast\n$/)
      expect(result.stdout.length).toBeLessThan(1_500)
    })

    it('returns although a daemon keeps the output open', async () => {
      const result = await web.run({ argv: ['sh', '-c', '(sleep 20) & echo $!; exit 3'], limitMs: 10_000 })
      expect(result.code).toBe(3)
      const pid = Number(result.stdout)
      expect(alive(pid)).toBe(true)
      process.kill(pid)
    })

    it('runs one command after another in one login, each in a process group of its own', async () => {
      await using runner = sshRunner({ address: 'web-1', config: hosts.config, connectMs: 3_000 })
      const argv = ['sh', '-c', 'echo err >&2; ps -o pgid=,ppid= -p $PPID']
      const seen = new Set<string>()
      const groups = new Set<string>()
      for (let i = 0; i < 4; i++) {
        const { stdout, stderr } = await runner.run({ argv, limitMs: 5_000, idem: `step-${i}` })
        expect(stderr).toBe('err\n')
        const [group = '', parent = ''] = stdout.trim().split(/\s+/)
        groups.add(group)
        // The supervisor's parent is a part of the dispatcher's pipeline, in the group of the login.
        seen.add(await runGroup(runner, parent))
      }
      expect(groups.size).toBe(4)
      expect(seen.size).toBe(1)
    })

    it('gives the next command a login of its own where one left something that still prints', async () => {
      await using runner = sshRunner({ address: 'web-2', config: hosts.config, connectMs: 3_000 })
      const chatty = '(while :; do echo noise; echo noise >&2; sleep 0.02; done) & echo $!'
      const pid = Number((await runner.run({ argv: ['sh', '-c', chatty], limitMs: 10_000 })).stdout.split('\n')[0])
      for (let i = 0; i < 3; i++) {
        const argv = ['sh', '-c', 'sleep 0.1; echo out; echo err >&2']
        expect(await runner.run({ argv, limitMs: 10_000 })).toEqual({ code: 0, stdout: 'out\n', stderr: 'err\n' })
      }
      try {
        process.kill(pid)
      } catch {
        // It ended with its output.
      }
    })

    it('takes another login where the host ended the one that waited', async () => {
      await using runner = sshRunner({ address: 'web-1', config: hosts.config, connectMs: 3_000 })
      const login = 'ps -o ppid= -p $PPID | xargs ps -o ppid= -p'
      const dispatcher = Number((await runner.run({ argv: ['sh', '-c', login], limitMs: 5_000 })).stdout)
      expect(dispatcher).toBeGreaterThan(1)
      process.kill(dispatcher, 'SIGKILL')
      for (const word of ['a', 'b']) {
        expect((await runner.run({ argv: ['echo', word], limitMs: 5_000 })).stdout).toBe(`${word}\n`)
      }
    })

    it('ends the command on the other side when this process is killed', async () => {
      const file = join(dir, 'orphan')
      const script = join(dir, 'holder.mjs')
      await writeFile(
        script,
        `import { sshRunner } from ${JSON.stringify(import.meta.resolve('./ssh.ts'))}
      const runner = sshRunner({ address: 'web-2', config: ${JSON.stringify(hosts.config)} })
      await runner.run({ argv: ['sh', '-c', 'echo $$ > ${file}; exec sleep 60'], limitMs: 60000 })`,
      )
      const holder = spawn(process.execPath, [script], { stdio: 'ignore' })
      await until('it runs', async () => (await readFile(file, 'utf8').catch(() => '')) !== '')
      const pid = Number(await readFile(file, 'utf8'))
      expect(alive(pid)).toBe(true)
      holder.kill('SIGKILL')
      await until('the command is gone', () => !alive(pid))
    })

    it('tells a lost connection from an exit code, ends the command there, and connects again', async () => {
      await using runner = sshRunner({ address: 'web-2', config: hosts.config, connectMs: 2_000 })
      const file = join(dir, 'cut')
      const run = runner.run({ argv: ['sh', '-c', `echo $$ > ${file}; exec sleep 60`], limitMs: 60_000 })
      run.catch(() => {})
      await until('it runs', async () => (await readFile(file, 'utf8').catch(() => '')) !== '')
      await hosts.stop('web-2')
      await expect(run).rejects.toMatchObject({
        code: 'host_unreachable',
        message: expect.stringContaining('was lost'),
      })
      const pid = Number(await readFile(file, 'utf8'))
      await until('the command is gone', () => !alive(pid))
      await expect(runner.run({ argv: ['true'], limitMs: 5_000 })).rejects.toMatchObject({ code: 'host_unreachable' })
      await hosts.start('web-2')
      expect((await runner.run({ argv: ['echo', 'back'], limitMs: 5_000 })).stdout).toBe('back\n')
    })

    it('tells a changed host key, an unknown one and a refused login apart', async () => {
      await hosts.changeKey('web-3')
      await using changed = sshRunner({ address: 'web-3', config: hosts.config })
      await expect(changed.run({ argv: ['true'], limitMs: 5_000 })).rejects.toMatchObject({
        code: 'host_key_changed',
        why: expect.stringMatching(/^SHA256:/),
        next: expect.stringMatching(/`ssh-keygen -f ".*known_hosts" -R "\[127\.0\.0\.1\]:\d+"`/),
      })
      const text = await readFile(hosts.config, 'utf8')
      const strange = join(dir, 'strange_config')
      await writeFile(strange, text.replaceAll(/UserKnownHostsFile .*/g, 'UserKnownHostsFile /dev/null'))
      await using unknown = sshRunner({ address: 'web-1', config: strange })
      await expect(unknown.run({ argv: ['true'], limitMs: 5_000 })).rejects.toMatchObject({ code: 'host_key_unknown' })
      const keyless = join(dir, 'keyless_config')
      await writeFile(keyless, text.replaceAll(/IdentityFile .*/g, 'IdentityFile /dev/null'))
      await using denied = sshRunner({ address: 'web-1', config: keyless })
      await expect(denied.run({ argv: ['true'], limitMs: 5_000 })).rejects.toMatchObject({ code: 'ssh_denied' })
    })
  },
)

const shells = ['dash', 'bash', 'busybox'].flatMap(name => {
  const path = ['/bin', '/usr/bin'].map(dir => join(dir, name)).find(file => existsSync(file))
  return path === undefined ? [] : [[name, path] as const]
})

describe.each(shells)('C7: the supervisor of the other side under %s', (_, shell) => {
  let bin: string
  const path = process.env.PATH
  beforeAll(async () => {
    bin = await mkdtemp(join(tmpdir(), 'backout-shell-'))
    await symlink(shell, join(bin, 'sh'))
    process.env.PATH = `${bin}:${path}`
  })
  afterAll(async () => {
    process.env.PATH = path
    await rm(bin, { recursive: true, force: true })
  })

  it('keeps arguments, stdin and exit code', async () => {
    const argv = ['sh', '-c', 'printf "<%s>" "$@"; od -An -tu1; exit 255', 'x', "it's\n\\n", '$HOME']
    const result = await runSession(['sh', '-c'], 'here', {
      argv,
      stdin: Uint8Array.of(0, 10, 92, 255),
      limitMs: 5_000,
    })
    expect(result.code).toBe(255)
    expect(result.stdout.replaceAll(/ +/g, ' ')).toBe("<it's\n\\n><$HOME> 0 10 92 255\n")
  })

  it('ends what ignores TERM', async () => {
    const file = join(bin, 'pid')
    const argv = ['sh', '-c', `trap '' TERM; echo $$ >${file}; while :; do sleep 1; done`]
    const run = runSession(['sh', '-c'], 'here', { argv, limitMs: 1_000 })
    await expect(run).rejects.toMatchObject({ code: 'command_timed_out' })
    expect(alive(Number(await readFile(file, 'utf8')))).toBe(false)
  })
})

describe('a runner on this machine', () => {
  it('runs as runLocal does', async () => {
    await using here = localRunner()
    expect(await here.run({ argv: ['sh', '-c', 'echo hi; exit 4'], limitMs: 5_000 })).toMatchObject({
      code: 4,
      stdout: 'hi\n',
    })
  })

  it('quotes for the shell', () => {
    expect(["it's", 'plain-1.0', '', '$x'].map(quote)).toEqual([`'it'\\''s'`, 'plain-1.0', `''`, `'$x'`])
  })
})
