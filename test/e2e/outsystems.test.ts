import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.ts'
import type { Report } from '../../src/report/model.ts'
import { type CommandLine, commandLine, type Said } from '../support/command-line.ts'
import type { Course } from '../support/lifetime/deployments.ts'
import { LifeTime } from '../support/lifetime/server.ts'
import { Shop } from '../support/lifetime/shop.ts'
import { MAIN } from '../support/shipped.ts'

const BAD: Course = { ends: 'finished_with_errors', partly: 0, says: 'Compilation failed' }

let shop: Shop
let folder: string
let line: CommandLine
const env = () => ({ LIFETIME_TOKEN: LifeTime.token })
const backout = (...argv: string[]): Promise<Said> => line.backout(argv, env())
const json = async <T>(...argv: string[]): Promise<T> => {
  const { stdout, stderr } = await backout('--json', ...argv)
  const last = stdout.trim().split('\n').at(-1)
  if (last === undefined || last === '') throw new Error(`no JSON: ${stderr}`)
  return JSON.parse(last) as T
}

/** The same folder with another policy or setting. */
async function configured(policy: string, settings = ''): Promise<void> {
  await writeFile(
    join(folder, 'backout.yaml'),
    `environment: production
components:
  apps:
    adapter: outsystems
    settings:
      url: ${shop.lifetime.url}
      token: \${env:LIFETIME_TOKEN}
      environment: Production
      producers: { Shop: [Orders, Core], Orders: [Core] }
      limits: { poll: 20ms, deployment: 20s, settle: 1s }
${settings}policy: { onFailure: ${policy} }
`,
  )
}

// Bundled as it is shipped: dozens of processes start fast.
beforeAll(async () => {}, 60_000)

beforeEach(async () => {
  shop = await Shop.open()
  folder = await mkdtemp(join(tmpdir(), 'backout-outsystems-'))
  line = commandLine(folder)
  await configured('take')
  const captured = await backout('capture', 'v1', '--known-good')
  expect(captured.stderr).toBe('')
  shop.upgrade()
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
  await shop[Symbol.asyncDispose]()
})

/** Every file of the home, as text. */
async function everything(): Promise<string> {
  const files = await readdir(join(folder, '.backout'), { recursive: true, withFileTypes: true })
  const texts = files.filter(f => f.isFile()).map(f => readFile(join(f.parentPath, f.name), 'latin1'))
  return (await Promise.all(texts)).join('\n')
}

describe('C15: from a bad release to a verified rollback', () => {
  it('goes through plan, run, report and revert, and shows the token nowhere', async () => {
    const captured = await json<{ captures: { backups: string[] }[] }>('release', 'show', 'v1')
    expect(captured.captures.map(c => c.backups.length)).toEqual([1])
    const plan = await json<Plan>('plan')
    expect(plan.components.map(c => [c.rung, c.change])).toEqual([
      ['applications', { from: 'Core 2, Orders 2, Shop 2', to: 'Core 1, Orders 1, Shop 1' }],
    ])
    expect(shop.versions).toEqual(['2', '2', '2'])
    const run = await backout('run', '--yes', '--reason', 'orders are lost')
    expect([run.code, run.stderr]).toEqual([0, ''])
    expect(shop.versions).toEqual(['1', '1', '1'])
    const report = await json<Report>('report')
    expect(report.steps.map(s => s.id)).toEqual(['apps/deploy/Core', 'apps/deploy/Orders', 'apps/deploy/Shop'])
    expect((await backout('run', '--yes')).stdout).toContain('Nothing to do')
    const reverted = await backout('revert', '--yes')
    expect(reverted.code).toBe(0)
    expect(shop.versions).toEqual(['2', '2', '2'])
    const shown = [run, reverted, await backout('report'), await backout('status')].map(s => s.stdout + s.stderr)
    expect(shown.join('\n') + (await everything())).not.toContain(LifeTime.token)
    expect((await backout('doctor')).stdout).toContain('earlier versions are deployed from Quality')
    expect((await backout('audit', 'verify')).code).toBe(0)
  })

  it('C2: a deployment that goes on cannot be captured, and is stopped first by a run', async () => {
    shop.lifetime.release({ application: 'Shop', label: '1' }, 'Production')
    const bad = [{ application: 'Shop', label: '2' }]
    const going = shop.lifetime.started('Quality', 'Production', bad, { ms: Infinity, deployingAfter: Infinity })
    const captured = await backout('capture', 'v9')
    expect([captured.code, captured.stderr]).toEqual([4, expect.stringContaining(going.key)])
    const plan = await json<Plan>('plan')
    expect(plan.findings.map(f => `${f.level} ${f.code}`)).toContain('warning in_flight_settled')
    const run = await backout('run', '--yes')
    expect([run.code, run.stderr]).toEqual([0, ''])
    expect(going.status).toBe('aborted')
    expect(shop.versions).toEqual(['1', '1', '1'])
    const [first] = (await json<Report>('report')).steps
    expect(first?.id).toBe(`apps/settle/${going.key}`)
  })
})

describe('C15: maintenance mode that a run left', () => {
  it('is told by status, report and doctor, and ended by the next run', async () => {
    await configured('stop', '      maintenance: { reason: a rollback }\n')
    const file = join(folder, 'backout.yaml')
    const text = (await readFile(file, 'utf8')).replace('{ onFailure: stop }', '{ onFailure: stop, verify: [healthy] }')
    const gate =
      'probes: { well: { kind: command, run: "test -e well" } }\ngates: { healthy: { probes: [well], attempts: 1 } }\n'
    await writeFile(file, text + gate)
    const held = () => shop.lifetime.environment('Production').maintenance
    const run = await backout('run', '--yes')
    expect([run.code, held(), shop.versions]).toEqual([9, true, ['1', '1', '1']])
    const status = (await backout('status')).stdout.replaceAll(/\s+/g, ' ')
    expect(status).toContain('still in force: LifeTime took it that maintenance mode is on')
    expect(status).toContain('the next `backout run` or `backout revert` ends it')
    const { left } = await json<Report>('report')
    expect(left.map(l => [l.what, l.is])).toContainEqual(['apps/let-go/applications', 'not begun'])
    expect((await backout('doctor')).stdout).toContain('is in maintenance mode')
    await writeFile(join(folder, 'well'), '')
    const plan = await json<Plan>('plan')
    expect([Object.keys(plan.steps), plan.findings.map(f => f.code)]).toEqual([
      ['apps/let-go/applications'],
      expect.arrayContaining(['maintenance_held']) as string[],
    ])
    const again = await backout('run', '--yes')
    expect([again.code, again.stderr, held()]).toEqual([0, '', false])
    expect((await backout('status')).stdout).not.toContain('still in force')
    expect((await backout('run', '--yes')).stdout).toContain('Nothing to do')
  })
})

describe('C12: the ladder', () => {
  const rungs = async () => {
    const plan = await json<Plan>('plan')
    return plan.components.flatMap(c => [c.rung, ...c.fallbacks])
  }
  const started = () => shop.lifetime.deployments.filter(d => d.startedOn !== null).map(d => d.status)

  it.each([
    ['the first rung, in the middle of it', [{}, BAD, BAD], ['1', '1', '1']],
    ['the first and the second rung', [BAD, BAD, BAD, BAD], ['1', '1', '1']],
  ])('takes the next one by policy where %s fails', async (_, courses: Course[], versions) => {
    expect(await rungs()).toEqual(['applications', 'together', 'solution'])
    shop.lifetime.courses.push(...courses)
    const run = await backout('run', '--yes')
    expect([run.code, run.stderr]).toEqual([0, ''])
    expect(shop.versions).toEqual(versions)
    expect(started().filter(s => s === 'finished_with_errors')).toHaveLength(courses.filter(c => c === BAD).length)
    expect(shop.lifetime.courses).toEqual([])
    const wholly = shop.lifetime.deployments.some(d => d.binary)
    expect(wholly).toBe(courses.length === 4)
  })

  it('asks a person where every rung fails', async () => {
    shop.lifetime.courses.push(BAD, BAD, BAD, BAD, BAD, BAD)
    const run = await backout('run', '--yes')
    expect(run.code).toBe(5)
    expect(run.stdout).toContain('Compilation failed')
    const none = await backout('resume', '--next-rung')
    expect([none.code, none.stdout]).toEqual([5, expect.stringContaining('waits for your word on apps/publish')])
    expect(shop.versions).toEqual(['2', '2', '2'])
    expect(started()).toHaveLength(6)
    expect((await backout('abort')).code).toBe(7)
  })

  it('asks where the policy says so, and takes the rung that a person names', async () => {
    await configured('ask')
    shop.lifetime.courses.push(BAD, BAD)
    const run = await backout('run', '--yes')
    expect(run.code).toBe(5)
    // Nobody has approved another rung yet.
    expect((await backout('resume', '--next-rung')).code).toBe(5)
    expect((await backout('approve')).code).toBe(0)
    expect((await backout('resume')).code).toBe(0)
    expect(shop.versions).toEqual(['1', '1', '1'])
  })

  it('begins at the rung that nothing stands in the way of', async () => {
    const orders = shop.lifetime.infra.applications.find(a => a.name === 'Orders')
    Object.assign(orders?.versions.find(v => v.label === '2') ?? {}, { needs: { Core: ['2'] } })
    expect(await rungs()).toEqual(['together', 'solution'])
    const [apps] = (await json<Plan>('plan')).components
    expect(apps?.rejected[0]?.why).toContain('Orders 2 needs Core 2, which has the version 1.')
    expect((await backout('run', '--yes')).code).toBe(0)
    expect(shop.versions).toEqual(['1', '1', '1'])
  })
})

describe('C16: interrupted', () => {
  /** A run that is killed once that is true. */
  async function killed(when: () => boolean): Promise<void> {
    const home = { ...process.env, BACKOUT_KEYS: join(folder, 'keys'), BACKOUT_HOME: '', ...env() }
    const child = spawn(process.execPath, [MAIN, 'run', '--yes'], { cwd: folder, stdio: 'ignore', env: home })
    const gone = once(child, 'exit')
    await expect.poll(when, { timeout: 20_000, interval: 5 }).toBe(true)
    child.kill('SIGKILL')
    await gone
  }
  const asked = (on: RegExp) => shop.lifetime.requests.some(r => on.test(r))
  const resumed = async () => {
    const { code, stderr } = await backout('resume')
    expect([code, stderr]).toEqual([0, ''])
    expect(shop.versions).toEqual(['1', '1', '1'])
    expect(shop.lifetime.deployments.filter(d => d.status === 'saved')).toEqual([])
    expect(shop.lifetime.deployments.map(d => d.commands)).toEqual([['start'], ['start'], ['start']])
  }
  const CREATE = /^POST \/deployments\/$/
  const START = /^POST \/deployments\/[^/]+\/start/

  it('while a deployment goes on: it is followed', async () => {
    await configured('take', '      checkAhead: false\n')
    shop.lifetime.courses.push({ ms: 1500 })
    await killed(() => shop.lifetime.deployments.some(d => d.status === 'running'))
    await resumed()
  })

  it('after LifeTime has made a deployment, before its answer: it is found by its notes', async () => {
    await configured('take', '      checkAhead: false\n')
    shop.lifetime.faults.push({ on: CREATE, does: 'silent' })
    await killed(() => shop.lifetime.deployments.length === 1)
    await resumed()
  })

  it('before LifeTime starts a deployment, and after, without an answer', async () => {
    for (const does of ['hang', 'silent'] as const) {
      await configured('take', '      checkAhead: false\n')
      shop.lifetime.faults.push({ on: START, does })
      shop.lifetime.requests.length = 0
      shop.lifetime.deployments.length = 0
      await killed(() => asked(START))
      await resumed()
      shop.upgrade()
    }
  })

  it('by an intervention: the run waits for a person, who continues it in LifeTime', async () => {
    shop.lifetime.courses.push({ asks: 'deployment_suspended', says: 'Disk full on the front-end' })
    const run = await backout('run', '--yes')
    expect(run.code).toBe(5)
    expect(run.stdout).toContain('Disk full on the front-end')
    shop.lifetime.deployments.find(d => d.status === 'needs_user_intervention')?.resume()
    expect((await backout('resolve', 'apps/deploy/Core', '--not-done')).code).toBe(0)
    await resumed()
  })
})
