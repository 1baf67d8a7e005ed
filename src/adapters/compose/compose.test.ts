import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { memoryVault } from '../../../test/conformance/stores.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noCompose, type Project, project } from '../../../test/support/compose.ts'
import { CONTAINERD, type Dockerd, dockerd, noDockerd } from '../../../test/support/dockerd.ts'
import { makeImage, noImages } from '../../../test/support/shop-images.ts'
import { noSshd, type SshHosts, sshHosts } from '../../../test/support/sshd.ts'
import type { Fact } from '../../core/contract.ts'
import { actOf, captured, codes, open, part, proposed, run, shopOn, WEB } from './compose.fixture.ts'

const why = noDockerd() ?? noImages() ?? noCompose() ?? noSshd()
const signal = new AbortController().signal
// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(`C6: a project of Compose taken back${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: Dockerd
  let ssh: SshHosts
  const made: Project[] = []
  beforeAll(async () => {
    ssh = await sshHosts(['web-1'])
    engine = await dockerd()
    for (const version of ['v1', 'v2']) await makeImage(engine, `shop:${version}`, { version })
  })
  afterAll(async () => {
    await Promise.all(made.map(p => p.dispose()))
    await engine?.dispose()
    await ssh?.dispose()
  })

  const shop = (files: Record<string, string>) => shopOn(engine, made, files)

  it.concurrent('puts the files back, with the secrets of today, and brings up only what differs', async ({
    expect,
  }) => {
    const file = `${WEB}    depends_on: [other]\n  other:\n    ${part('shop:v1')}`
    const { p, pin } = await shop({ 'compose.yaml': file, '.env': 'TAG=v1\nAPI_TOKEN=old-token\n' })
    const target = await open({ ...p.settings, except: ['db'] })
    await chmod(join(p.dir, '.env'), 0o640)
    const [other] = await p.containers('other')
    await p.write('.env', 'TAG=v2\nAPI_TOKEN=new-token\nNEW=1\n')
    await p.write('compose.yaml', `${file}  extra:\n    ${part('shop:v2')}  db:\n    ${part('shop:v2')}`)
    await p.up()
    const db = await p.containers('db')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toEqual([
      ...Array(CONTAINERD ? 1 : 2).fill('note image_without_digest'),
      'note secrets_current',
      'warning service_added',
    ])
    expect(proposal.impact.disappears.toSorted()).toEqual(['service extra', 'variable NEW'])
    expect(JSON.stringify([pin, proposal])).not.toMatch(/old-token|new-token/)
    const facts: Fact[] = []
    const tell = async (fact: Fact) => void facts.push(fact)
    expect(await run(target, proposal, { tell })).toEqual(['done', 'done', 'done'])
    expect([await readFile(join(p.dir, '.env'), 'utf8'), await readFile(join(p.dir, 'compose.yaml'), 'utf8')]).toEqual([
      'TAG=v1\nAPI_TOKEN=new-token\n',
      file,
    ])
    expect((await stat(join(p.dir, '.env'))).mode & 0o777).toBe(0o640)
    expect(facts.map(f => f.kind)).toEqual(['kept', 'kept'])
    expect([await p.versions('web'), await p.containers('extra'), await p.containers('other')]).toEqual([
      'v1',
      [],
      [other],
    ])
    expect(await p.containers('db')).toEqual(db)
    expect((await proposed(target, pin)).steps).toEqual([])
  })

  it.concurrent('sees that a container was made from other settings, though image and files are right', async ({
    expect,
  }) => {
    const { p, target, pin } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\nCOLOUR=blue\n' })
    await p.write('.env', 'TAG=v1\nCOLOUR=red\n')
    await p.up()
    await p.write('.env', 'TAG=v1\nCOLOUR=blue\n')
    const proposal = await proposed(target, pin)
    expect(proposal.steps.map(s => s.id)).toEqual(['web/up'])
    const [step] = ordered(proposal)
    if (step === undefined) throw new Error('no step')
    expect(await target.verify(step, actOf(step))).toMatchObject({
      is: 'not-done',
      why: expect.stringContaining('other settings'),
    })
    expect(await run(target, proposal)).toEqual(['done'])
    const [id = ''] = await p.containers('web')
    expect(await engine.docker('exec', id, 'env')).toContain('COLOUR=blue')
  })

  it.concurrent('gives a tag that was moved its image back, and keeps the other one by a name', async ({ expect }) => {
    await engine.docker('tag', 'shop:v1', 'shop:stable')
    const { p, target, pin } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=stable\n' })
    await engine.docker('tag', 'shop:v2', 'shop:stable')
    await p.up()
    expect(await p.versions()).toBe('v2')
    const proposal = await proposed(target, pin)
    expect(codes(proposal)).toContain('warning tag_moved')
    expect(await run(target, proposal)).toEqual(['done'])
    expect(await p.versions()).toBe('v1')
    const kept = await engine.docker('images', '--format', '{{.ID}}', `backout-left/${p.name}-web`)
    expect(kept).toBe(await engine.docker('images', '--format', '{{.ID}}', 'shop:v2'))
    const id = `sha256:${'0'.repeat(64)}`
    const lost = (digests: string[]) => ({ ...pin, services: pin.services.map(s => ({ ...s, id, digests })) })
    expect(codes(await proposed(target, lost([])))).toContain('blocker image_gone')
    // As an engine tells it that calls what was built there by a digest, too.
    const { findings } = await proposed(target, lost([`shop@${id}`]))
    expect(findings.find(f => f.code === 'image_gone')).toMatchObject({
      level: 'blocker',
      remedy: expect.stringContaining(`docker pull shop@${id}`),
    })
    expect(codes(await proposed(target, lost([`shop@sha256:${'1'.repeat(64)}`])))).toContain('warning image_pulled')
  })

  it.concurrent('believes neither a container that dies at once nor one that is not healthy', async ({ expect }) => {
    const check = 'healthcheck: { test: test -e /flags/well, interval: 300ms, timeout: 5s, retries: 2 }'
    const command = `command: ["sh", "-c", "[ ! -e /flags/ill ] || exit 3; exec sh /run.sh"]`
    const file = `${WEB}    volumes: ["./flags:/flags"]\n    ${command}\n    ${check}\n`
    const p = await project(engine, { 'compose.yaml': file, '.env': 'TAG=v1\n' })
    made.push(p)
    await mkdir(join(p.dir, 'flags'))
    const target = await open(p.settings)
    await p.up()
    await expect(captured(target)).rejects.toMatchObject({ code: 'project_unsettled' })
    await p.write('flags/well', '')
    const health = async () =>
      engine.docker('inspect', '--format', '{{.State.Health.Status}}', (await p.containers())[0] ?? '')
    await expect.poll(health, { timeout: 30_000 }).toBe('healthy')
    const pin = await captured(target)
    await p.write('.env', 'TAG=v2\n')
    await p.up()
    await rm(join(p.dir, 'flags/well'))
    const [write, up] = ordered(await proposed(target, pin))
    if (write === undefined || up === undefined) throw new Error('two steps expected')
    await target.apply(write, actOf(write))
    await expect(target.apply(up, actOf(up))).rejects.toMatchObject({
      code: 'up_failed',
      why: expect.stringContaining('unhealthy'),
    })
    await p.write('flags/ill', '')
    const [recreate] = ordered(await proposed(target, pin, { rung: 'recreate' }))
    if (recreate === undefined) throw new Error('no step')
    await expect(target.apply(recreate, actOf(recreate))).rejects.toMatchObject({
      why: expect.stringContaining('exit code 3'),
    })
    expect(await target.verify(recreate, actOf(recreate))).toMatchObject({ is: 'not-done' })
    await rm(join(p.dir, 'flags/ill'))
    await p.write('flags/well', '')
    expect(await run(target, await proposed(target, pin))).toEqual(['done'])
    expect([await p.versions(), await health()]).toEqual(['v1', 'healthy'])
  })

  it.concurrent('leaves files alone that somebody else changed, and blocks where one is gone from the vault', async ({
    expect,
  }) => {
    const { p, target, pin } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\n' })
    await p.write('.env', 'TAG=v2\n')
    await p.up()
    const [write] = ordered(await proposed(target, pin))
    if (write === undefined) throw new Error('no step')
    await p.write('.env', 'TAG=v2\nBY=hand\n')
    await expect(target.apply(write, actOf(write))).rejects.toMatchObject({ code: 'file_moved', exit: 'moved' })
    await p.write('.env', 'TAG=v2\n')
    let guards = 0
    const guard = () => {
      if (++guards > 1) writeFileSync(join(p.dir, '.env'), 'TAG=v2\nLATE=1\n')
    }
    await expect(target.apply(write, { ...actOf(write), guard })).rejects.toMatchObject({ code: 'file_moved' })
    expect(await readFile(join(p.dir, '.env'), 'utf8')).toBe('TAG=v2\nLATE=1\n')
    const lost = { ...pin, files: pin.files.map(f => ({ ...f, sealed: { ...f.sealed, id: 'lost' } })) }
    expect(codes(await proposed(target, lost))).toContain('blocker content_gone')
  })

  it.concurrent('C16: works over SSH, and comes to the same end when its process is killed in the middle', async ({
    expect,
  }) => {
    const vault = memoryVault(KEY)
    const { p } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\n' })
    const settings = { ...p.settings, host: 'web-1', sshConfig: ssh.config }
    await using target = await open(settings, vault)
    const pin = await captured(target, vault)
    await p.write('.env', 'TAG=v2\n')
    await p.up()
    const [write, up] = ordered(await proposed(target, pin))
    if (write === undefined || up === undefined) throw new Error('two steps expected')
    await target.apply(write, { ...actOf(write), vault })
    const child = killable(settings, up)
    const died = once(child, 'exit')
    // Slow it down until it is caught in the middle: the old container is being replaced.
    await expect.poll(async () => (await p.versions()) !== 'v2', { timeout: 60_000, interval: 20 }).toBe(true)
    child.kill('SIGKILL')
    expect(await died).toEqual([null, 'SIGKILL'])
    const act = { ...stepAct(up, 'killed'), vault }
    await expect.poll(async () => (await target.verify(up, act)).is, { timeout: 30_000 }).not.toBe('running')
    if ((await target.verify(up, act)).is !== 'done') await target.apply(up, act)
    expect((await target.verify(up, act)).is).toBe('done')
    expect(await p.versions()).toBe('v1')
  })

  it.concurrent('says what is missing: an engine, Compose, the folder', async ({ expect }) => {
    const { p, target, pin } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\n' })
    const deaf = await open({ ...p.settings, docker: ['env', 'DOCKER_HOST=unix:///nowhere.sock', 'docker'] })
    await expect(deaf.observe(signal)).rejects.toMatchObject({ code: 'engine_unreachable' })
    const other = await open({ ...p.settings, project: 'other' })
    expect(codes(await proposed(other, pin))).toEqual(['blocker other_identity'])
    await rm(join(p.dir, 'compose.yaml'))
    await expect(captured(target)).rejects.toMatchObject({ code: 'project_unsettled' })
    expect((await proposed(target, pin)).steps.map(s => s.id)).toEqual(['web/write/compose.yaml', 'web/up'])
    expect(await run(target, await proposed(target, pin))).toEqual(['done', 'done'])
    await rm(p.dir, { recursive: true })
    await expect(target.observe(signal)).rejects.toMatchObject({ code: 'folder_gone' })
  })
})

/** The vault's key, so that another process reckons with the same hashes. */
const KEY = Buffer.from('shared by two processes')

/** Another process that applies a step. */
function killable(settings: object, step: unknown) {
  const code = `
    import { open } from ${JSON.stringify(import.meta.resolve('./compose.fixture.ts'))}
    import { memoryVault } from ${JSON.stringify(import.meta.resolve('../../../test/conformance/stores.ts'))}
    import { stepAct } from ${JSON.stringify(import.meta.resolve('../../../test/conformance/walk.ts'))}
    const step = ${JSON.stringify(step)}
    const vault = memoryVault(Buffer.from(${JSON.stringify(KEY.toString())}))
    const target = await open(${JSON.stringify(settings)}, vault)
    await target.apply(step, { ...stepAct(step, 'killed'), vault })`
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'inherit', 'inherit'] })
}
