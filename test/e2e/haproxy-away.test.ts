import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TestProxy } from '../../src/adapters/haproxy/haproxy.fixture.ts'
import { type CommandLine, commandLine } from '../support/command-line.ts'

let dir: string
let line: CommandLine
let proxy: TestProxy

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-away-'))
  line = commandLine(dir)
  proxy = await new TestProxy().start()
})
afterEach(async () => {
  await proxy.stop()
  await rm(dir, { recursive: true })
})

/** An app that is put in place while HAProxy keeps users from it, captured on v1 and then on v2. */
async function onV2(lb: object, app: object, more: object): Promise<void> {
  const settings = {
    identity: 'app',
    observe: `printf '{"state":"%s"}' "$(cat app)"`,
    apply: 'echo "$BACKOUT_RELEASE" > app',
    verify: 'test "$(cat app)" = "$BACKOUT_RELEASE"',
    needs: [{ of: 'lb', what: 'drained' }],
    ...app,
  }
  const balancer = { socket: proxy.socket, backend: 'web', maintenance: 'sorry', within: '300ms', timeout: '2s', ...lb }
  const components = {
    app: { adapter: 'command', settings },
    lb: { adapter: 'haproxy', dependsOn: ['app'], settings: balancer },
  }
  await writeFile(join(dir, 'backout.yaml'), JSON.stringify({ environment: 'shop', components, ...more }))
  await writeFile(join(dir, 'app'), 'v1\n')
  expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await writeFile(join(dir, 'app'), 'v2\n')
}

const body = async () => (await proxy.ask()).body

describe('HAProxy keeps users away', { timeout: 120_000 }, () => {
  it.each(['maint', 'drain'])('until a run after the aborted one brings them back (hold: %s)', async hold => {
    const probes = { ok: { kind: 'command', run: 'test -e ok' } }
    const gates = { well: { probes: ['ok'], attempts: 1 } }
    await onV2({ hold }, {}, { probes, gates, policy: { verify: ['well'] } })
    expect((await line.backout(['run', '--yes', '--to', 'v1'])).code).toBe(5)
    expect((await line.backout(['abort'])).code).toBe(7)
    expect(await body()).toBe('sorry')
    await writeFile(join(dir, 'ok'), '')
    const status = (await line.backout(['status'])).stdout.replaceAll(/\s+/g, ' ')
    expect(status).toContain('A new run does that: backout run --to v1')
    const run = await line.backout(['run', '--yes', '--to', 'v1'])
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    expect([await body(), await body()].toSorted()).toEqual(['web-1', 'web-2'])
    expect((await line.backout(['plan', '--to', 'v1'])).stdout).not.toContain('left_drained')
  })

  it('no more where somebody brought them back by hand: a server that is taken out later stays out', async () => {
    const probes = { ok: { kind: 'command', run: 'test -e ok' } }
    const gates = { well: { probes: ['ok'], attempts: 1 } }
    await onV2({ hold: 'maint' }, {}, { probes, gates, policy: { verify: ['well'] } })
    expect((await line.backout(['run', '--yes', '--to', 'v1'])).code).toBe(5)
    expect((await line.backout(['abort'])).code).toBe(7)
    const ready = ['web-1', 'web-2'].map(name => `set server web/${name} state ready`)
    await proxy.tell(...ready, 'set server web/sorry weight 0')
    await writeFile(join(dir, 'ok'), '')
    await proxy.tell('set server web/web-2 state maint')
    const plan = (await line.backout(['plan', '--to', 'v1'])).stdout.replaceAll(/\s+/g, ' ')
    expect(plan).not.toContain('ended before they were back')
    expect(plan).toContain('lb stays: web-1 100 %; web-2 in maint')
    expect((await line.backout(['run', '--yes', '--to', 'v1'])).code).toBe(0)
    expect([await body(), await body()]).toEqual(['web-1', 'web-1'])
  })

  it('from a server that somebody takes out altogether, and data is replaced all the same', async () => {
    const talk = `import { connect } from 'node:net'
const s = connect(${JSON.stringify(proxy.socket)})
s.write('set server web/web-2 state maint\\n')
s.on('close', () => process.exit(0))
s.resume()`
    await writeFile(join(dir, 'maint.mjs'), talk)
    const hooks = { drain: { after: { run: [process.execPath, join(dir, 'maint.mjs')] } } }
    await onV2({}, { phase: 'data', destructive: true }, { hooks })
    const run = await line.backout(['run', '--yes', '--to', 'v1'])
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    expect(run.stdout).not.toContain('does not hold any more')
    expect(run.stdout.replaceAll(/\s+/g, ' ')).toContain('web-2 of web stays in maintenance')
    expect(await readFile(join(dir, 'app'), 'utf8')).toBe('v1\n')
    expect([await body(), await body()]).toEqual(['web-1', 'web-1'])
  })

  it('by hand, from all servers: going back makes them ready, which is said, and never leads to where nobody serves', async () => {
    await onV2({}, { needs: [] }, {})
    const out = ['web-1', 'web-2'].map(name => `set server web/${name} state maint`)
    await proxy.tell(...out, 'set server web/sorry weight 100')
    const run = await line.backout(['run', '--yes', '--to', 'v1'])
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    const said = run.stdout.replaceAll(/\s+/g, ' ')
    for (const name of ['web-1', 'web-2'])
      expect(said).toContain(`web/${name} is in maintenance now, and going back makes it ready`)
    expect([await body(), await body()].toSorted()).toEqual(['web-1', 'web-2'])
  })
})
