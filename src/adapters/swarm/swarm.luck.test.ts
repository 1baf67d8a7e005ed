import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { memoryVault } from '../../../test/conformance/stores.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { noSshd, type SshHosts, sshHosts } from '../../../test/support/sshd.ts'
import { type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import type { Json } from '../../core/json.ts'
import { captured, open, proposed, run } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages() ?? noSshd()
const signal = new AbortController().signal

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(`C6: bad luck with a Swarm${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: SwarmEngine
  let dir: string
  let ssh: SshHosts
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'luck-'))
    ssh = await sshHosts(['manager'])
    engine = await swarmEngine()
  })
  afterAll(async () => {
    await engine?.dispose()
    await ssh?.dispose()
    await rm(dir, { recursive: true, force: true })
  })

  async function upgraded(name: string, settings: object = {}) {
    await engine.create(name, 'shop:v1')
    const target = await open(engine, { services: [name], ...settings })
    const pin = await captured(target)
    await engine.update(name, '--image', 'shop:v2')
    return { name, target, pin }
  }

  it.concurrent('is neither well nor a release where tasks die again and again and one of them just runs, and is once one lives on', async ({
    expect,
  }) => {
    const flags = await mkdtemp(join(tmpdir(), 'flags-'))
    const script = 'n=0; while :; do n=$((n+1)); [ ! -e /flags/ill ] || [ $n -lt 20 ] || exit 3; sleep 0.2; done'
    const mortal = ['--mount', `type=bind,source=${flags},target=/flags`, '--entrypoint', `sh -c "${script}"`]
    await engine.create('mortal', 'shop:v1', '--restart-delay', '100ms', ...mortal)
    const target = await open(engine, { services: ['mortal'] })
    const pin = await captured(target)
    await engine.update('mortal', '--image', 'shop:v2')
    await writeFile(join(flags, 'ill'), '')
    expect(await run(target, await proposed(target, pin))).toEqual(['done'])
    const patient = { timeout: 120_000, interval: 500 }
    const found = async () => {
      const { change, unwell, findings } = await proposed(target, pin)
      const unwellOnes = findings.map(f => f.code).filter(code => code === 'tasks_unwell')
      return change === null ? [unwell?.map(u => u.step), unwellOnes] : change
    }
    const dies = [['web/update/mortal'], ['tasks_unwell']]
    await expect.poll(found, patient).toEqual(dies)
    const [one] = (await proposed(target, pin)).unwell ?? []
    if (one !== undefined) expect(one.why).toMatch(/^mortal: [2-9] tasks in one place ended by themselves.*exit \(3\)/)
    await expect(captured(target)).rejects.toMatchObject({ code: 'service_unsettled' })
    await rm(join(flags, 'ill'))
    await expect.poll(found, patient).toEqual([[], []])
    expect((await captured(target)).services.map(s => s.name)).toEqual(['mortal'])
    await rm(flags, { recursive: true })
  })

  it.concurrent('goes on where a reply was lost: the write is found, and not done twice', async ({ expect }) => {
    const { name, pin } = await upgraded('lost')
    const proxy = await proxied(engine, join(dir, 'lost.sock'))
    const target = await open({ host: `unix://${proxy.path}` }, { services: [name] })
    const [step] = ordered(await proposed(target, pin))
    if (step === undefined) throw new Error('no step')
    proxy.cutAfter(/^POST \/v1\.\d+\/services\//)
    const act = stepAct(step, 'lost')
    await expect(target.apply(step, act)).rejects.toMatchObject({ code: 'engine_unreachable' })
    const { Version: written, Spec: spec } = await engine.inspect(name)
    expect(spec.TaskTemplate.ContainerSpec.Image).toBe('shop:v1')
    expect(['running', 'not-done']).toContain((await target.verify(step, act)).is)
    await target.apply(step, act)
    expect((await target.verify(step, act)).is).toBe('done')
    expect((await engine.inspect(name)).Spec.TaskTemplate.ForceUpdate).toBe(spec.TaskTemplate.ForceUpdate)
    expect((await engine.inspect(name)).Version.Index).toBeGreaterThan(written.Index)
    await proxy.close()
    await expect(target.verify(step, act)).rejects.toMatchObject({ code: 'engine_unreachable' })
  })

  it.concurrent('comes to the same end when its process is killed in the middle', async ({ expect }) => {
    const name = 'killed'
    const vault = memoryVault(KEY)
    await engine.create(name, 'shop:v1')
    const target = await open(engine, { services: [name] }, vault)
    const pin = await captured(target, vault)
    await engine.update(name, '--image', 'shop:v2')
    const [step] = ordered(await proposed(target, pin))
    const [service] = pin.services
    if (step === undefined || service === undefined) throw new Error('no step')
    const child = killable(engine.host, name, step, Buffer.from(await vault.open(service.sealed)).toString('base64'))
    const died = once(child, 'exit')
    const image = async () => (await engine.inspect(name)).Spec.TaskTemplate.ContainerSpec.Image
    await expect.poll(image, { timeout: 60_000, interval: 50 }).toBe('shop:v1')
    child.kill('SIGKILL')
    expect(await died).toEqual([null, 'SIGKILL'])
    const act = { ...stepAct(step, 'killed'), vault }
    await expect.poll(async () => (await target.verify(step, act)).is, { timeout: 60_000 }).toBe('not-done')
    await target.apply(step, act)
    expect((await target.verify(step, act)).is).toBe('done')
    expect(await engine.versions(name)).toBe('v1')
  })

  it.concurrent('never lets old and new run side by side, also when it is killed while the removed one still stops', async ({
    expect,
  }) => {
    const name = 'apart'
    await engine.create(name, 'shop:v1', '--stop-signal', 'WINCH', '--stop-grace-period', '8s')
    const target = await open(engine, { services: [name] })
    const pin = await captured(target)
    await engine.update(name, '--image', 'shop:v2')
    const [step] = ordered(await proposed(target, pin, 'recreate'))
    const [stop] = ordered(await proposed(target, pin, 'update', { needs: [{ of: 'web', what: 'stopped', by: 'db' }] }))
    if (step === undefined || stop === undefined) throw new Error('no step')
    const handles = new Map<string, Json>()
    const killed = new AbortController()
    const dies = target.apply(step, { ...stepAct(step, 'apart', handles), signal: killed.signal })
    const there = () => engine.docker('service', 'ls', '-q', '--filter', `name=${name}`)
    await expect.poll(there, { timeout: 60_000, interval: 50 }).toBe('')
    killed.abort()
    await expect(dies).rejects.toThrow()
    expect((await target.verify(stop, stepAct(stop))).is).toBe('running')
    const seen = new Set<string>()
    const again = target.apply(step, stepAct(step, 'apart', handles))
    while ((await Promise.race([again, sleep(100, 'at it')])) === 'at it') seen.add(await engine.versions(name))
    expect((await target.verify(step, stepAct(step, 'apart', handles))).is).toBe('done')
    expect([...seen]).not.toContain('v1 v2')
    expect(await engine.versions(name)).toBe('v1')
  })

  it.concurrent('reaches a manager over SSH, and again after the connection was lost', async ({ expect }) => {
    const { name, pin } = await upgraded('far')
    const socket = engine.host.slice('unix://'.length)
    await using target = await open({ host: `ssh://manager${socket}` }, { services: [name], sshConfig: ssh.config })
    expect((await target.observe(signal)).summary).toContain('far shop:v2 (1 of 1 running)')
    await ssh.stop('manager')
    await expect(target.observe(signal)).rejects.toMatchObject({
      code: expect.stringMatching(/^(host|engine)_unreachable$/),
    })
    await ssh.start('manager')
    expect(await run(target, await proposed(target, pin))).toEqual(['done'])
    expect(await engine.versions(name)).toBe('v1')
    const nothing = await open({ host: 'ssh://manager/nowhere.sock' }, { services: [name], sshConfig: ssh.config })
    await expect(nothing.observe(signal)).rejects.toMatchObject({ code: 'engine_unreachable' })
    await nothing[Symbol.asyncDispose]()
  })

  it.concurrent('speaks TLS with keys of both sides, and to nobody else', async ({ expect }) => {
    certificates(dir)
    const server = await tls(engine, dir)
    const { port } = server.address() as { port: number }
    const host = `tcp://127.0.0.1:${port}`
    const keys = { ca: join(dir, 'ca.pem'), cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') }
    await engine.create('safe', 'shop:v1')
    const target = await open({ host }, { services: ['safe'], tls: keys })
    expect((await target.observe(signal)).summary).toBe('safe shop:v1 (1 of 1 running)')
    const stranger = await open({ host }, { services: ['safe'], tls: { ...keys, ca: join(dir, 'other.pem') } })
    await expect(stranger.observe(signal)).rejects.toMatchObject({ code: 'engine_unreachable' })
    const plain = await open({ host }, { services: ['safe'] })
    await expect(plain.observe(signal)).rejects.toMatchObject({ code: 'engine_unreachable' })
    server.close()
  })
})

describe.skipIf(why !== null)('C1: an engine that is no manager', () => {
  it('is told, with what to do', async () => {
    const engine = await swarmEngine()
    try {
      await engine.create('gone', 'shop:v1')
      const target = await open(engine, { services: ['gone'] })
      const pin = await captured(target)
      await engine.docker('swarm', 'leave', '--force')
      await expect(target.observe(signal)).rejects.toMatchObject({
        code: 'not_a_manager',
        next: expect.stringContaining('engine'),
      })
      await engine.docker('swarm', 'init', '--advertise-addr', engine.address(1))
      const codes = (await proposed(target, pin)).findings.map(f => `${f.level} ${f.code}`)
      expect(codes).toEqual(['blocker other_identity'])
    } finally {
      await engine.dispose()
    }
  })
})

/** A way to the engine that can be cut right after a request has gone through. */
async function proxied(engine: SwarmEngine, path: string) {
  let cut: RegExp | null = null
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    const there = connect(engine.host.slice('unix://'.length))
    sockets.add(client).add(there)
    client.on('data', chunk => {
      there.write(chunk)
      if (cut?.test(chunk.toString('latin1')) !== true) return
      cut = null
      // The engine has it, and its answer reaches nobody.
      there.on('data', () => client.destroy())
      there.unpipe(client)
    })
    there.on('data', chunk => void client.write(chunk))
    for (const [one, other] of [[client, there] as const, [there, client] as const]) {
      one.on('error', () => {})
      one.on('close', () => other.destroy())
    }
  })
  server.listen(path)
  await once(server, 'listening')
  const close = async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  return { path, close, cutAfter: (words: RegExp) => void (cut = words) }
}

/** The vault's key, so that another process reckons with the same hashes. */
const KEY = Buffer.from('shared by two processes')

/** Another process that applies a step, with what the vault would give it. */
function killable(host: string, name: string, step: unknown, sealed: string): ChildProcess {
  const code = `
    import { open } from ${JSON.stringify(import.meta.resolve('./swarm.fixture.ts'))}
    import { memoryVault } from ${JSON.stringify(import.meta.resolve('../../../test/conformance/stores.ts'))}
    import { stepAct } from ${JSON.stringify(import.meta.resolve('../../../test/conformance/walk.ts'))}
    const step = ${JSON.stringify(step)}
    const vault = memoryVault(Buffer.from(${JSON.stringify(KEY.toString())}))
    await vault.seal(Buffer.from(${JSON.stringify(sealed)}, 'base64'), '')
    const target = await open({ host: ${JSON.stringify(host)} }, { services: [${JSON.stringify(name)}] }, vault)
    await target.apply(step, { ...stepAct(step, 'killed'), vault })`
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'inherit', 'inherit'] })
}

function certificates(dir: string): void {
  const openssl = (...words: string[]) => execFileSync('openssl', words, { cwd: dir, stdio: 'ignore' })
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  for (const name of ['ca', 'other']) {
    openssl(
      'req',
      '-x509',
      ...fresh,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-subj',
      `/CN=${name}`,
      '-days',
      '2',
    )
  }
  openssl(
    'req',
    ...fresh,
    '-keyout',
    'key.pem',
    '-out',
    'req.pem',
    '-subj',
    '/CN=engine',
    '-addext',
    'subjectAltName=IP:127.0.0.1',
  )
  openssl(
    'x509',
    '-req',
    '-in',
    'req.pem',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-out',
    'cert.pem',
    '-days',
    '2',
    '-copy_extensions',
    'copy',
  )
}

/** The engine behind TLS, as its own --tlsverify has it. */
async function tls(engine: SwarmEngine, dir: string): Promise<Server> {
  const [ca, cert, key] = await Promise.all(['ca.pem', 'cert.pem', 'key.pem'].map(name => readFile(join(dir, name))))
  const server = createTlsServer({ ca, cert, key, requestCert: true, rejectUnauthorized: true } as never, client => {
    const there = connect(engine.host.slice('unix://'.length))
    client.pipe(there).pipe(client)
    for (const socket of [client, there]) socket.on('error', () => {})
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}
