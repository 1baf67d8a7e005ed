import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Proposal, Step, StepAct, Target } from '../../core/contract.ts'
import type { GitConfigPin } from './config.ts'
import { makePlace } from './git-config.fixture.ts'

const signal = new AbortController().signal

describe('C10: configuration from Git when luck is bad', () => {
  const A = { 'app.conf': 'good\n', 'sub/list.conf': 'one\n' }
  const B = { 'app.conf': 'bad\n', 'extra.conf': 'new\n' }
  let place: Awaited<ReturnType<typeof makePlace>>
  let target: Target<GitConfigPin>
  let pin: GitConfigPin

  beforeEach(async () => {
    place = await makePlace(A)
    target = await place.open()
    pin = await capture()
    await place.commit(B)
    await place.write(B)
  })
  afterEach(() => place.dispose())

  const capture = async (t = target) =>
    t.capture(await t.observe(signal), { ...stepAct(), purpose: 'release' as const, release: 'v1' })
  const propose = async (t = target): Promise<Proposal> =>
    t.propose({
      from: await t.observe(signal),
      to: pin,
      release: 'v1',
      rung: 'place',
      upgradedAt: null,
      needs: [],
      dependents: [],
      dependencies: [],
      mode: 'full',
      signal,
    })
  const first = async (t = target): Promise<Step> => {
    const [step] = ordered(await propose(t))
    if (step === undefined) throw new Error('no step')
    return step
  }
  const apply = (step: Step, more: Partial<StepAct> = {}) => target.apply(step, { ...stepAct(step), ...more })
  const read = (path: string) => readFile(join(place.live, path), 'utf8')
  const linked = async () => {
    const real = join(place.dir, 'real')
    await rm(real, { recursive: true, force: true })
    execFileSync('mv', [place.live, real])
    await symlink('real', place.live)
    return real
  }

  it('applied once more after the switch of a folder, leaves the live one standing', async () => {
    const real = await linked()
    await chmod(real, 0o711)
    const step = await first()
    await apply(step)
    expect((await stat(place.live)).mode & 0o777).toBe(0o711)
    await writeFile(join(place.live, 'app.conf'), 'bad\n')
    expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
    await apply(step)
    expect((await target.verify(step, stepAct(step))).is).toBe('done')
    expect(await read('sub/list.conf')).toBe('one\n')
    expect(await readFile(join(real, 'app.conf'), 'utf8')).toBe('bad\n')
  })

  it('leaves a file alone that somebody changed since the plan, in a folder and behind a link', async () => {
    for (const behind of [false, true]) {
      if (behind) await linked()
      const step = await first()
      await place.write({ 'app.conf': 'a hot fix\n' })
      await expect(apply(step)).rejects.toMatchObject({
        code: 'file_moved',
        message: expect.stringContaining('conf/app.conf'),
      })
      expect([await read('app.conf'), await read('extra.conf')]).toEqual(['a hot fix\n', 'new\n'])
      await place.write(B)
      await apply(step)
      await place.write(B)
    }
  })

  it('puts a folder where a file was, and a file where a folder was', async () => {
    await place.write({ 'app.conf': null, 'extra.conf': null })
    const turned = { 'app.conf': null, 'extra.conf': null, 'sub/list.conf': null }
    await place.commit(turned)
    await place.write(turned)
    const swapped = { 'app.conf/one.conf': 'one\n', sub: 'a file\n' }
    await rm(join(place.live, 'sub'), { recursive: true })
    await rm(join(place.repo, 'conf', 'sub'), { recursive: true, force: true })
    await place.commit(swapped)
    await place.write(swapped)
    const checked = await place.open({ check: 'test -f {dir}/app.conf && test -f {dir}/sub/list.conf' })
    const step = await first(checked)
    await checked.apply(step, stepAct(step))
    expect((await checked.verify(step, stepAct(step))).is).toBe('done')
    expect([await read('app.conf'), await read('sub/list.conf')]).toEqual(['good\n', 'one\n'])
  })

  it('is not done with by files that are right: a reload that did not end well is due in the next run too', async () => {
    const failing = await place.open({ reload: 'test -e go && cp live/app.conf loaded' })
    const [put, reload] = ordered(await propose(failing))
    if (put === undefined || reload === undefined) throw new Error('two steps expected')
    await failing.apply(put, stepAct(put, 'r1'))
    await expect(failing.apply(reload, stepAct(reload, 'r1'))).rejects.toMatchObject({ code: 'command_failed' })
    expect((await failing.observe(signal)).summary).toMatch(/^v1 .*, not reloaded$/)
    await writeFile(join(place.dir, 'go'), '')
    const again = await propose(failing)
    const steps = ordered(again)
    expect({ ids: steps.map(s => s.id), to: again.change?.to }).toEqual({
      ids: ['conf/reload'],
      to: expect.stringMatching(/^v1 .*, reloaded$/),
    })
    for (const step of steps) await failing.apply(step, stepAct(step, 'r2'))
    expect(await readFile(join(place.dir, 'loaded'), 'utf8')).toBe('good\n')
    expect(await propose(failing)).toMatchObject({ steps: [], change: null })
  })

  it('puts a file in the place of a link without a moment in which there is none', async () => {
    await writeFile(join(place.dir, 'elsewhere'), 'linked\n')
    await rm(join(place.live, 'app.conf'))
    await symlink('../elsewhere', join(place.live, 'app.conf'))
    const step = await first()
    let gone = 0
    const guard = () => {
      if (!readdirSync(place.live).includes('app.conf')) gone++
    }
    await apply(step, { guard })
    expect({ gone, is: (await lstat(join(place.live, 'app.conf'))).isFile() }).toEqual({ gone: 0, is: true })
    expect(await readFile(join(place.dir, 'elsewhere'), 'utf8')).toBe('linked\n')
  })

  it('is the same system after somebody pushed a branch without a common past, and took it away', async () => {
    const { identity } = await target.observe(signal)
    for (const name of ['pages', 'other', 'third', 'fourth']) {
      place.git('checkout', '-q', '--orphan', name)
      place.git('commit', '-qm', name)
    }
    place.git('checkout', '-q', 'main')
    expect((await target.observe(signal)).identity).toBe(identity)
    const other = await makePlace({ 'x.conf': 'x' })
    await other.commit({ 'y.conf': 'y' })
    expect((await (await other.open()).observe(signal)).identity.split(':')[1]).not.toBe(identity.split(':')[1])
    await other.dispose()
  })

  it('refuses a shallow clone, whose past ends elsewhere tomorrow', async () => {
    execFileSync('git', ['clone', '-q', '--depth', '1', `file://${place.repo}`, join(place.dir, 'shallow')])
    const shallow = await place.open({ repository: 'shallow' })
    await expect(shallow.observe(signal)).rejects.toMatchObject({
      code: 'repository_shallow',
      next: expect.stringContaining('--unshallow'),
    })
  })

  it('asks the repository of the settings also where it is started by a hook of another one', async () => {
    const other = await makePlace({ 'app.conf': 'of another repository\n' })
    const was = { ...process.env }
    Object.assign(process.env, {
      GIT_DIR: join(other.repo, '.git'),
      GIT_WORK_TREE: other.repo,
      GIT_INDEX_FILE: '/none',
    })
    Object.assign(process.env, { GIT_LITERAL_PATHSPECS: '1' })
    try {
      const step = await first()
      await apply(step)
      expect((await target.verify(step, stepAct(step))).is).toBe('done')
    } finally {
      process.env = was
      await other.dispose()
    }
    expect(await read('app.conf')).toBe('good\n')
  })

  it('runs no program that the repository names', async () => {
    const ran = join(place.dir, 'ran')
    const hook = join(place.repo, '.git', 'hooks', 'post-index-change')
    await writeFile(hook, `#!/bin/sh\necho hook >>${ran}\n`, { mode: 0o755 })
    await writeFile(join(place.dir, 'monitor'), `#!/bin/sh\necho monitor >>${ran}\n`, { mode: 0o755 })
    place.git('config', 'core.fsmonitor', join(place.dir, 'monitor'))
    const step = await first()
    await rm(ran, { force: true })
    await apply(step)
    await expect(readFile(ran, 'utf8')).rejects.toThrow('ENOENT')
  })

  it('makes a mirror anew that was cut off in the middle, and keeps commits that were rewritten', async () => {
    const remote = await place.open({ repository: `file://${place.repo}` })
    await mkdir(join(place.dir, 'state', 'mirror.git.part'), { recursive: true })
    await remote.observe(signal)
    expect(await readdir(join(place.dir, 'state'))).toEqual(['mirror.git'])
    place.git('checkout', '-q', '--orphan', 'anew')
    place.git('commit', '-qm', 'rewritten')
    place.git('branch', '-qM', 'anew', 'main')
    place.git('tag', '-d', 'v1')
    await remote.observe(signal)
    const mirror = join(place.dir, 'state', 'mirror.git')
    execFileSync('git', ['-C', mirror, 'gc', '--quiet', '--auto'])
    expect(execFileSync('git', ['-C', mirror, 'cat-file', '-t', pin.commit], { encoding: 'utf8' })).toBe('commit\n')
  })

  it('begins a mirror again after the process was killed while it was made', async () => {
    const url = `file://${place.repo}`
    const slow = join(place.dir, 'git-upload-pack')
    await writeFile(slow, '#!/bin/sh\nsleep 20\n', { mode: 0o755 })
    const mirror = join(place.dir, 'state', 'mirror.git')
    const remote = await place.open({ repository: url })
    const env = { ...process.env, PATH: `${place.dir}:${process.env.PATH}` }
    const clone = spawn('git', ['clone', '-q', '--mirror', '-u', slow, url, `${mirror}.part`], { env, stdio: 'ignore' })
    while (!(await stat(join(`${mirror}.part`, 'HEAD')).catch(() => null))) await new Promise(r => setTimeout(r, 20))
    clone.kill('SIGKILL')
    await once(clone, 'exit')
    expect((await remote.observe(signal)).detail).toMatchObject({ drift: [], stale: null })
  })
})
