import { spawnSync } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.ts'
import type { Report } from '../../src/report/model.ts'
import { MAIN } from '../support/shipped.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

describe('from a bad release to a verified rollback, through the command line', () => {
  beforeEach(async () => {
    toy = await makeToy()
    expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    await toy.release('v2')
  })

  it('A6, C1: plans without touching anything, and the same world gives the same hash', async () => {
    const [one, two] = [await toy.json<Plan>(['plan']), await toy.json<Plan>(['plan'])]
    expect(one.to.release).toBe('v1')
    expect(one.components.map(c => [c.id, c.change])).toEqual([
      ['db', { from: 'v2', to: 'v1' }],
      ['app', { from: 'v2', to: 'v1' }],
    ])
    expect(two.hash).toBe(one.hash)
    expect(await toy.versions()).toEqual(['v2', 'v2'])
  })

  it('C16: runs, verifies, reports, and has nothing left to do', async () => {
    const run = await toy.backout(['run', '--yes', '--reason', 'it is bad'])
    expect(run.code).toBe(0)
    expect(run.stdout).toContain('toy is back on v1, verified.')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
    const report = await toy.json<Report>(['report'])
    expect(report).toMatchObject({ state: 'succeeded', to: 'v1', startedBy: { reason: 'it is bad' } })
    expect(report.steps.map(s => s.id)).toEqual(['db/apply', 'app/apply'])
    const again = await toy.backout(['run', '--yes'])
    expect(again.code).toBe(0)
    expect(again.stdout).toContain('Nothing to do')
    expect(run.stdout).toContain('Times are typical values')
    await toy.release('v2')
    const next = await toy.json<Plan>(['plan'])
    expect(next.measured).toEqual({ 'db/apply': 1, 'app/apply': 1 })
    expect((await toy.backout(['plan'])).stdout).toContain('Times of 2 of 2 steps are medians of earlier runs.')
    expect((await toy.backout(['audit', 'verify'])).code).toBe(0)
  })

  it('reverts to where the run started', async () => {
    expect((await toy.backout(['run', '--yes'])).code).toBe(0)
    const reverted = await toy.backout(['revert', '--yes'])
    expect(reverted.code).toBe(5) // the gate wants v1, so a person is asked
    expect(await toy.versions()).toEqual(['v2', 'v2'])
    expect((await toy.backout(['skip', 'well', '--reason', 'v2 is wanted again'])).code).toBe(0)
    const resumed = await toy.backout(['resume'])
    expect(resumed.code).toBe(0)
    expect(resumed.stdout).toContain('but not all of it: well')
  })

  it('goes through a dry run and touches nothing', async () => {
    const dry = await toy.backout(['run', '--dry-run'])
    expect(dry.code).toBe(0)
    expect(dry.stdout).toContain('ok app/apply')
    expect(dry.stdout).toContain('Nothing was touched.')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
    expect((await toy.json<{ run: string | null }>(['status'])).run).toBeNull()
  })

  it('asks for a confirmation, and takes silence for no', async () => {
    const run = await toy.backout(['run'])
    expect(run.code).toBe(2)
    expect(run.stderr).toContain('error [not_confirmed]')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
  })

  it('runs a kept plan, and refuses it altered or when the world has moved', async () => {
    const file = join(toy.folder, 'plan.json')
    expect((await toy.backout(['plan', '--out', file])).code).toBe(0)
    const kept = await toy.read('plan.json')
    await toy.write('plan.json', kept.replace('"retries": 0', '"retries": 9').replace('"retries": 1', '"retries": 9'))
    const altered = await toy.backout(['run', file, '--yes'])
    expect(altered.code).toBe(11)
    expect(altered.stderr).toContain('error [plan_altered]')
    // What the hash leaves out is what people read before they say yes.
    const { seal, ...plan } = JSON.parse(kept) as Plan & { seal: string }
    const costs = { ...plan.impact, downtimeMs: 1 }
    for (const change of [{ impact: costs }, { made: { ...plan.made, by: 'the CTO' } }, { seal: undefined }]) {
      await toy.write('plan.json', JSON.stringify({ ...plan, seal, ...change }))
      const refused = await toy.backout(['run', file, '--yes'])
      expect(refused).toMatchObject({
        code: 11,
        stdout: '',
        stderr: expect.stringContaining('[plan_altered]') as string,
      })
    }
    await toy.write('plan.json', JSON.stringify({ ...plan, seal }))
    await toy.write('app', 'v3\n')
    const moved = await toy.backout(['run', file, '--yes'])
    expect(moved.code).toBe(4)
    expect(moved.stdout).toContain('app changed: it was "v2", now "v3"')
    expect(await toy.versions()).toEqual(['v2', 'v3'])
  })

  it('refuses a file that is no plan, and one that cannot be written, with what to do', async () => {
    for (const [text, code, exit] of [
      ['null', 'not_a_plan', 2],
      ['{"format":1}', 'not_a_plan', 2],
      ['no', 'not_a_plan', 2],
      ['{"format":1,"hash":"x"}', 'plan_altered', 11],
    ] as const) {
      await toy.write('plan.json', text)
      const refused = await toy.backout(['run', join(toy.folder, 'plan.json'), '--yes'])
      expect(refused).toMatchObject({ code: exit, stderr: expect.stringContaining(`error [${code}]`) as string })
    }
    const twice = await toy.backout(['run', 'plan.json', '--to', 'v1'])
    expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining('--to cannot be given with') as string })
    for (const out of [join(toy.folder, 'no', 'plan.json'), toy.folder]) {
      const unwritten = await toy.backout(['plan', '--out', out])
      expect(unwritten).toMatchObject({ code: 2, stderr: expect.stringContaining('[file_unwritable]') as string })
    }
    expect((await readdir(toy.folder)).filter(name => name.endsWith('.new') || name === 'no')).toEqual([])
  })

  // Only root may mount a small disk.
  it.skipIf(process.getuid?.() !== 0).each(['plan', '--json plan'])(
    'does not end well where its answer found no room: %s',
    async words => {
      const small = join(toy.folder, 'small')
      await mkdir(small)
      spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', small])
      try {
        await writeFile(join(small, 'answer'), 'x'.repeat(4096))
        const call = `exec "$0" --disable-warning=ExperimentalWarning "$1" ${words} >> small/answer`
        const env = { ...process.env, BACKOUT_KEYS: join(toy.folder, 'keys'), BACKOUT_HOME: '' }
        const said = spawnSync('sh', ['-c', call, process.execPath, MAIN], { cwd: toy.folder, env, encoding: 'utf8' })
        expect(said).toMatchObject({
          status: 9,
          stderr: expect.stringContaining('error [output_unwritable]') as string,
        })
        expect(said.stderr).toContain('ENOSPC')
      } finally {
        spawnSync('umount', [small])
      }
    },
  )

  it('writes events as NDJSON for machines', async () => {
    const { stdout, code } = await toy.backout(['--json', 'run', '--yes'])
    expect(code).toBe(0)
    const lines = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { type?: string })
    const types = lines.map(l => l.type)
    expect(types).toContain('run-started')
    expect(types).toContain('step-done')
    expect(types[0]).toBe('plan')
    expect(types.slice(-2)).toEqual(['run-ended', 'result'])
    expect(types).not.toContain(undefined)
    expect(lines.at(-1)).toMatchObject({ state: 'succeeded', report: expect.stringContaining('.md') as string })
  })

  it('goes detached, and is followed from another terminal', async () => {
    const { stdout, code } = await toy.backout(['--json', 'run', '--yes', '--detach'])
    expect(code).toBe(0)
    expect(stdout.trim().split('\n').at(-1)).toContain('"detached":true')
    await toy.backout(['status', '--follow'])
    const state = async () => (await toy.json<{ state: string }>(['status'])).state
    await expect.poll(state, { timeout: 15_000, interval: 200 }).toBe('succeeded')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('goes to no release that is bad, and names the remedy', async () => {
    await toy.backout(['release', 'mark', 'v1', 'bad', '--why', 'it loses orders'])
    const none = await toy.backout(['plan'])
    expect(none.code).toBe(3)
    expect(none.stderr).toContain('error [no_known_good]')
    const named = await toy.backout(['plan', '--to', 'v1'])
    expect(named.code).toBe(3)
    expect(named.stdout).toContain('v1 is marked bad: it loses orders')
    const unknown = await toy.backout(['plan', '--to', 'v0'])
    expect(unknown.stderr).toContain('error [release_unknown]')
  })

  it('A3: lists, shows and compares releases', async () => {
    const compared = await toy.json<{ component: string; same: boolean }[]>(['release', 'compare', 'v1', 'now'])
    expect(compared.map(c => [c.component, c.same])).toEqual([
      ['db', false],
      ['app', false],
    ])
    const told = await toy.backout(['release', 'compare', 'v1', 'now'])
    expect(told.stdout).toMatch(/\* app\n +v1: v1\n +now: v2\n +differs in: \S+/)
    await toy.release('v1')
    expect((await toy.backout(['release', 'compare', 'v1', 'now'])).stdout).toBe('  db: the same\n  app: the same\n')
    expect((await toy.backout(['releases'])).stdout).toMatch(/^v1\s+known-good/)
    expect((await toy.backout(['release', 'show', 'v1'])).stdout).toContain('(the one that counts)')
  })

  it('B1, B3: assesses with what it measures, and records an overruling', async () => {
    const assess = ['assess', '--severity', 'critical', '--data-impact', 'none', '--time-to-fix', '45m']
    const decided = await toy.json<{ decision: { answer: string; reasons: string[] }; evidence: { ok: boolean }[] }>(
      assess,
    )
    expect(decided.decision.answer).toBe('roll-back')
    expect(decided.evidence.some(e => !e.ok)).toBe(true)
    const over = await toy.backout([...assess, '--overrule', 'fix-forward', '--why', 'the fix is there'])
    expect(over.stdout.replaceAll(/\s+/g, ' ')).toContain('fix forward, because the fix is there')
    const without = await toy.backout([...assess, '--overrule', 'fix-forward'])
    expect(without.code).toBe(2)
    expect((await toy.backout([...assess, '--to', 'v7'])).stderr).toContain('error [release_unknown]')
  })
})

describe('policy, hooks and emergencies', () => {
  const LOG = (when: string) => `{ run: 'echo ${when} >> hooks' }`

  it('runs hooks around phases, and leaves them out in an emergency', async () => {
    toy = await makeToy(`policy: { verify: [well], watch: { gates: [well], for: 1s } }
hooks: { code: { before: ${LOG('before')}, after: ${LOG('after')} } }`)
    await toy.backout(['capture', 'v1', '--known-good'])
    await toy.release('v2')
    const plan = await toy.json<Plan>(['plan', '--emergency'])
    expect(plan.omitted).toEqual(['your hooks (before code, after code)', 'the watch of 1 s after the return'])
    expect(plan.phases.map(p => p.phase)).toEqual(['code', 'verify'])
    expect((await toy.backout(['run', '--yes'])).code).toBe(0)
    expect(await toy.read('hooks')).toBe('before\nafter\n')
    await toy.release('v2')
    expect((await toy.backout(['run', '--yes', '--emergency'])).code).toBe(0)
    expect(await toy.read('hooks')).toBe('before\nafter\n')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('stops by policy when a hook fails, and says which', async () => {
    toy = await makeToy(`policy: { onFailure: stop }
hooks: { code: { before: { run: 'echo no room >&2; exit 4' } } }`)
    await toy.backout(['capture', 'v1', '--known-good'])
    await toy.release('v2')
    const run = await toy.backout(['run', '--yes'])
    expect(run.code).toBe(9)
    expect(run.stdout).toContain('The hook before code ended with 4')
    expect(run.stdout).toContain('no room')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
  })

  it('D8: a new run supersedes one that only watches', async () => {
    toy = await makeToy('policy: { watch: { gates: [well], for: 5m } }')
    await toy.backout(['capture', 'v1', '--known-good'])
    await toy.release('v2')
    const watching = toy.backout(['run', '--yes'])
    await expect
      .poll(async () => (await toy.json<{ phase?: string }>(['status'])).phase, { timeout: 15_000, interval: 200 })
      .toBe('watch')
    await toy.backout(['capture', 'v1b', '--known-good'])
    await toy.write('app', 'v9\n')
    const second = toy.backout(['run', '--yes', '--to', 'v1b'])
    const first = await watching
    expect(first.code).toBe(0)
    expect(first.stdout).toContain('the watch ends here: a new run took over')
    expect(first.stdout).toContain('verified; its watch was cut short, for a new run took over.')
    await expect
      .poll(async () => (await toy.json<{ phase?: string }>(['status'])).phase, { timeout: 15_000, interval: 200 })
      .toBe('watch')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
    expect((await toy.backout(['abort'])).code).toBe(7)
    expect((await second).code).toBe(7)
  })

  it('D8: a new run takes the place of one whose watching process is gone, detached too', async () => {
    toy = await makeToy('policy: { watch: { gates: [well], for: 5m } }')
    await toy.backout(['capture', 'v1', '--known-good'])
    await toy.release('v2')
    const watching = toy.backout(['run', '--yes'])
    interface Status {
      run: string
      state: string
      phase?: string
      owner: { pid: number } | null
    }
    const status = (...id: string[]) => toy.json<Status>(['status', ...id])
    const until = { timeout: 30_000, interval: 200 }
    await expect.poll(async () => (await status()).phase, until).toBe('watch')
    const first = await status()
    process.kill(first.owner?.pid ?? 0, 'SIGKILL')
    await watching
    await toy.write('app', 'v9\n')
    expect((await toy.backout(['run', '--yes', '--to', 'v1', '--detach'])).code).toBe(0)
    expect((await status(first.run)).state).toBe('aborted')
    await expect.poll(async () => (await status()).phase, until).toBe('watch')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
    expect((await toy.backout(['abort'])).code).toBe(7)
    expect((await toy.backout(['audit', 'verify'])).code).toBe(0)
  })

  it('A4: an upgrade captures what is left, and its release becomes known-good once its gates held', async () => {
    toy = await makeToy('policy: { bake: { gates: [well], for: 200ms } }')
    expect((await toy.backout(['upgrade', 'begin', 'v2', '--from', 'v1'])).code).toBe(0)
    await toy.release('v2')
    const bad = await toy.backout(['upgrade', 'end', 'v2'])
    expect(bad.code).toBe(10)
    expect(bad.stdout).toContain('v2 stays "captured"')
    await toy.release('v1')
    expect((await toy.backout(['upgrade', 'begin', 'v1c', '--from', 'v1'])).code).toBe(0)
    await toy.write('db', 'v1c\n')
    expect((await toy.backout(['upgrade', 'end', 'v1c'])).code).toBe(0)
    expect((await toy.json<{ state: string }>(['release', 'show', 'v1c'])).state).toBe('known-good')
  })
})
