import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { COMPOSE, noCompose, type Project, project } from '../../../test/support/compose.ts'
import { type Dockerd, dockerd, noDockerd } from '../../../test/support/dockerd.ts'
import { makeImage, noImages } from '../../../test/support/shop-images.ts'
import type { Need } from '../../core/contract.ts'
import { captured, codes, open, part, proposed, run, shopOn, WEB } from './compose.fixture.ts'

const why = noDockerd() ?? noImages() ?? noCompose()
const signal = new AbortController().signal
const need = (what: Need['what']): Need => ({ of: 'web', what, by: 'db' })

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(
  `C6: what a project of Compose keeps, and what is not its services${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let engine: Dockerd
    const made: Project[] = []
    beforeAll(async () => {
      engine = await dockerd()
      for (const version of ['v1', 'v2']) await makeImage(engine, `shop:${version}`, { version })
    })
    afterAll(async () => {
      await Promise.all(made.map(p => p.dispose()))
      await engine?.dispose()
    })

    const shop = (files: Record<string, string>) => shopOn(engine, made, files)
    const call = (p: Project, ...words: string[]) =>
      promisify(execFile)(COMPOSE, words, { cwd: p.dir, env: { ...process.env, DOCKER_HOST: engine.host } })
    const only = (list: readonly string[]) => {
      if (list.length !== 1) throw new Error(`one container expected, not ${list.length}`)
      return list[0] ?? ''
    }

    it.concurrent('keeps what is in volumes without a name through the rung recreate, and names those that come off', async ({
      expect,
    }) => {
      const web = `${WEB}    volumes: ["/data"]\n`
      const { p, target, pin } = await shop({ 'compose.yaml': web, '.env': 'TAG=v1\n' })
      await p.write('.env', 'TAG=v2\n')
      await p.write('compose.yaml', `${web}  extra:\n    ${part('shop:v2')}    volumes: ["/cache"]\n`)
      await p.up()
      const before = only(await p.containers('web'))
      await engine.docker('exec', before, 'sh', '-c', 'echo precious >/data/kept')
      const proposal = await proposed(target, pin, { rung: 'recreate' })
      const off = proposal.findings.filter(f => f.code === 'volume_detached').map(f => f.what)
      expect(off).toEqual([expect.stringMatching(/extra:\/cache .*[0-9a-f]{64}/)])
      expect(await run(target, proposal)).toEqual(['done', 'done', 'done'])
      const after = only(await p.containers('web'))
      expect(after).not.toBe(before)
      expect(await engine.docker('exec', after, 'cat', '/version', '/data/kept')).toBe('v1\nprecious')
    })

    it.concurrent('starts nothing where nothing ran', async ({ expect }) => {
      const file = `${WEB}  job:\n    ${part('shop:v1')}    command: ["true"]\n`
      const { p, target } = await shop({ 'compose.yaml': file, '.env': 'TAG=v1\n' })
      const all = ['ps', '-aq', '--filter', `label=com.docker.compose.project=${p.name}`]
      await call(p, 'down')
      const nothing = await target.capture(await target.observe(signal), {
        ...stepAct(),
        purpose: 'departure',
        release: 'before',
      })
      expect(nothing.services).toEqual([])
      await p.up()
      await p.write('.env', 'TAG=v2\n')
      await engine.docker('rm', '-f', ...(await engine.docker(...all)).split('\n'))
      await p.up('web')
      expect(await run(target, await proposed(target, nothing))).toEqual(['done', 'done'])
      expect(await engine.docker(...all)).toBe('')
      expect((await proposed(target, nothing)).steps).toEqual([])
    })

    it.concurrent('takes no service for added that the files of the release have, though it did not run at the capture', async ({
      expect,
    }) => {
      const file = `${WEB}  worker:\n    ${part('shop:${TAG}')}`
      const p = await project(engine, { 'compose.yaml': file, '.env': 'TAG=v1\n' })
      made.push(p)
      await p.up()
      const target = await open(p.settings)
      const worker = only(await p.containers('worker'))
      await engine.docker('pause', worker)
      await expect(captured(target)).rejects.toMatchObject({
        code: 'project_unsettled',
        why: expect.stringContaining('worker is paused'),
      })
      await engine.docker('unpause', worker)
      await engine.docker('stop', worker)
      const pin = await captured(target)
      expect(pin.services.map(s => s.name)).toEqual(['web'])
      await p.write('.env', 'TAG=v2\n')
      await p.write('compose.yaml', `${file}  extra:\n    ${part('shop:v2')}`)
      await p.up()
      const proposal = await proposed(target, pin)
      const said = proposal.findings.filter(f => f.code.startsWith('service_')).map(f => `${f.code} ${f.what}`)
      expect(said.sort()).toEqual([
        expect.stringMatching(/^service_added .* extra: /),
        expect.stringMatching(/^service_not_captured worker .*goes on as it is \(shop:v2\)$/),
      ])
      expect(proposal.impact.disappears).toEqual(['service extra'])
      const stopping = await proposed(target, pin, { needs: [need('stopped')] })
      expect(stopping.findings.find(f => f.code === 'service_not_captured')?.what).toContain('not brought up again')
      expect(await run(target, proposal)).toEqual(['done', 'done', 'done'])
      expect([await p.versions('web'), await p.versions('worker'), await p.containers('extra')]).toEqual([
        'v1',
        'v2',
        [],
      ])
      expect((await proposed(target, pin)).steps).toEqual([])
    })

    it.concurrent('is neither well nor a release where a container dies again and again and just runs, and is once it lives on', async ({
      expect,
    }) => {
      const script = '"n=0; while :; do n=$$((n+1)); [ ! -e /flags/ill ] || [ $$n -lt 20 ] || exit 3; sleep 0.2; done"'
      const mortal = `    restart: always\n    volumes: ["./flags:/flags"]\n    command: ["sh", "-c", ${script}]\n`
      const files = { 'compose.yaml': `services:\n  web:\n    ${part('shop:${TAG}')}${mortal}`, '.env': 'TAG=v1\n' }
      const { p, target, pin } = await shopOn(engine, made, files)
      const found = async () => {
        const { steps, unwell, findings } = await proposed(target, pin)
        return steps.length > 0
          ? 'restarting'
          : [unwell?.map(u => u.step) ?? [], findings.filter(f => f.moves === true).map(f => f.code)]
      }
      expect(await found()).toEqual([[], []])
      await writeFile(join(p.dir, 'flags/ill'), '')
      const patient = { timeout: 120_000, interval: 300 }
      await expect.poll(found, patient).toEqual([['web/up'], ['containers_unwell']])
      await expect(captured(target)).rejects.toMatchObject({
        code: 'project_unsettled',
        why: expect.stringMatching(/web was started anew [2-9] times|web dies again and again/) as string,
      })
      await rm(join(p.dir, 'flags/ill'))
      await expect.poll(found, patient).toEqual([[], []])
      expect((await captured(target)).services.map(s => s.name)).toEqual(['web'])
    })

    it.concurrent('is the same state where a container runs at this moment and where it is about to be started anew', async ({
      expect,
    }) => {
      const dies = '    restart: always\n    command: ["sh", "-c", "sleep 1; exit 3"]\n'
      const p = await project(engine, { 'compose.yaml': `${WEB}${dies}`, '.env': 'TAG=v1\n' })
      made.push(p)
      await p.up()
      const target = await open(p.settings)
      const looks = new Map<string, string>()
      const looked = async () => {
        const { summary, state } = await target.observe(signal)
        looks.set(summary, JSON.stringify(state))
        return looks.size
      }
      await expect.poll(looked, { timeout: 60_000, interval: 100 }).toBe(2)
      expect([...looks.keys()].sort()).toEqual([expect.stringContaining('(0 of 1'), expect.stringContaining('(1 of 1')])
      expect(new Set(looks.values()).size).toBe(1)
      // Stopped by a person it stays so: that is another one.
      await engine.docker('stop', only(await p.containers('web')))
      expect([...looks.values()]).not.toContain(JSON.stringify((await target.observe(signal)).state))
    })

    it.concurrent('refuses to capture a service that dies again and again', async ({ expect }) => {
      const dies = `  worker:\n    ${part('shop:v1')}    restart: always\n    command: ["sh", "-c", "exit 3"]\n`
      const p = await project(engine, { 'compose.yaml': `${WEB}${dies}`, '.env': 'TAG=v1\n' })
      made.push(p)
      await p.up()
      const target = await open(p.settings)
      const label = ['--filter', `label=com.docker.compose.project=${p.name}`, '--format', '{{.Status}}']
      const states = () => engine.docker('ps', '-a', ...label)
      await expect.poll(states, { timeout: 60_000 }).toContain('Restarting')
      // Each time it waits longer in between.
      await expect
        .poll(() => captured(target).catch(error => String(error.why)), { timeout: 60_000 })
        .toMatch(/worker dies again and again \(exit code 3\)/)
    })

    it.concurrent('goes back to as many containers as ran, whatever `--scale` made of them since', async ({
      expect,
    }) => {
      const { p, target } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\n' })
      await p.up('--scale', 'web=2')
      const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
      const pin = await target.capture(await target.observe(signal), act)
      await p.up('--scale', 'web=3')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toContain('warning replicas_lowered')
      // Nothing of it is another release: a run at whose end it is so has brought users back.
      expect(proposal.change).toMatchObject({ fewer: true })
      await p.write('.env', 'TAG=v2\n')
      expect((await proposed(target, pin)).change).not.toHaveProperty('fewer')
      await p.write('.env', 'TAG=v1\n')
      const [one = '', two = ''] = await p.containers('web')
      await engine.docker('kill', one, two)
      expect((await proposed(target, pin)).change).not.toHaveProperty('fewer')
      expect(await run(target, proposal)).toEqual(['done'])
      expect((await p.containers('web')).length).toBe(2)
      expect((await proposed(target, pin)).steps).toEqual([])
    })

    it.concurrent('leaves alone what `compose run` began, and a job at work that others wait for', async ({
      expect,
    }) => {
      const flags = await mkdtemp(join(tmpdir(), 'flags-'))
      const wait = 'command: ["sh", "-c", "while [ ! -e /flags/go ]; do sleep 0.2; done"]'
      const job = `  migrate:\n    ${part('shop:${TAG}')}    volumes: ["${flags}:/flags"]\n    ${wait}\n`
      const later = `    depends_on: { migrate: { condition: service_completed_successfully } }\n`
      const { p, target, pin } = await shop({
        'compose.yaml': `${WEB}${job}  late:\n    ${part('shop:v1')}${later}    profiles: [late]\n`,
        '.env': 'TAG=v1\n',
      })
      expect(pin.services.map(s => s.name)).toEqual(['web'])
      await call(p, 'run', '-d', '--no-deps', 'web', 'sleep', '1000')
      const own = await engine.docker(
        'ps',
        '-q',
        '--filter',
        `label=com.docker.compose.project=${p.name}`,
        '--filter',
        'label=com.docker.compose.oneoff=True',
      )
      await p.write('.env', 'TAG=v2\n')
      await p.up('web', 'migrate')
      const atWork = only(await p.containers('migrate'))
      const stopping = await proposed(target, pin, { needs: [need('stopped')] })
      expect(stopping.steps[0]).toMatchObject({ id: 'web/stop', args: { services: ['migrate', 'web'] } })
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(['note image_without_digest', 'warning job_at_work', 'warning run_at_work'])
      expect(proposal.impact.disappears).toEqual([])
      expect(await run(target, proposal)).toEqual(['done', 'done'])
      expect(await p.containers('migrate')).toEqual([atWork])
      const web = await p.containers('web')
      expect([web.length, web.includes(own)]).toEqual([2, true])
      const [found = ''] = web.filter(id => id !== own)
      expect(await engine.docker('exec', found, 'cat', '/version')).toBe('v1')
      const seen = await target.observe(signal)
      expect(JSON.stringify([seen.state, seen.summary])).not.toContain('2 of 2')
      expect((await proposed(target, pin)).steps).toEqual([])
      await rm(flags, { recursive: true })
    })
  },
)
