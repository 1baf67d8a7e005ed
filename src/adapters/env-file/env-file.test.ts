import { execFileSync } from 'node:child_process'
import { chmod, chown, lstat, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Fact, Proposal, StepAct, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { composed, keysOf, piecesOf } from '../../exec/dotenv.ts'
import { keepsToday } from '../../exec/secret-names.ts'
import type { EnvFilePin } from './config.ts'
import { envFile } from './index.ts'

const A = '# the shop\nexport PORT=3000\nDB_PASSWORD=first-secret\nGREETING="hello\nworld"\n'
const B = 'PORT=4000\nDB_PASSWORD=rotated-secret\nNEW_CHECKOUT=on\n'
const signal = new AbortController().signal

async function folder(content = A) {
  const dir = await mkdtemp(join(tmpdir(), 'backout-env-'))
  await writeFile(join(dir, '.env'), content, { mode: 0o640 })
  const { vault, backups } = stepAct()
  const ctx = { environment: 'test', component: 'env', baseDir: dir, stateDir: join(dir, 'state'), vault, backups }
  const open = (more = {}) => envFile.open(envFile.config.parse({ path: '.env', ...more }), ctx)
  return { dir, file: join(dir, '.env'), open, dispose: () => rm(dir, { recursive: true, force: true }) }
}

conformance('env-file', {
  adapter: envFile,
  rungs: ['write'],
  make: async () => {
    const [it, other] = [await folder(), await folder()]
    return {
      open: () => it.open({ pinned: ['DB_*'], reload: ['cp', '.env', 'loaded'] }),
      openOther: () => other.open(),
      upgrade: () => writeFile(it.file, B),
      serves: async () => {
        const now = await readFile(it.file, 'utf8')
        return now === A ? 'A' : now === B ? 'B' : 'other'
      },
      secrets: ['first-secret', 'rotated-secret'],
      dispose: async () => {
        await it.dispose()
        await other.dispose()
      },
    }
  },
})

describe('C10: an env file taken back', () => {
  let place: Awaited<ReturnType<typeof folder>>
  let target: Target<EnvFilePin>
  let pin: EnvFilePin
  beforeEach(async () => {
    place = await folder()
    target = await place.open()
    pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await writeFile(place.file, B)
  })
  afterEach(() => place.dispose())

  const propose = async (t = target): Promise<Proposal> =>
    t.propose({
      from: await t.observe(signal),
      to: pin,
      release: 'v1',
      rung: 'write',
      needs: [],
      dependents: [],
      dependencies: [],
      upgradedAt: null,
      mode: 'full',
      signal,
    })
  async function run(t = target, more: Partial<StepAct> = {}) {
    for (const step of ordered(await propose(t))) await t.apply(step, { ...stepAct(step), ...more })
  }

  it('goes back with everything but the secrets, which keep the value of today', async () => {
    const proposal = await propose()
    expect(proposal.findings.map(f => [f.code, f.what])).toEqual([
      ['secrets_current', "These keep today's value: DB_PASSWORD"],
    ])
    expect(proposal.impact.disappears).toEqual(['variable NEW_CHECKOUT'])
    await run()
    expect(await readFile(place.file, 'utf8')).toBe(A.replace('first-secret', 'rotated-secret'))
    expect((await propose()).steps).toEqual([])
  })

  it('warns where a secret has no value today, and takes that of the release', async () => {
    await writeFile(place.file, 'PORT=1\n')
    expect((await propose()).findings).toMatchObject([{ level: 'warning', code: 'secrets_of_the_release' }])
    await run()
    expect(await readFile(place.file, 'utf8')).toBe(A)
  })

  it('keeps mode, owner and symlink, leaves nothing aside, and seals what was there', async () => {
    const real = join(place.dir, 'real.env')
    await rm(place.file)
    await writeFile(real, B)
    await chmod(real, 0o604)
    await symlink('real.env', place.file)
    const facts: Fact[] = []
    await run(target, { tell: async fact => void facts.push(fact) })
    expect((await lstat(place.file)).isSymbolicLink()).toBe(true)
    expect([(await stat(real)).mode & 0o777, await readFile(real, 'utf8')]).toEqual([
      0o604,
      expect.stringContaining('3000'),
    ])
    expect((await readdir(place.dir)).sort()).toEqual(['.env', 'real.env'])
    const [{ sealed }] = facts.map(fact => fact.data) as [{ sealed: string }]
    expect(Buffer.from(await stepAct().vault.open({ id: sealed, mac: '' })).toString()).toBe(B)
  })

  it('leaves a file alone that somebody changed meanwhile, also in the last moment', async () => {
    const [write] = ordered(await propose())
    if (write === undefined) throw new Error('no step')
    await writeFile(place.file, B.replace('rotated', 'newest'))
    await expect(target.apply(write, stepAct(write))).rejects.toMatchObject({ code: 'file_moved' })
    await writeFile(place.file, B)
    const seal: StepAct['vault']['seal'] = async (content, about) => {
      await writeFile(place.file, 'PORT=5\n')
      return stepAct().vault.seal(content, about)
    }
    const vault = { ...stepAct().vault, seal }
    await expect(target.apply(write, { ...stepAct(write), vault })).rejects.toMatchObject({ code: 'file_moved' })
    expect(await readFile(place.file, 'utf8')).toBe('PORT=5\n')
  })

  it('writes the file again where it is gone', async () => {
    await rm(place.file)
    await run()
    expect([await readFile(place.file, 'utf8'), (await stat(place.file)).mode & 0o777]).toEqual([A, 0o640])
  })

  it('takes files back that are no UTF-8, byte by byte, with or without a byte order mark', async () => {
    const bytes = (text: string) => Buffer.from(text, 'latin1')
    for (const [then, today, goal] of [
      ['NAME=caf\xe9\nDB_PASSWORD=old\n', 'NAME=x\nDB_PASSWORD=n\xe9w\xa0\n', 'NAME=caf\xe9\nDB_PASSWORD=n\xe9w\xa0\n'],
      ['\xef\xbb\xbfDB_PASSWORD=old\r\nA=1\r\n', 'DB_PASSWORD=new\nA=2\n', '\xef\xbb\xbfDB_PASSWORD=new\r\nA=1\r\n'],
    ] as const) {
      await writeFile(place.file, bytes(then))
      pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
      await writeFile(place.file, bytes(today))
      await run()
      expect((await readFile(place.file)).toString('latin1')).toBe(goal)
    }
  })

  it.skipIf(process.getuid?.() !== 0)('gives a file that is gone back to whom it belonged', async () => {
    await writeFile(place.file, A)
    await chown(place.file, 1, 2)
    pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
    await rm(place.file)
    await run()
    const { uid, gid } = await stat(place.file)
    expect({ uid, gid }).toEqual({ uid: 1, gid: 2 })
  })

  it('blocks where the vault lost the content, and refuses to capture what is not there', async () => {
    pin = { ...pin, sealed: { ...pin.sealed, id: 'lost' } }
    expect((await propose()).findings).toMatchObject([{ level: 'blocker', code: 'content_gone' }])
    await rm(place.file)
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({ code: 'file_missing' })
  })

  it('is not done with by content that is right: a reload that did not end well is due in the next run too', async () => {
    const failing = await place.open({ reload: 'test -e go && cp .env loaded' })
    const [write, reload] = ordered(await propose(failing))
    if (write === undefined || reload === undefined) throw new Error('two steps expected')
    await failing.apply(write, stepAct(write, 'r1'))
    await expect(failing.apply(reload, stepAct(reload, 'r1'))).rejects.toMatchObject({ code: 'command_failed' })
    expect((await failing.observe(signal)).summary).toContain('not reloaded')
    expect(await propose()).toMatchObject({ steps: [], change: null })
    // An agent that rotates a secret in the file has nobody read the rest of it.
    await writeFile(place.file, (await readFile(place.file, 'utf8')).replace('rotated-secret', 'rotated-again'))
    await writeFile(join(place.dir, 'go'), '')
    const again = await propose(failing)
    expect(again.change).toMatchObject({ from: expect.stringContaining('not reloaded') })
    const steps = ordered(again)
    expect(steps.map(s => s.id)).toEqual(['env/reload'])
    for (const step of steps) await failing.apply(step, stepAct(step, 'r2'))
    expect(await readFile(join(place.dir, 'loaded'), 'utf8')).toBe(await readFile(place.file, 'utf8'))
    expect(await propose(failing)).toMatchObject({ steps: [], change: null })
    expect((await failing.observe(signal)).summary).not.toContain('not reloaded')
  })

  it('runs the reload again until it ended well', async () => {
    const handles = new Map<string, Json>()
    const failing = await place.open({ reload: 'echo "$(date) no" >&2; test -e go' })
    const [write, reload] = ordered(await propose(failing))
    if (write === undefined || reload === undefined) throw new Error('no step')
    await failing.apply(write, stepAct(write))
    await expect(failing.apply(reload, stepAct(reload, 'r', handles))).rejects.toMatchObject({ code: 'command_failed' })
    expect((await failing.verify(reload, stepAct(reload, 'r', handles))).is).toBe('not-done')
    await writeFile(join(place.dir, 'go'), '')
    await failing.apply(reload, stepAct(reload, 'r', handles))
    expect((await failing.verify(reload, stepAct(reload, 'r', handles))).is).toBe('done')
    const earlier = { ...stepAct(reload, 'r', handles), earlier: true }
    expect((await failing.verify(reload, earlier)).is).toBe('not-done')
  })

  // Only root may mount.
  it.skipIf(process.getuid?.() !== 0)('leaves the file as it is where it cannot be replaced', async () => {
    execFileSync('mount', ['--bind', place.file, place.file])
    try {
      const error = { code: 'file_not_replaced', next: expect.stringContaining('mount its folder') }
      await expect(run()).rejects.toMatchObject(error)
      expect(await readFile(place.file, 'utf8')).toBe(B)
      expect(await readdir(place.dir)).toEqual(['.env'])
    } finally {
      execFileSync('umount', [place.file])
    }
  })
})

describe('env files', () => {
  it.each([
    ['A=1\nB=2', ['A', 'B']],
    ['export A = "x\\"\nB=1"\r\nC=\'#\'\n\n# D=4\n', ['A', 'C']],
    ['A="never closed\nB=1\n', ['A', 'B']],
    ['no assignment\n=x\n', []],
    ['', []],
  ])('are taken apart without losing a character: %j', (content, keys) => {
    expect(
      piecesOf(content)
        .map(p => p.text)
        .join(''),
    ).toBe(content)
    expect(keysOf(content)).toEqual(keys)
  })

  it('take over values of several lines, the last one of a key, and keep line ends', () => {
    const today = 'KEY="a\nb"\r\nKEY=\'c\nd\' # why\n'
    expect(composed('KEY=old\r\nX=1', today, key => key === 'KEY')).toBe("KEY='c\nd' # why\r\nX=1")
  })

  it('tell secrets by their names', () => {
    const config = envFile.config.parse({ path: 'x', current: ['REGION'], pinned: ['OLD_TOKEN'] })
    const kept = 'DB_PASSWORD api_key REGION DATABASE_URL OLD_TOKEN PORT MONKEY API_URL'.split(' ')
    expect(kept.filter(key => keepsToday(config, key))).toEqual(['DB_PASSWORD', 'api_key', 'REGION', 'DATABASE_URL'])
  })
})
