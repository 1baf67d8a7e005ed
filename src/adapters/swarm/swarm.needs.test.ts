import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import type { Need } from '../../core/contract.ts'
import { config } from './config.ts'
import { inspect } from './look.ts'
import { openSite } from './site.ts'
import { captured, codes, open, proposed, run, shopOn } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages()
const signal = new AbortController().signal
const need = (what: Need['what']): Need => ({ of: 'web', what, by: 'db' })

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(
  `C6: what others ask of a Swarm service${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let engine: SwarmEngine
    beforeAll(async () => {
      engine = await swarmEngine()
    })
    afterAll(() => engine?.dispose())

    const shop = (name: string, more?: string[]) => shopOn(engine, name, more)

    it.concurrent('takes a service with one task on each node back, also when a database asks for it to be stopped', async ({
      expect,
    }) => {
      const { name, target, pin } = await shop('global', ['--mode', 'global'])
      await engine.update(name, '--image', 'shop:v2')
      const [stop, update] = ordered(await proposed(target, pin, 'update', { needs: [need('stopped')] }))
      if (stop === undefined || update === undefined) throw new Error('no steps')
      await target.apply(stop, stepAct(stop))
      expect([(await target.verify(stop, stepAct(stop))).is, await engine.versions(name)]).toEqual(['done', ''])
      await target.apply(update, stepAct(update))
      expect([(await target.verify(update, stepAct(update))).is, await engine.versions(name)]).toEqual(['done', 'v1'])
      expect((await proposed(target, pin)).steps).toEqual([])
    })

    it.concurrent('says that tasks which it was given since go away, and takes no beginning of an id for a name', async ({
      expect,
    }) => {
      const { name, target, pin } = await shop('scaled', ['--replicas', '1'])
      await engine.update(name, '--replicas', '3')
      expect((await proposed(target, pin, 'update')).change).toMatchObject({ fewer: true })
      await engine.update(name, '--image', 'shop:v2', '--replicas', '2')
      expect((await proposed(target, pin, 'update')).change).not.toHaveProperty('fewer')
      const { findings } = await proposed(target, pin, 'update')
      expect(findings.filter(f => f.code === 'replicas_lowered')).toMatchObject([
        { level: 'warning', what: expect.stringMatching(/scaled.* goes back to 1 tasks, .*: it has 2 now/) as string },
      ])
      const id = (await engine.docker('service', 'inspect', '--format', '{{.ID}}', name)).trim()
      const { vault, backups } = stepAct()
      const ctx = { environment: 'test', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
      const site = openSite(config.parse({ engine: engine.host, services: [name] }), ctx)
      expect((await inspect(site, name, signal))?.ID).toBe(id)
      expect(await inspect(site, id.slice(0, 8), signal)).toBeNull()
      await site.engine[Symbol.asyncDispose]()
      await target[Symbol.asyncDispose]()
    })

    it.concurrent('does not take tasks that do not run for more of the release, only those that come on top may be missing', async ({
      expect,
    }) => {
      const { name, target, pin } = await shop('more', ['--replicas', '2', '--restart-condition', 'none'])
      const change = async () => (await proposed(target, pin)).change
      // The engine has one node only, and tasks that no node is right for wait.
      const most = ['--replicas-max-per-node', '2']
      const own = await shop('most', ['--replicas', '2', ...most])
      await engine.docker('service', 'scale', '--detach', 'most=3')
      const patient = { timeout: 60_000, interval: 500 }
      const ownChange = async () => (await proposed(own.target, own.pin)).change
      await expect.poll(ownChange, patient).toMatchObject({ fewer: true })
      await engine.docker('service', 'scale', '--detach', `${name}=3`)
      const all = { fewer: true, from: expect.stringContaining('(3 of 3 running)') }
      await expect.poll(change, patient).toMatchObject(all)
      const gone = async () => {
        const ids = await engine.docker('ps', '--quiet', '--filter', `label=com.docker.swarm.service.name=${name}`)
        await engine.docker('rm', '--force', ...ids.trim().split('\n'))
      }
      await gone()
      // The engine tells the manager of it a moment later.
      const none = async () => {
        const now = await change()
        return now?.from.includes('(0 of 3 running)') === true ? (now.fewer ?? 'no more of it') : now?.from
      }
      await expect.poll(none, { timeout: 60_000, interval: 100 }).toBe('no more of it')
      await own.target[Symbol.asyncDispose]()
      await target[Symbol.asyncDispose]()
    })

    it.concurrent('stops for a database, and comes back with as many tasks as the release had; is made anew where asked', async ({
      expect,
    }) => {
      const { name, target, pin } = await shop('writer', ['--replicas', '2'])
      await engine.update(name, '--image', 'shop:v2', '--replicas', '1')
      const needs = [need('stopped')]
      expect(codes(await proposed(target, pin, 'previous', { needs }))).toContain('blocker previous_is_other')
      const proposal = await proposed(target, pin, 'update', { needs })
      expect([proposal.serves, proposal.steps.map(s => s.id)]).toEqual([
        needs,
        ['web/stop/writer', 'web/update/writer'],
      ])
      const [stop, update] = ordered(proposal)
      if (stop === undefined || update === undefined) throw new Error('no steps')
      await target.apply(stop, stepAct(stop))
      expect([(await target.verify(stop, stepAct(stop))).is, await engine.versions(name)]).toEqual(['done', ''])
      await target.apply(update, stepAct(update))
      expect([(await target.verify(update, stepAct(update))).is, await engine.versions(name)]).toEqual(['done', 'v1'])
      const ids = () => engine.docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=${name}`)
      const before = (await ids()).split('\n')
      expect(before).toHaveLength(2)
      expect(await run(target, await proposed(target, pin, 'update', { needs: [need('redeployed')] }))).toEqual([
        'done',
      ])
      const after = (await ids()).split('\n')
      expect([after.length, after.filter(id => before.includes(id))]).toEqual([2, []])
    })

    it.concurrent('does not take what is right already for made anew, where it is asked to make it anew', async ({
      expect,
    }) => {
      const { name, target, pin } = await shop('anew')
      const needs = [need('redeployed')]
      const ids = () => engine.docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=${name}`)
      const before = await ids()
      expect(codes(await proposed(target, pin, 'previous', { needs }))).toContain('blocker previous_is_other')
      const proposal = await proposed(target, pin, 'recreate', { needs })
      const [step] = ordered(proposal)
      if (step === undefined) throw new Error('no step')
      expect(codes(proposal)).toContain('warning service_recreated')
      expect((await target.verify(step, stepAct(step, 'anew'))).is).toBe('not-done')
      await target.apply(step, stepAct(step, 'anew'))
      expect((await target.verify(step, stepAct(step, 'anew'))).is).toBe('done')
      expect([await engine.versions(name), await ids()]).toEqual(['v1', expect.not.stringContaining(before)])
    })

    it.concurrent.each([
      ['made again', 'recreate', []],
      ['after a stop', 'update', [need('stopped')]],
    ])('does not believe tasks that die a moment after their start, %s', async (_, rung, needs) => {
      const flags = await mkdtemp(join(tmpdir(), 'flags-'))
      const name = `brief-${rung}`
      const script = 'while :; do [ ! -e /flags/ill ] || { sleep 1.5; exit 3; }; sleep 0.2; done'
      const dying = ['--mount', `type=bind,source=${flags},target=/flags`, '--entrypoint', `sh -c "${script}"`]
      await engine.create(name, 'shop:v1', ...dying)
      const target = await open(engine, { services: [name], limits: { update: '90s', settle: '4s' } })
      const pin = await captured(target)
      await engine.update(name, '--image', 'shop:v2')
      await writeFile(join(flags, 'ill'), '')
      const steps = ordered(await proposed(target, pin, rung, { needs }))
      const bring = steps.at(-1)
      if (bring === undefined) throw new Error('no step')
      for (const stop of steps.slice(0, -1)) await target.apply(stop, stepAct(stop))
      const dies = { code: 'update_stuck', why: expect.stringMatching(/ended by themselves.*exit \(3\)/) as string }
      await expect(target.apply(bring, stepAct(bring, 'dies'))).rejects.toMatchObject(dies)
      expect((await target.verify(bring, stepAct(bring, 'dies'))).is).toBe('not-done')
      await rm(flags, { recursive: true })
    })

    it.concurrent('says ahead where Swarm would not change the mode of a service, and makes it again', async ({
      expect,
    }) => {
      const { name, target, pin } = await shop('moded')
      await engine.docker('service', 'rm', name)
      await engine.create(name, 'shop:v2', '--mode', 'global')
      expect(codes(await proposed(target, pin))).toContain('blocker mode_changed')
      expect(await run(target, await proposed(target, pin, 'recreate'))).toEqual(['done'])
      expect([await engine.versions(name), (await proposed(target, pin)).steps]).toEqual(['v1', []])
    })

    it.concurrent('C11: runs a command in the image that is left, with its variables and secrets, also after it was left', async ({
      expect,
    }) => {
      await engine.docker('secret', 'create', 'down-key', '/etc/hostname')
      const { name, target, pin } = await shop('down', ['--env', 'DB=main', '--secret', 'down-key'])
      await engine.update(name, '--image', 'shop:v2')
      const script = 'cat /version; echo "$DB $WHAT"; test -s /run/secrets/down-key; echo oops >&2; exit 3'
      const exec = (id: string) =>
        target.exec?.('from', ['sh', '-c', script], { ...stepAct(), idem: id, env: { WHAT: 'down' } })
      expect(await exec('one')).toEqual({ code: 3, stdout: 'v2\nmain down\n', stderr: expect.stringContaining('oops') })
      const left = async () => target.execLeft?.('three', new AbortController().signal)
      expect(await left()).toBeNull()
      const slow = target.exec?.('from', ['sleep', '3'], { ...stepAct(), idem: 'three' })
      await expect.poll(left, { timeout: 60_000 }).toMatchObject({ alive: true, code: null })
      await slow
      await run(target, await proposed(target, pin))
      expect(await engine.versions(name)).toBe('v1')
      expect(await exec('two')).toMatchObject({ code: 3, stdout: 'v2\nmain down\n' })
      expect(
        (await engine.docker('service', 'ls', '--format', '{{.Name}}'))
          .split('\n')
          .filter(n => n.startsWith('backout-')),
      ).toEqual([])
    })

    it.concurrent('takes what an earlier run to another release brought for what is left, and not what that one left', async ({
      expect,
    }) => {
      const { name, target, pin: first } = await shop('twice')
      await engine.update(name, '--image', 'shop:v2')
      const second = await captured(target)
      await engine.update(name, '--image', 'shop:v3')
      const left = async (id: string, release: string) =>
        (await target.exec?.('from', ['cat', '/version'], { ...stepAct(), idem: id, release }))?.stdout
      await run(target, await proposed(target, second), { release: 'v2' })
      expect(await left('twice-1', 'v2')).toBe('v3\n')
      // Found bad as well: what is left now is v2, before the code step and after it.
      expect(await left('twice-2', 'v1')).toBe('v2\n')
      await run(target, await proposed(target, first), { release: 'v1' })
      expect([await engine.versions(name), await left('twice-3', 'v1')]).toEqual(['v1', 'v2\n'])
    })

    it.concurrent('stops a service with one task on each node that came since once, and guesses no image in a stack', async ({
      expect,
    }) => {
      const label = ['--label', 'com.docker.stack.namespace=ag']
      await engine.create('ag_web', 'shop:v1', ...label)
      const target = await open(engine, { stack: 'ag', added: 'stop' })
      const pin = await captured(target)
      await engine.create('ag_agent', 'shop:v2', '--mode', 'global', ...label)
      const unclear = { code: 'exec_unclear', next: 'name one of them in `exec`: ag_agent, ag_web' }
      await expect(target.exec?.('from', ['true'], stepAct())).rejects.toMatchObject(unclear)
      expect(codes(await proposed(target, pin, 'update', { needs: [need('exec-from')] }))).toContain(
        'blocker exec_unclear',
      )
      expect(await run(target, await proposed(target, pin))).toEqual(['done'])
      const again = await proposed(target, pin)
      expect([again.steps, codes(again)]).toEqual([[], ['note image_without_digest']])
    })

    it.concurrent('says what to do with a service that has run to its end and is not begun again', async ({
      expect,
    }) => {
      const label = ['--label', 'com.docker.stack.namespace=on']
      await engine.create('on_web', 'shop:v1', ...label)
      const once = ['--detach', '--quiet', '--no-resolve-image', '--network', 'shop-net', '--restart-condition', 'none']
      await engine.docker('service', 'create', ...once, '--name', 'on_migrate', ...label, 'shop:v1', 'true')
      const state = () => engine.docker('service', 'ps', '--format', '{{.CurrentState}}', 'on_migrate')
      await expect.poll(state, { timeout: 60_000 }).toContain('Complete')
      await expect(captured(await open(engine, { stack: 'on' }))).rejects.toMatchObject({
        code: 'service_is_job',
        next: 'set `except: [on_migrate]`',
      })
      const pin = await captured(await open(engine, { stack: 'on', except: ['on_migrate'] }))
      expect(pin.services.map(s => s.name)).toEqual(['on_web'])
    })

    it.concurrent('takes a whole stack as one component, and stops what the release did not have, where it is told to', async ({
      expect,
    }) => {
      const label = ['--label', 'com.docker.stack.namespace=st']
      for (const part of ['web', 'api', 'db']) await engine.create(`st_${part}`, 'shop:v1', ...label)
      const settings = { stack: 'st', except: ['st_db'], added: 'stop' }
      const target = await open(engine, settings)
      const pin = await captured(target)
      expect(pin.services.map(s => s.name)).toEqual(['st_api', 'st_web'])
      await Promise.all([
        ...['web', 'api', 'db'].map(part => engine.update(`st_${part}`, '--image', 'shop:v2')),
        engine.create('st_new', 'shop:v2', ...label),
      ])
      const job = ['--mode', 'replicated-job', '--detach', '--network', 'shop-net']
      await engine.docker(
        'service',
        'create',
        '--no-resolve-image',
        ...job,
        ...label,
        '--name',
        'st_job',
        'shop:v2',
        'true',
      )
      await expect(captured(target)).rejects.toMatchObject({
        code: 'service_is_job',
        next: expect.stringContaining('except: [st_job]'),
      })
      expect((await target.ready?.(signal))?.findings.map(f => f.code)).toContain('service_is_job')
      const proposal = await proposed(target, pin)
      expect(codes(proposal)).toEqual(expect.arrayContaining(['warning service_added', 'warning service_is_job']))
      expect(await run(target, proposal)).toEqual(['done', 'done', 'done'])
      const said = await Promise.all(['web', 'api', 'db', 'new'].map(part => engine.versions(`st_${part}`)))
      expect(said).toEqual(['v1', 'v1', 'v2', ''])
      expect((await proposed(target, pin)).steps).toEqual([])
    })
  },
)
