import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Need, Proposal, Question, Step, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { config, type Pin } from './config.ts'
import { TestProxy, underLoad } from './haproxy.fixture.ts'
import { haproxy } from './index.ts'

const [vault, backups] = [memoryVault(), memoryBackups()]
const drained: Need = { of: 'lb', what: 'drained', by: 'app' }
const { signal } = new AbortController()

function open(proxy: TestProxy, more: Record<string, unknown> = {}): Promise<Target<Pin>> {
  const settings = config.parse({
    socket: 'admin.sock',
    backend: 'web',
    maintenance: 'sorry',
    return: [10, 50, 100],
    gate: 'healthy',
    within: '300ms',
    timeout: '1s',
    ...more,
  })
  return haproxy.open(settings, {
    environment: 'test',
    component: 'lb',
    baseDir: proxy.dir,
    stateDir: '/tmp',
    backups,
    vault,
  })
}

for (const needs of [[], [drained]]) {
  conformance(`haproxy, ${needs.length === 0 ? 'not asked for anything' : 'asked to drain'}`, {
    adapter: haproxy,
    rungs: ['weights'],
    make: async () => {
      const proxy = await new TestProxy().start()
      const other = await new TestProxy('two').start()
      await proxy.tell('set server web/web-2 state drain')
      return {
        open: () => open(proxy),
        openOther: () => open(other),
        needs,
        upgrade: async () =>
          void (await proxy.tell('set server web/web-1 state drain', 'set server web/web-2 state ready')),
        serves: async () =>
          (({ 'web-1': 'A', 'web-2': 'B' })[(await proxy.ask()).body] as 'A' | 'B' | undefined) ?? 'other',
        dispose: async () => {
          await proxy.stop()
          await other.stop()
        },
      }
    },
  })
}

let proxy: TestProxy
let pin: Pin

async function ask(target: Target<Pin>, more: Partial<Question<Pin>> = {}): Promise<Proposal> {
  const from = await target.observe(signal)
  const rest = {
    rung: 'weights',
    needs: [drained],
    dependents: [],
    dependencies: [],
    upgradedAt: null,
    mode: 'full' as const,
    signal,
  }
  return target.propose({ from, to: pin, release: 'v1', ...rest, ...more })
}

function stepOf(proposal: Proposal, id: string): Step {
  const step = proposal.steps.find(s => s.id === `lb/${id}`)
  if (step === undefined) throw new Error(`no step ${id} among ${proposal.steps.map(s => s.id).join(', ')}`)
  return step
}

const ids = (proposal: Proposal) => ordered(proposal).map(s => s.id.replace('lb/', ''))

async function capture(target: Target<Pin>): Promise<void> {
  pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
}

async function apply(target: Target<Pin>, step: Step): Promise<void> {
  await target.apply(step, stepAct(step))
  expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
}

describe('with a maintenance server', () => {
  beforeAll(async () => {
    proxy = await new TestProxy().start()
    await capture(await open(proxy))
  })
  afterAll(() => proxy.stop())
  afterEach(async () => {
    proxy.release()
    const reset = ['web-1', 'web-2', 'sorry'].flatMap(s => [
      `set server web/${s} state ready`,
      `set server web/${s} weight ${s === 'sorry' ? 0 : 100}`,
    ])
    await proxy.tell(...reset)
  })

  it('C4, C8, D7: loses no request while it drains, returns gradually, and is taken away again', async () => {
    const target = await open(proxy, { within: '5s' })
    const proposal = await ask(target)
    expect(ids(proposal)).toEqual(['drain', 'return/10', 'return/50', 'return/100'])
    const portions: number[] = []
    const settle = () => new Promise(resolve => setTimeout(resolve, 250))
    const seen = await underLoad(proxy, async () => {
      await settle()
      for (const step of [...ordered(proposal), stepOf(proposal, 'away'), stepOf(proposal, 'return/100')]) {
        await apply(target, step)
        const before = { ...proxy.served }
        await settle()
        const live = ['web-1', 'web-2'].reduce((sum, s) => sum + (proxy.served[s] ?? 0) - (before[s] ?? 0), 0)
        const all = live + (proxy.served['sorry'] ?? 0) - (before['sorry'] ?? 0)
        portions.push(live / all)
      }
    })
    expect(seen.failed).toEqual([])
    expect(seen.live).toBeGreaterThan(100)
    expect(seen.maintenance).toBeGreaterThan(100)
    const [afterDrain, tenth, half, whole, away, again] = portions
    expect(afterDrain).toBe(0)
    expect(tenth).toBeGreaterThan(0.03)
    expect(tenth).toBeLessThan(0.25)
    expect(half).toBeGreaterThan(0.35)
    expect(half).toBeLessThan(0.65)
    expect([whole, again]).toEqual([1, 1])
    expect(away).toBeLessThan(0.02)
    expect((await target.observe(signal)).state).toEqual({ servers: pin.servers })
  })

  it('C4: waits for open requests, and says how many', async () => {
    const target = await open(proxy, { within: '10s' })
    const step = stepOf(await ask(target), 'drain')
    const slow = proxy.ask('/slow')
    await expect.poll(() => proxy.held()).toBe(1)
    const texts: string[] = []
    const progress = (p: { text: string }) => {
      if (texts.push(p.text) === 1) proxy.release()
    }
    await target.apply(step, { ...stepAct(step), progress })
    expect(texts[0]).toBe('1 requests are still open')
    expect(await slow).toEqual({ status: 200, body: 'held' })
  })

  it('cuts what is still open after the time allowed, and tells of it', async () => {
    const target = await open(proxy)
    const step = stepOf(await ask(target), 'drain')
    const slow = proxy.ask('/slow').catch((error: Error) => error)
    await expect.poll(() => proxy.held()).toBe(1)
    const told: string[] = []
    await target.apply(step, { ...stepAct(step), tell: async fact => void told.push(fact.text) })
    expect(told).toEqual([expect.stringMatching(/^1 requests of web-[12] were still open after 0.3 s and were cut$/)])
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect(await slow).not.toMatchObject({ status: 200 })
  })

  it('leaves it open instead, where that is set', async () => {
    const target = await open(proxy, { shutdownSessions: false })
    const step = stepOf(await ask(target), 'drain')
    const slow = proxy.ask('/slow')
    await expect.poll(() => proxy.held()).toBe(1)
    const handles = new Map<string, Json>()
    await target.apply(step, stepAct(step, 'r1', handles))
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'done' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    proxy.release()
    expect(await slow).toMatchObject({ status: 200 })
  })

  it('finishes what a killed process left half done', async () => {
    const target = await open(proxy)
    const step = stepOf(await ask(target), 'drain')
    await proxy.tell('set server web/sorry weight 100', 'set server web/web-1 state drain')
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await apply(target, step)
    expect((await proxy.ask()).body).toBe('sorry')
  })

  it('does not undo what somebody else did meanwhile', async () => {
    const target = await open(proxy, { hold: 'maint' })
    const proposal = await ask(target)
    await apply(target, stepOf(proposal, 'drain'))
    await proxy.tell('set server web/web-2 state drain')
    const back = stepOf(proposal, 'return/100')
    await expect(target.apply(back, stepAct(back))).rejects.toMatchObject({ code: 'server_moved', exit: 'moved' })
    expect((await proxy.ask()).body).toBe('sorry')
  })

  it('lets users back without a server that was fenced meanwhile, and leaves it out in later plans', async () => {
    const target = await open(proxy)
    const proposal = await ask(target)
    await apply(target, stepOf(proposal, 'drain'))
    await proxy.tell('set server web/web-2 state maint')
    const told: string[] = []
    for (const id of ['return/10', 'return/100']) {
      const back = stepOf(proposal, id)
      await target.apply(back, { ...stepAct(back), tell: async fact => void told.push(fact.text) })
      expect(await target.verify(back, stepAct(back))).toMatchObject({ is: 'done' })
    }
    expect(told[0]).toContain('web-2 of web stays in maintenance: this run did not put it there')
    expect([(await proxy.ask()).body, (await proxy.ask()).body]).toEqual(['web-1', 'web-1'])
    const later = await ask(target, { needs: [] })
    expect(later).toMatchObject({ change: null, steps: [], findings: [{ code: 'server_out', level: 'warning' }] })
    expect(later.findings[0]?.remedy).toContain('set server web/web-2 state ready')
    const fenced = await ask(target)
    expect(fenced.findings.map(f => f.code)).toContain('server_out')
    expect(stepOf(fenced, 'return/100').title).toContain('web-2 50 %')
  })

  it('lets nobody back where all servers were taken out meanwhile', async () => {
    const target = await open(proxy)
    const proposal = await ask(target)
    await apply(target, stepOf(proposal, 'drain'))
    await proxy.tell('set server web/web-1 state maint', 'set server web/web-2 state maint')
    const back = stepOf(proposal, 'return/100')
    await expect(target.apply(back, stepAct(back))).rejects.toMatchObject({ code: 'server_moved' })
    expect((await proxy.ask()).body).toBe('sorry')
  })

  it('takes users to safety whatever somebody did to a server meanwhile', async () => {
    const target = await open(proxy)
    const proposal = await ask(target)
    for (const id of ['drain', 'return/100']) await apply(target, stepOf(proposal, id))
    await proxy.tell('set server web/web-2 state maint')
    const away = stepOf(proposal, 'away')
    expect(await target.verify(away, stepAct(away))).toMatchObject({ is: 'not-done' })
    await apply(target, away)
    expect((await proxy.ask()).body).toBe('sorry')
    expect((await target.observe(signal)).summary).toMatch(/^sorry 100 %; web-1 in drain, web-2 in maint$/)
  })

  it('holds a server that came after the plan was made, too', async () => {
    const target = await open(proxy)
    const proposal = await ask(target)
    await proxy.tell(`add server web/web-3 127.0.0.1:${proxy.port} weight 100`, 'enable server web/web-3')
    try {
      for (const id of ['drain', 'away']) {
        const step = stepOf(proposal, id)
        expect(await target.verify(step, stepAct(step))).toMatchObject({
          is: 'not-done',
          why: expect.stringMatching(/web-3 is ready/),
        })
        await apply(target, step)
        expect((await proxy.ask()).body).toBe('sorry')
        await proxy.tell('set server web/web-3 state ready')
      }
    } finally {
      await proxy.tell('set server web/web-3 state maint', 'del server web/web-3')
    }
  })

  it('sends nobody to a maintenance server that is down, unless it is an emergency', async () => {
    const target = await open(proxy)
    await proxy.tell('set server web/sorry health down')
    try {
      const proposal = await ask(target)
      expect(proposal).toMatchObject({ steps: [], findings: [{ level: 'blocker', code: 'page_down' }] })
      const emergency = await ask(target, { mode: 'emergency' })
      expect(emergency.findings[0]).toMatchObject({ level: 'warning', code: 'page_down' })
      const drain = stepOf(emergency, 'drain')
      await target.apply(drain, stepAct(drain))
      const why = expect.stringContaining('sorry is down by health check: users get the error of HAProxy itself')
      expect(await target.verify(drain, stepAct(drain))).toMatchObject({ is: 'done', why })
    } finally {
      await proxy.tell('set server web/sorry health up')
    }
  })

  it('does not call traffic back while each server that is to have it is down', async () => {
    const target = await open(proxy)
    const proposal = await ask(target)
    await apply(target, stepOf(proposal, 'drain'))
    const back = stepOf(proposal, 'return/100')
    await target.apply(back, stepAct(back))
    await proxy.tell('set server web/web-1 health down', 'set server web/web-2 health down')
    expect(await target.verify(back, stepAct(back))).toMatchObject({ is: 'running' })
    await proxy.tell('set server web/web-1 health up', 'set server web/web-2 health up')
    expect(await target.verify(back, stepAct(back))).toMatchObject({ is: 'done' })
  })

  it('proposes the whole way again from the middle of a run', async () => {
    const target = await open(proxy)
    const first = await ask(target)
    await apply(target, stepOf(first, 'drain'))
    const again = await ask(target)
    expect(ids(again)).toEqual(['drain', 'return/10', 'return/50', 'return/100'])
    const drain = stepOf(again, 'drain')
    expect(await target.verify(drain, stepAct(drain))).toMatchObject({ is: 'done' })
    expect(ids(await ask(target, { needs: [] }))).toEqual(['return/10', 'return/50', 'return/100'])
  })

  it('gives traffic back at once in an emergency, and says so', async () => {
    const proposal = await ask(await open(proxy), { mode: 'emergency' })
    expect(ids(proposal)).toEqual(['drain', 'return/100'])
    expect(proposal.phases.return).toEqual({
      seq: [{ step: 'lb/return/100' }, { gate: 'healthy', forMs: 0, onFail: { apply: ['lb/away'], then: 'ask' } }],
    })
    expect(proposal.omits).toHaveLength(1)
  })

  it('refuses servers that are not there, and says which are', async () => {
    const error = await (await open(proxy, { servers: ['web-9'] })).observe(signal).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'no_such_server', why: 'it has web-1, web-2, sorry' })
    const target = await open(proxy, { backend: 'shop' })
    await expect(target.observe(signal)).rejects.toMatchObject({ code: 'haproxy_refused' })
    const old = { ...pin, servers: { ...pin.servers, 'web-3': { admin: 'ready' as const, weight: 1 } } }
    expect((await ask(await open(proxy), { to: old })).findings).toMatchObject([
      { level: 'blocker', code: 'server_gone' },
    ])
    expect(config.safeParse({ socket: 's', backend: 'web; disable frontend users' }).success).toBe(false)
  })

  it('warns of servers that keep serving', async () => {
    const some = await open(proxy, { servers: ['web-1'] })
    await capture(some)
    expect((await ask(some)).findings.map(f => f.code)).toContain('others_serve')
    await capture(await open(proxy))
  })

  it('speaks over TCP too', async () => {
    const target = await open(proxy, { socket: `127.0.0.1:${proxy.tcpPort}` })
    expect((await target.observe(signal)).summary).toBe('web-1 50 %, web-2 50 %')
  })
})

describe('C8: HAProxy restarts in the middle', () => {
  beforeEach(async () => {
    proxy = await new TestProxy().start()
    await capture(await open(proxy))
  })
  afterEach(() => proxy.stop())

  it('is unknown while it is away, and not-done once it has forgotten', async () => {
    const target = await open(proxy)
    const step = stepOf(await ask(target), 'drain')
    await apply(target, step)
    await proxy.kill()
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'unknown' })
    await expect(target.observe(signal)).rejects.toMatchObject({ code: 'haproxy_unreachable' })
    await proxy.run()
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await apply(target, step)
  })

  const configured = async (change: (config: string) => string) => {
    const file = join(proxy.dir, 'haproxy.cfg')
    await writeFile(file, change(await readFile(file, 'utf8')))
    await proxy.kill()
    await proxy.run()
  }

  it('takes users from the live servers though the maintenance server is gone, and says what they get', async () => {
    const target = await open(proxy)
    const away = stepOf(await ask(target), 'away')
    await configured(text => text.replace(/ {2}server sorry.*\n/, ''))
    const told: string[] = []
    await target.apply(away, { ...stepAct(away), tell: async fact => void told.push(fact.text) })
    expect(told).toEqual([expect.stringContaining('web/sorry is gone')])
    expect(await target.verify(away, stepAct(away))).toMatchObject({ is: 'done' })
    expect((await proxy.ask()).status).toBe(503)
  })

  it('holds a server that was added since the capture with the others, and leaves it as it is', async () => {
    const target = await open(proxy)
    const port = /web-1 127.0.0.1:(\d+)/.exec(await readFile(join(proxy.dir, 'haproxy.cfg'), 'utf8'))?.[1]
    await configured(text => text.replace('server sorry', `server web-3 127.0.0.1:${port} weight 50\n  server sorry`))
    expect(await ask(target, { needs: [] })).toMatchObject({ steps: [], findings: [] })
    const proposal = await ask(target)
    expect(proposal.findings).toMatchObject([{ level: 'warning', code: 'server_added' }, { code: 'not_durable' }])
    await apply(target, stepOf(proposal, 'drain'))
    expect((await target.observe(signal)).summary).toContain('web-3 in drain')
    await apply(target, stepOf(proposal, 'return/100'))
    expect((await target.observe(signal)).summary).toBe('web-1 40 %, web-2 40 %, web-3 20 %')
  })
})

describe('other ways to show a maintenance page', () => {
  afterEach(() => proxy.stop())

  it('a backup server takes all or nothing: traffic comes back in one step', async () => {
    proxy = await new TestProxy().start('backup')
    const target = await open(proxy)
    await capture(target)
    const proposal = await ask(target)
    expect(ids(proposal)).toEqual(['drain', 'return/100'])
    expect(proposal.findings.map(f => f.code)).toContain('return_at_once')
    await apply(target, stepOf(proposal, 'drain'))
    expect(await proxy.ask()).toEqual({ status: 503, body: 'sorry' })
    await apply(target, stepOf(proposal, 'return/100'))
    expect(await proxy.ask()).toMatchObject({ status: 200 })
  })

  it('without one, HAProxy answers itself', async () => {
    proxy = await new TestProxy().start('disabled')
    const target = await open(proxy, { maintenance: undefined, servers: ['web-1', 'web-2'] })
    await capture(target)
    const proposal = await ask(target)
    expect(ids(proposal)).toEqual(['drain', 'return/100'])
    await apply(target, stepOf(proposal, 'drain'))
    expect(await proxy.ask()).toMatchObject({ status: 503 })
    await apply(target, stepOf(proposal, 'return/100'))
    expect(await proxy.ask()).toMatchObject({ status: 200 })
  })

  it('hold: maint keeps out visitors whom a cookie ties to a server', async () => {
    proxy = await new TestProxy('one', 'cookie on insert indirect nocache').start()
    for (const [hold, expected] of [
      ['drain', 200],
      ['maint', 503],
    ] as const) {
      const target = await open(proxy, { hold })
      await capture(target)
      const proposal = await ask(target)
      await apply(target, stepOf(proposal, 'drain'))
      const visit = await fetch(`http://127.0.0.1:${proxy.port}/`, { headers: { cookie: 'on=web-1' } })
      expect([hold, visit.status]).toEqual([hold, expected])
      await visit.text()
      await apply(target, stepOf(proposal, 'return/100'))
    }
  })
})
