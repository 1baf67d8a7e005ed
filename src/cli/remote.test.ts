import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noSshd, type SshHosts, sshHosts } from '../../test/support/sshd.ts'
import { build } from './program.ts'
import { forward } from './remote.ts'

/** Gives a command a terminal of its own. */
const SCRIPT = 'script'
const MAIN = join(import.meta.dirname, '..', 'main.ts')

interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A person's folder with a backout.yaml whose home is on another machine, and the "application" on that machine. */
class Site {
  readonly dir: string
  readonly home: string
  readonly host: string
  readonly #env: NodeJS.ProcessEnv

  constructor(dir: string, host: string, env: NodeJS.ProcessEnv) {
    this.dir = dir
    this.home = join(dir, 'home')
    this.host = host
    this.#env = env
  }

  /** Its version in a file, slow to change while another file is there, and impossible while a third one is. */
  async make(): Promise<this> {
    for (const folder of ['world', 'alice', 'ci']) await mkdir(join(this.dir, folder))
    await this.release('A')
    for (const who of ['alice', 'ci']) await this.configure(who)
    return this
  }

  configure(
    who: string,
    { more = '', at = `ssh://${this.host}${this.home}`, command = this.#command() } = {},
  ): Promise<void> {
    return writeFile(
      join(this.dir, who, 'backout.yaml'),
      `environment: shop
home: { at: "${at}", command: "${command}" }
components:
  app:
    adapter: command
    settings:
      identity: shop
      cwd: ${this.world('')}
      observe: 'printf "{\\"state\\":\\"%s\\",\\"summary\\":\\"version %s\\"}" "$(cat app)" "$(cat app)"'
      apply: 'touch begun; while [ -e hold ]; do sleep 0.05; done; test ! -e broken && printf %s "$BACKOUT_PIN" | tr -d \\" > app'
      verify: 'test "\\"$(cat app)\\"" = "$BACKOUT_PIN"'
${more}`,
    )
  }

  #command(): string {
    return `env BACKOUT_KEYS=${this.home}.keys NODE_COMPILE_CACHE=${this.#env['NODE_COMPILE_CACHE']} ${process.execPath} --disable-warning=ExperimentalWarning ${MAIN}`
  }

  world(name: string): string {
    return join(this.dir, 'world', name)
  }
  release(version: string): Promise<void> {
    return writeFile(this.world('app'), version)
  }
  version(): Promise<string> {
    return readFile(this.world('app'), 'utf8')
  }
  hold(): Promise<void> {
    return writeFile(this.world('hold'), '')
  }
  letGo(): Promise<void> {
    return rm(this.world('hold'))
  }

  start(who: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}): Started {
    return new Started(
      spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...argv], {
        cwd: join(this.dir, who),
        env: { ...this.#env, XDG_CONFIG_HOME: join(this.dir, 'mine'), ...env },
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    )
  }
  /** In a terminal of its own. */
  terminal(who: string, argv: readonly string[]): Started {
    const line = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, ...argv].join(' ')
    const env = { ...this.#env, TERM: 'xterm' }
    return new Started(
      spawn(SCRIPT, ['-qfec', line, '/dev/null'], { cwd: join(this.dir, who), env, stdio: ['pipe', 'pipe', 'pipe'] }),
    )
  }
  backout(who: string, ...argv: string[]): Promise<Said> {
    return this.start(who, argv).ended
  }
  async ok(who: string, ...argv: string[]): Promise<string> {
    const said = await this.backout(who, ...argv)
    expect(said, argv.join(' ')).toMatchObject({ code: 0 })
    return said.stdout
  }
  /** v1 is captured on that machine itself, and something newer has taken its place. */
  async upgraded(): Promise<this> {
    await mkdir(this.home)
    await copyFile(join(this.dir, 'alice', 'backout.yaml'), join(this.home, 'backout.yaml'))
    const there = { BACKOUT_HOME: this.home, BACKOUT_KEYS: `${this.home}.keys` }
    expect(await this.start('alice', ['capture', 'v1', '--known-good'], there).ended).toMatchObject({ code: 0 })
    await this.release('B')
    return this
  }
}

class Started {
  readonly child: ChildProcess
  readonly ended: Promise<Said>
  #seen = ''

  constructor(child: ChildProcess) {
    this.child = child
    const text = { stdout: '', stderr: '' }
    child.stdout?.on('data', (chunk: Buffer) => void ((text.stdout += chunk.toString()), (this.#seen = text.stdout)))
    child.stderr?.on('data', (chunk: Buffer) => void (text.stderr += chunk.toString()))
    this.ended = (once(child, 'close') as Promise<[number | null]>).then(([code]) => ({ code, ...text }))
  }
  says(text: string): Promise<void> {
    return until(
      () => this.#seen.includes(text),
      () => `"${text}" in: ${this.#seen}`,
    )
  }
}

async function until(what: () => Promise<boolean> | boolean, name = () => String(what)): Promise<void> {
  for (let i = 0; i < 800; i++) {
    if (await what()) return
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  throw new Error(`it never came: ${name()}`)
}

const saying = (text: string) => expect.stringContaining(text) as string

const missing = noSshd()

describe.skipIf(missing !== null)(
  `several people, one ledger and one lock${missing ? ` (${missing})` : ''}`,
  { timeout: 60_000 },
  () => {
    let hosts: SshHosts
    let dir: string
    let env: NodeJS.ProcessEnv
    let count = 0

    beforeAll(async () => {
      hosts = await sshHosts(['ops1', 'ops2', 'ops3'])
      dir = await mkdtemp(join(tmpdir(), 'backout-remote-'))
      const bin = join(dir, 'bin')
      await mkdir(bin)
      const ssh = execFileSync('sh', ['-c', 'command -v ssh'], { encoding: 'utf8' }).trim()
      await writeFile(join(bin, 'ssh'), `#!/bin/sh\nexec ${ssh} -F ${hosts.config} "$@"\n`, { mode: 0o755 })
      const { BACKOUT_HOME: _h, BACKOUT_USER: _u, BACKOUT_CONFIG: _c, ...rest } = process.env
      env = { ...rest, PATH: `${bin}:${rest['PATH']}`, NODE_COMPILE_CACHE: join(dir, 'cache') }
    })
    afterAll(async () => {
      await hosts.dispose()
      await rm(dir, { recursive: true, force: true })
    })

    async function site(host = 'ops1'): Promise<Site> {
      const own = join(dir, String(++count))
      await mkdir(own)
      return new Site(own, host, env).make()
    }

    it('C16: goes the whole way over there, in one ledger, with nothing left here', async () => {
      const s = await site('ops2')
      const first = await s.backout('alice', 'capture', 'v1', '--known-good')
      expect(first).toMatchObject({ code: 0, stdout: saying('v1 is captured') })
      expect(first.stderr).toContain(`A new home is made: ops2:${s.home}`)
      await s.release('B')
      const before = hosts.logins('ops2')
      const plan = JSON.parse(await s.ok('ci', 'plan', '--json', '--out', 'sub.json')) as { to: { release: string } }
      expect(plan.to.release).toBe('v1')
      expect(hosts.logins('ops2') - before).toBe(2)
      expect(await readdir(join(s.dir, 'ci'))).toEqual(['backout.yaml', 'sub.json'])
      const ran = await s.backout('alice', 'run', '../ci/sub.json', '--yes', '--reason', "it's $bad; `no`")
      expect(ran).toMatchObject({ code: 0, stdout: saying('shop is back on v1, verified.') })
      expect(await s.version()).toBe('A')
      const status = JSON.parse(await s.ok('ci', 'status', '--json')) as { state: string; by: string }
      expect(status.state).toBe('succeeded')
      expect(status.by).toBe(`${userInfo().username}@${hostname()}`)
      expect(await s.ok('ci', 'report', '--out', 'r.md')).toContain('r.md')
      expect(await readFile(join(s.dir, 'ci', 'r.md'), 'utf8')).toMatch(/^# /)
      expect(journalOf(s.home)).toContain("it's $bad; `no`")
      expect(await readdir(join(s.dir, 'alice'))).toEqual(['backout.yaml'])
      expect(existsSync(join(s.dir, 'mine', 'backout'))).toBe(false)
      expect(await readdir(join(s.home, 'transfer'))).toEqual([])
      expect(await s.ok('ci', 'audit', 'verify')).toContain('as they were written')
    })

    it('C16: one run at a time; a client that is killed leaves it going, and others see its end', async () => {
      const s = await (await site()).upgraded()
      await s.hold()
      const alice = s.start('alice', ['run', '--yes'], { BACKOUT_USER: 'alice' })
      await until(() => existsSync(s.world('begun')))
      const second = await s.backout('ci', 'run', '--yes', '--json')
      expect(second.code).toBe(8)
      expect(JSON.parse(second.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({ error: { code: 'run_open' } })
      process.kill(-(alice.child.pid ?? 0), 'SIGKILL')
      const watching = s.start('ci', ['status', '--follow'])
      await watching.says('== code')
      await s.letGo()
      expect(await watching.ended).toMatchObject({ code: 0, stdout: saying('back on v1') })
      expect(await s.version()).toBe('A')
      expect(JSON.parse(await s.ok('ci', 'status', '--json'))).toMatchObject({ state: 'succeeded', by: 'alice' })
    })

    it('says how a run ended by the exit code, and what is asked is answered from anywhere', async () => {
      const s = await (await site()).upgraded()
      await writeFile(s.world('broken'), '')
      expect(await s.backout('alice', 'run', '--yes')).toMatchObject({ code: 5, stdout: saying('backout resume') })
      await rm(s.world('broken'))
      const resumed = await s.backout('ci', 'resume')
      expect(resumed).toMatchObject({ code: 0, stdout: saying('back on v1') })
      expect(resumed.stdout).not.toContain('== code')
      expect(await s.backout('ci', 'revert', '--yes')).toMatchObject({ code: 0 })
      expect(await s.version()).toBe('B')
      await writeFile(s.world('broken'), '')
      expect((await s.backout('alice', 'run', '--yes')).code).toBe(5)
      expect((await s.backout('ci', 'abort')).code).toBe(7)
    })

    it('tells a watcher when the process of the run is gone', async () => {
      const s = await (await site()).upgraded()
      await s.hold()
      const alice = s.start('alice', ['run', '--yes'])
      await until(() => existsSync(s.world('begun')))
      const { owner } = JSON.parse(await s.ok('ci', 'status', '--json')) as { owner: { pid: number } }
      process.kill(owner.pid, 'SIGKILL')
      expect(await alice.ended).toMatchObject({ code: 6, stderr: saying('backout resume') })
      await s.letGo()
      expect((await s.backout('ci', 'resume')).code).toBe(0)
      expect(await s.version()).toBe('A')
    })

    it('asks at the terminal before, draws there, and Ctrl-C only ends the watching', async () => {
      const s = await (await site()).upgraded()
      await s.hold()
      const terminal = s.terminal('alice', ['run'])
      await terminal.says('Type shop to go back')
      terminal.child.stdin?.write('shop\r')
      await terminal.says('0 of 1 step')
      await until(() => existsSync(s.world('begun')))
      terminal.child.stdin?.write('\x03')
      expect(await terminal.ended).toMatchObject({ code: 130, stdout: saying('No longer watching. Run') })
      await s.letGo()
      await until(async () => (await s.version()) === 'A')
    })

    it('detaches where it is told to, and stops watching by a signal without a terminal', async () => {
      const s = await (await site()).upgraded()
      await s.hold()
      const detached = await s.backout('alice', 'run', '--yes', '--detach')
      expect(detached).toMatchObject({ code: 0, stdout: saying('goes on by itself') })
      const watching = s.start('ci', ['status', '--follow'])
      await watching.says('== code')
      watching.child.kill('SIGINT')
      expect(await watching.ended).toMatchObject({ code: 130, stderr: saying('goes on there') })
      await s.letGo()
      await until(async () => (await s.version()) === 'A')
    })

    it('A3: exports to this machine and imports from it; the passphrase stands in no command line', async () => {
      const s = await site()
      await s.ok('alice', 'capture', 'v1', '--known-good')
      const secret = { BACKOUT_PASSPHRASE: 'correct horse $battery' }
      const exported = await s.start('alice', ['release', 'export', 'v1', 'v1.backout'], secret).ended
      expect(exported).toMatchObject({ code: 0 })
      const file = join(s.dir, 'alice', 'v1.backout')
      expect(await readFile(file, 'latin1')).toMatch(/^age-encryption.org\/v1\n-> scrypt/)
      expect(exported.stdout).toContain(
        createHash('sha256')
          .update(await readFile(file))
          .digest('hex'),
      )
      const again = await s.start('alice', ['release', 'export', 'v1', 'v1.backout'], secret).ended
      expect(again).toMatchObject({ code: 2, stderr: saying('file_exists') })
      const nobody = await s.backout('alice', 'release', 'export', 'v1', 'other.backout')
      expect(nobody).toMatchObject({ code: 2, stderr: saying('no_passphrase') })
      await rm(join(s.home, 'environments', 'shop', 'releases'), { recursive: true })
      const imported = await s.start('ci', ['release', 'import', '../alice/v1.backout'], secret).ended
      expect(imported).toMatchObject({ code: 0, stdout: saying('It was known-good there') })
      const wrong = await s.start('ci', ['release', 'import', '../alice/v1.backout'], { BACKOUT_PASSPHRASE: 'other' })
        .ended
      expect(wrong).toMatchObject({ code: 3, stderr: saying('package_locked') })
      expect(await s.ok('ci', 'releases')).toMatch(/v1 +captured/)
      expect(await readdir(join(s.home, 'transfer'))).toEqual([])
      const events = journalOf(s.home)
      for (const type of ['"exported"', '"imported"']) expect(events).toContain(type)
      expect(events).not.toContain('battery')
    })

    it('keeps one backout.yaml there: replaced with a word, and never by a wrong one', async () => {
      const s = await site('ops2')
      await s.ok('alice', 'releases')
      await s.configure('ci', { more: 'policy: { concurrency: 3 }\n' })
      expect(await s.backout('ci', 'releases')).toMatchObject({ code: 0, stderr: saying('is replaced by') })
      expect(await readFile(join(s.home, 'backout.yaml'), 'utf8')).toContain('concurrency: 3')
      await s.configure('alice', { more: 'policy: { concurency: 3 }\n' })
      const wrong = await s.backout('alice', 'releases')
      expect(wrong).toMatchObject({ code: 2, stderr: saying(join(s.dir, 'alice', 'backout.yaml')) })
      expect(await readFile(join(s.home, 'backout.yaml'), 'utf8')).toContain('concurrency: 3')
    })

    it.each<[string, number, string, string, Parameters<Site['configure']>[1], string[]]>([
      ['no such host', 3, 'host_unreachable', 'nowhere.invalid', { at: 'ssh://nowhere.invalid/x' }, ['status']],
      ['a folder that cannot be', 3, 'home_unusable', '/proc/none', { at: 'ssh://ops1/proc/none' }, ['status']],
      ['no Backout there', 3, 'backout_missing', 'command:', { command: 'backout-none' }, ['status']],
      ['a plan that is not here', 2, 'file_unreadable', 'none.json', {}, ['run', 'none.json']],
    ])('says what to do: %s', async (_, code, name, hint, config, argv) => {
      const s = await site()
      await s.configure('ci', config)
      const said = await s.backout('ci', ...argv)
      expect(said).toMatchObject({ code, stderr: saying(`error [${name}]`) })
      expect(said.stderr).toContain(hint)
      expect(said.stderr).toContain('next:')
    })

    it('says what to do: a host that goes down, is down, or is another one by its key', async () => {
      const s = await (await site('ops3')).upgraded()
      await s.hold()
      const watching = s.start('ci', ['run', '--yes'])
      await until(() => existsSync(s.world('begun')))
      await hosts.stop('ops3')
      expect(await watching.ended).toMatchObject({ code: 1, stderr: saying('error [connection_lost]') })
      const down = await s.backout('ci', 'status', '--json')
      expect(down.code).toBe(3)
      expect(JSON.parse(down.stdout)).toMatchObject({ error: { code: 'host_unreachable' } })
      await s.letGo()
      await until(async () => (await s.version()) === 'A')
      await hosts.changeKey('ops3')
      expect(await s.backout('ci', 'status')).toMatchObject({ code: 9, stderr: saying('error [host_key_changed]') })
    })

    it('is never sent on from the machine itself', async () => {
      const s = await site()
      const argv = ['status', '--config', join(s.dir, 'alice', 'backout.yaml')]
      const before = process.env['BACKOUT_HOME']
      process.env['BACKOUT_HOME'] = s.home
      const answer = await forward(argv, build)
      if (before === undefined) delete process.env['BACKOUT_HOME']
      else process.env['BACKOUT_HOME'] = before
      expect(answer).toBeNull()
    })
  },
)

function journalOf(home: string): string {
  const db = new DatabaseSync(join(home, 'journal.db'))
  const all = ['SELECT type, data FROM events', 'SELECT input FROM runs'].map(sql => db.prepare(sql).all())
  db.close()
  return JSON.stringify(all)
}
