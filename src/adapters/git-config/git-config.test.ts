import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, lstat, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Fact, Proposal, StepAct, Target } from '../../core/contract.ts'
import type { GitConfigPin } from './config.ts'
import { makePlace } from './git-config.fixture.ts'
import { gitConfig } from './index.ts'

const signal = new AbortController().signal

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}

function nginxConf(port: number, word: string): string {
  return `daemon off; pid nginx.pid; error_log error.log; worker_processes 1;
events { worker_connections 16; }
http { access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server { listen 127.0.0.1:${port}; return 200 ${word}; }
  include conf.d/*.conf; }
`
}

conformance('git-config with nginx', {
  adapter: gitConfig,
  rungs: ['place'],
  make: async () => {
    const port = await freePort()
    const files = { 'nginx.conf': nginxConf(port, 'A'), 'conf.d/old.conf': '# only in A\n' }
    const bad = { 'nginx.conf': nginxConf(port, 'B'), 'conf.d/new.conf': '# only in B\n', 'conf.d/old.conf': null }
    const it = await makePlace(files)
    const other = await makePlace(files)
    const nginx = spawn('nginx', ['-p', it.live, '-c', 'nginx.conf'], { stdio: 'ignore' })
    const ask = () =>
      fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } }).then(
        r => r.text(),
        () => '',
      )
    while ((await ask()) !== 'A') await sleep(20)
    const reload = ['nginx', '-p', it.live, '-c', 'nginx.conf', '-s', 'reload']
    return {
      open: () => it.open({ check: 'nginx -t -q -p {dir} -c nginx.conf', reload }),
      openOther: () => other.open(),
      upgrade: async () => {
        if (it.git('rev-list', '--count', 'HEAD') === '1') await it.commit(bad)
        await it.write(bad)
        const [command = '', ...words] = reload
        execFileSync(command, words)
      },
      // nginx changes its workers a moment after the reload came back.
      serves: async () => {
        const said = (await readFile(join(it.live, 'nginx.conf'), 'utf8')).includes('return 200 A') ? 'A' : 'B'
        let inRow = 0
        for (let i = 0; i < 200 && inRow < 5; i++) {
          inRow = (await ask()) === said ? inRow + 1 : 0
          if (inRow === 0) await sleep(10)
        }
        return inRow === 5 ? said : 'other'
      },
      dispose: async () => {
        nginx.kill('SIGTERM')
        await once(nginx, 'exit')
        await it.dispose()
        await other.dispose()
      },
    }
  },
})

describe('C10: configuration taken back to a commit', () => {
  const A = { 'app.conf': 'good\n', 'sub/list.conf': 'one\n', 'gone.conf': 'was here\n' }
  const B = { 'app.conf': 'bad\n', 'extra.conf': 'new\n', 'gone.conf': null }
  let place: Awaited<ReturnType<typeof makePlace>>
  let target: Target<GitConfigPin>
  let pin: GitConfigPin
  beforeEach(async () => {
    place = await makePlace(A)
    await writeFile(join(place.live, 'secrets.conf'), 'of nobody else\n', { mode: 0o600 })
    target = await place.open()
    pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await place.commit(B)
    await place.write(B)
  })
  afterEach(() => place.dispose())

  const propose = async (t = target): Promise<Proposal> =>
    t.propose({
      from: await t.observe(signal),
      to: pin,
      release: 'v1',
      rung: 'place',
      needs: [],
      dependents: [],
      dependencies: [],
      upgradedAt: null,
      mode: 'full',
      signal,
    })
  const codes = (p: Proposal, level: string) => p.findings.filter(f => f.level === level).map(f => f.code)
  async function run(t = target, more: Partial<StepAct> = {}) {
    for (const step of ordered(await propose(t))) await t.apply(step, { ...stepAct(step), ...more })
  }
  const read = (path: string) => readFile(join(place.live, path), 'utf8')

  it('puts the files of the commit there, takes away those of the bad one, keeps what is neither, and the old ones', async () => {
    await chmod(join(place.live, 'app.conf'), 0o640)
    const facts: Fact[] = []
    await run(target, { idem: 'k', tell: async fact => void facts.push(fact) })
    expect((await readdir(place.live)).sort()).toEqual(['app.conf', 'gone.conf', 'secrets.conf', 'sub'])
    expect([await read('app.conf'), await read('gone.conf'), await read('secrets.conf')]).toEqual([
      'good\n',
      'was here\n',
      'of nobody else\n',
    ])
    expect((await stat(join(place.live, 'app.conf'))).mode & 0o777).toBe(0o640)
    const kept = join(place.dir, 'state', 'kept', 'k')
    expect(facts.map(f => f.data)).toEqual([{ folder: kept }])
    expect([await readFile(join(kept, 'conf/app.conf'), 'utf8'), (await readdir(join(kept, 'conf'))).sort()]).toEqual([
      'bad\n',
      ['app.conf', 'extra.conf', 'sub'],
    ])
    expect((await target.observe(signal)).summary).toMatch(/^v1 \(/)
  })

  it('checks the files ahead, and again before they are put in place, as they will be', async () => {
    const check =
      'test "$(cat {dir}/app.conf {dir}/secrets.conf | tr "\\n" " ")" = "good of nobody else " && test ! -e {dir}/extra.conf && test ! -e forbid || { echo "no good: {dir}" >&2; false; }'
    const checked = await place.open({ check })
    const [step] = ordered(await propose(checked))
    if (step === undefined) throw new Error('no step')
    await writeFile(join(place.dir, 'forbid'), '')
    const proposal = await propose(checked)
    expect(proposal.findings).toMatchObject([
      { level: 'blocker', code: 'check_failed', what: expect.stringContaining('no good: {dir}') },
    ])
    await expect(checked.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'check_failed' })
    expect(await read('app.conf')).toBe('bad\n')
    expect((await checked.verify(step, stepAct(step))).is).toBe('not-done')
  })

  it('reports live files that are of no commit, or blocks on them', async () => {
    await place.write({ 'app.conf': 'hot fix\n' })
    const drift = (await propose()).findings.find(f => f.code === 'drift')
    expect(drift).toMatchObject({ level: 'warning', what: expect.stringMatching(/differ in conf\/app\.conf$/) })
    expect(codes(await propose(await place.open({ drift: 'block' })), 'blocker')).toEqual(['drift'])
    const observed = await target.observe(signal)
    expect([observed.summary, observed.detail]).toMatchObject(
      [/^1 files differ from/, { drift: ['conf/app.conf'] }].map(x =>
        x instanceof RegExp ? expect.stringMatching(x) : x,
      ),
    )
  })

  it('tells of drift that was there at the capture already', async () => {
    await place.write({ 'app.conf': 'hot fix\n' })
    pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v2' })
    expect(pin.drift).toEqual(['conf/app.conf'])
    expect(codes(await propose(), 'warning')).toContain('captured_with_drift')
  })

  it('blocks where the commit is gone', async () => {
    pin = { ...pin, commit: 'f'.repeat(40) }
    expect(codes(await propose(), 'blocker')).toEqual(['commit_gone'])
  })

  it('finishes what was cut in the middle', async () => {
    const [step] = ordered(await propose())
    if (step === undefined) throw new Error('no step')
    let writes = 0
    const dies = () => {
      if (++writes === 6) throw new Error('killed')
    }
    await expect(target.apply(step, { ...stepAct(step), guard: dies })).rejects.toThrow('killed')
    expect(await target.verify(step, stepAct(step))).toMatchObject({
      is: 'not-done',
      why: expect.stringContaining('conf/'),
    })
    await target.apply(step, stepAct(step))
    expect((await target.verify(step, stepAct(step))).is).toBe('done')
    expect((await readdir(place.live)).filter(name => name.includes('backout'))).toEqual([])
  })

  it('switches a folder that is a symlink all at once, and leaves the old one', async () => {
    await rm(join(place.dir, 'real'), { recursive: true, force: true })
    execFileSync('mv', [place.live, join(place.dir, 'real')])
    await symlink('real', place.live)
    await run(target, { idem: 's1' })
    expect(await readlink(place.live)).toBe('real.backout-s1')
    expect([await read('app.conf'), await read('secrets.conf')]).toEqual(['good\n', 'of nobody else\n'])
    expect(await readFile(join(place.dir, 'real', 'app.conf'), 'utf8')).toBe('bad\n')
    await place.write(B)
    await run(target, { idem: 's2' })
    expect(await readlink(place.live)).toBe('real.backout-s2')
  })

  it('knows programs and links', async () => {
    await writeFile(join(place.repo, 'conf', 'run.sh'), '#!/bin/sh\n', { mode: 0o755 })
    await symlink('app.conf', join(place.repo, 'conf', 'default.conf'))
    const commit = await place.commit({}, 'v3')
    pin = { ...pin, commit }
    await run()
    expect((await stat(join(place.live, 'run.sh'))).mode & 0o777).toBe(0o755)
    expect((await lstat(join(place.live, 'default.conf'))).isSymbolicLink()).toBe(true)
    expect((await target.observe(signal)).summary).toMatch(/^v3 /)
  })

  it('knows the files of a repository that hashes with SHA-256', async () => {
    process.env['GIT_DEFAULT_HASH'] = 'sha256'
    const other = await makePlace(A).finally(() => delete process.env['GIT_DEFAULT_HASH'])
    try {
      const observed = await (await other.open()).observe(signal)
      expect(observed.summary).toBe(`v1 (${other.git('rev-parse', 'HEAD').slice(0, 10)})`)
    } finally {
      await other.dispose()
    }
  })

  it('blocks on files that git would write with other content', async () => {
    const commit = await place.commit({ '.gitattributes': '*.conf text eol=crlf\n' })
    pin = { ...pin, commit }
    expect(codes(await propose(), 'blocker')).toEqual(['files_filtered'])
  })

  it('takes single files to places of their own', async () => {
    const paths = { 'conf/app.conf': 'etc/app.conf' }
    const single = await place.open({ to: undefined, paths, check: 'grep -q good {dir}/conf/app.conf' })
    await mkdir(join(place.dir, 'etc'))
    await writeFile(join(place.dir, 'etc', 'app.conf'), 'good\n')
    pin = await single.capture(await single.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await writeFile(join(place.dir, 'etc', 'app.conf'), 'bad\n')
    await run(single)
    expect(await readFile(join(place.dir, 'etc', 'app.conf'), 'utf8')).toBe('good\n')
    expect((await propose(single)).steps).toEqual([])
  })

  it('works from a URL by a mirror, also while that cannot be reached', async () => {
    const remote = await place.open({ repository: `file://${place.repo}` })
    await run(remote)
    expect(await read('app.conf')).toBe('good\n')
    await rm(place.repo, { recursive: true })
    expect((await remote.observe(signal)).detail).toMatchObject({ drift: [], stale: expect.stringContaining('repo') })
  })

  it('remembers tags as ways back', async () => {
    await place.commit({ 'app.conf': 'later\n' }, 'v2')
    const found = await target.remembered?.(signal)
    expect(found?.map(r => r.release).sort()).toEqual(['v1', 'v2'])
    expect(found?.find(r => r.release === 'v1')?.pin).toEqual({ ...pin, drift: [] })
  })

  // Only root may give files away.
  it.skipIf(process.getuid?.() !== 0)(
    'reads a repository of somebody else, and gives new files to the owner of the folder',
    async () => {
      execFileSync('chown', ['-R', '65534:65534', place.repo, place.live])
      await run()
      const info = await stat(join(place.live, 'gone.conf'))
      expect([info.uid, info.gid]).toEqual([65534, 65534])
    },
  )

  it('names a repository that is none, and a ref that it does not have', async () => {
    const none = await place.open({ repository: 'live' })
    await expect(none.observe(signal)).rejects.toMatchObject({ code: 'git_failed' })
    const odd = await place.open({ ref: 'release/9' })
    await expect(odd.observe(signal)).rejects.toMatchObject({ code: 'ref_unknown' })
  })
})
