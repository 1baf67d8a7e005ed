import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { COMPOSE, isPlugin, noCompose, type Project, project } from '../../../test/support/compose.ts'
import { type Dockerd, dockerd, noDockerd, ofOther } from '../../../test/support/dockerd.ts'
import { makeImage, noImages } from '../../../test/support/shop-images.ts'
import type { Need } from '../../core/contract.ts'
import { actOf, captured, codes, open, part, proposed, run, shopOn, WEB } from './compose.fixture.ts'

const why = noDockerd() ?? noImages() ?? noCompose()
const signal = new AbortController().signal
const need = (what: Need['what']): Need => ({ of: 'web', what, by: 'db' })

// They wait side by side: on a busy machine each takes as long as all of them.
vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(
  `C6: what others ask of a project of Compose${why === null ? '' : ` (skipped: ${why})`}`,
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

    it.concurrent('stops for a database and comes back; is made anew where asked; runs no job of the file', async ({
      expect,
    }) => {
      const file = `${WEB}  job:\n    ${part('shop:v1')}    command: ["sh", "-c", "true"]\n`
      const { p, target, pin } = await shop({ 'compose.yaml': file, '.env': 'TAG=v1\n' })
      await p.write('.env', 'TAG=v2\n')
      await p.up('--scale', 'web=2')
      const jobs = () =>
        engine.docker(
          'ps',
          '-aq',
          '--filter',
          `label=com.docker.compose.project=${p.name}`,
          '--filter',
          'label=com.docker.compose.service=job',
          '--filter',
          'status=running',
        )
      const [stop, ...rest] = ordered(await proposed(target, pin, { needs: [need('stopped')] }))
      if (stop === undefined) throw new Error('no step')
      await target.apply(stop, actOf(stop))
      expect([(await target.verify(stop, actOf(stop))).is, await p.containers()]).toEqual(['done', []])
      for (const step of rest) await target.apply(step, actOf(step))
      expect([await p.versions(), (await p.containers('web')).length, await jobs()]).toEqual(['v1', 1, ''])
      const before = await p.containers('web')
      expect(await run(target, await proposed(target, pin, { needs: [need('redeployed')] }))).toEqual(['done'])
      expect((await p.containers('web')).filter(id => before.includes(id))).toEqual([])
    })

    it.concurrent('makes containers anew where the files never said all that they were made from', async ({
      expect,
    }) => {
      const file = `${WEB}    environment: { COLOUR: "$COLOUR" }\n`
      const p = await project(engine, { 'compose.yaml': file, '.env': 'TAG=v1\n' })
      made.push(p)
      await p.upWith({ COLOUR: 'blue' })
      const target = await open(p.settings)
      const pin = await captured(target)
      expect(pin.hashes).toBe(false)
      const before = await p.containers()
      await p.write('.env', 'TAG=v2\n')
      await p.upWith({ COLOUR: 'red' })
      const proposal = await proposed(target, pin)
      expect(proposal.findings.map(f => f.code)).toContain('files_incomplete')
      expect(await run(target, proposal)).toEqual(['done', 'done'])
      expect([await p.versions(), (await p.containers()).filter(id => before.includes(id))]).toEqual(['v1', []])
      expect((await proposed(target, pin)).steps).toEqual([])
    })

    it.concurrent('C11: runs a command in the image that is left, with its variables', async ({ expect }) => {
      const { p, target } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\nDB=main\n' })
      await p.write('.env', 'TAG=v2\nDB=main\n')
      await p.up()
      const script = 'cat /version; echo "$DB $WHAT"; echo oops >&2; exit 3'
      const said = await target.exec?.('from', ['sh', '-c', script], { ...stepAct(), env: { WHAT: 'down it' } })
      expect(said).toEqual({ code: 3, stdout: 'v2\nmain down it\n', stderr: expect.stringContaining('oops') })
      const env = { BACKOUT_TO: 'shop:v1' }
      expect(await target.exec?.('to', ['cat', '/version'], { ...stepAct(), env })).toMatchObject({
        code: 0,
        stdout: 'v1\n',
      })
      await expect(target.exec?.('to', ['true'], stepAct())).rejects.toMatchObject({ code: 'exec_release_unknown' })
      const slow = { ...stepAct(), idem: 'slow', limitMs: 3_000 }
      await expect(target.exec?.('from', ['sleep', '100'], slow)).rejects.toMatchObject({ code: 'command_timed_out' })
      expect(await engine.docker('ps', '-aq', '--filter', 'name=backout-slow')).toBe('')
      await engine.docker('run', '-d', '--network', 'none', '--name', 'backout-left', 'shop:v1')
      const again = { ...stepAct(), idem: 'left' }
      await expect(target.exec?.('from', ['true'], again)).rejects.toMatchObject({ code: 'exec_orphan' })
      expect(await target.execLeft?.('left', signal)).toMatchObject({ alive: true, code: null })
      expect(await target.execLeft?.('slow', signal)).toBeNull()
      await engine.docker('rm', '-f', 'backout-left')
    })

    it.concurrent('C11: runs a command in no image that it would have to guess, and says so ahead', async ({
      expect,
    }) => {
      const cache = `${WEB}  cache:\n    ${part('shop:v2')}`
      const { p, target, pin } = await shop({ 'compose.yaml': cache, '.env': 'TAG=v1\n' })
      const needs = [need('exec-from')]
      const unclear = { code: 'exec_unclear', next: 'name one of them in `exec`: cache, web' }
      await expect(target.exec?.('from', ['cat', '/version'], stepAct())).rejects.toMatchObject(unclear)
      expect(codes(await proposed(target, pin, { needs }))).toContain('blocker exec_unclear')
      expect(codes(await proposed(target, pin))).not.toContain('blocker exec_unclear')
      const named = await open({ ...p.settings, exec: 'web' })
      expect(codes(await proposed(named, pin, { needs }))).not.toContain('blocker exec_unclear')
      const clear = { ...stepAct(), idem: 'clear' }
      expect(await named.exec?.('from', ['cat', '/version'], clear)).toMatchObject({ stdout: 'v1\n' })
    })

    it.concurrent('calls Compose as the plugin of docker where that is there, and tells what no capture would hold', async ({
      expect,
    }) => {
      const web = WEB.replace('env_file: .env', 'env_file: [.env, worker.env]')
      const { p } = await shop({ 'compose.yaml': web, '.env': 'TAG=v1\n', 'worker.env': 'A=1\n' })
      // Debian has no plugin: this one is called as docker calls it, and hands over to the program.
      const plugins = join(p.dir, 'docker/cli-plugins')
      await mkdir(plugins, { recursive: true })
      const about = '{"SchemaVersion":"0.1.0","Vendor":"test","Version":"v0"}'
      const script = `#!/bin/sh\n[ "$1" != docker-cli-plugin-metadata ] || { echo '${about}'; exit; }\nshift\nexec ${COMPOSE} "$@"\n`
      // Later ones are a plugin themselves.
      if (isPlugin()) await symlink(COMPOSE, join(plugins, 'docker-compose'))
      else await p.write('docker/cli-plugins/docker-compose', script)
      await chmod(join(plugins, 'docker-compose'), 0o755)
      const { compose: _, ...settings } = p.settings
      const docker = ['env', `DOCKER_CONFIG=${join(p.dir, 'docker')}`, ...settings.docker.slice(1)]
      const target = await open({ ...settings, docker })
      const ready = await target.ready?.(signal)
      expect([ready?.well, ready?.findings.map(f => [f.code, f.what])]).toEqual([
        [expect.stringMatching(/^docker[ -]compose version .* on local$/i)],
        [['file_not_captured', expect.stringContaining('worker.env')]],
      ])
      const pin = await captured(target)
      await p.write('.env', 'TAG=v2\n')
      await p.up()
      expect(await run(target, await proposed(target, pin))).toEqual(['done', 'done'])
      expect(await p.versions()).toBe('v1')
    })

    it.concurrent('C6: blocks where Compose is older than what the engine no longer tells it', async ({ expect }) => {
      const { p, pin } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\n' })
      // Not two versions of each are here: these say that they are others.
      const says = async (name: string, word: string, version: string, program: string) => {
        await p.write(name, `#!/bin/sh\n[ "$1" != ${word} ] || { echo ${version}; exit; }\nexec ${program} "$@"\n`)
        await chmod(join(p.dir, name), 0o755)
        return join(p.dir, name)
      }
      const [env = '', host = ''] = p.settings.docker
      const old = await says('old', 'version', '1.29.2', COMPOSE)
      const found = async (engine: string) => {
        const docker = await says('engine', 'version', engine, ofOther('docker'))
        const target = await open({ ...p.settings, docker: [env, host, docker], compose: [env, host, old] })
        const ready = await target.ready?.(signal)
        return [codes(await proposed(target, pin)), ready?.findings.map(f => `${f.level} ${f.code}`)]
      }
      const note = 'note image_without_digest'
      // Where nothing is to be made anew nothing is in the way. (Compose 2 that says it is 1 cannot tell that.)
      const still = isPlugin() ? ['blocker compose_too_old', note] : [note]
      expect(await found('26.1.5+dfsg1')).toEqual([still, ['blocker compose_too_old']])
      await p.write('.env', 'TAG=v2\n')
      await p.up()
      expect(await found('26.1.5+dfsg1')).toEqual([['blocker compose_too_old', note], ['blocker compose_too_old']])
      expect(await found('24.0.7')).toEqual([[note], []])
    })

    it.concurrent('C2: sees that somebody else is at work there, and does not go between', async ({ expect }) => {
      const { p, target, pin } = await shop({ 'compose.yaml': WEB, '.env': 'TAG=v1\n' })
      await p.write('.env', 'TAG=v2\n')
      await p.up()
      const proposal = await proposed(target, pin)
      // A Compose that builds for a long time, as it shows in a list of processes.
      const child = spawn('python3', ['-c', 'import time; time.sleep(60)', 'docker-compose', 'up', '-d'], {
        cwd: p.dir,
        stdio: 'ignore',
      })
      await expect.poll(async () => (await target.observe(signal)).inFlight.length, { timeout: 30_000 }).toBe(1)
      expect((await target.observe(signal)).inFlight[0]?.what).toMatch(/docker-compose up -d.*process \d+/)
      const [write, up] = ordered(proposal)
      if (write === undefined || up === undefined) throw new Error('two steps expected')
      await target.apply(write, actOf(write))
      await expect(target.apply(up, actOf(up))).rejects.toMatchObject({ code: 'compose_busy' })
      const ended = await proposed(target, pin)
      const [halt, ...rest] = ordered(ended)
      if (halt === undefined) throw new Error('no step')
      expect([halt.id, ended.phases.preflight, ended.settles, rest.map(s => s.id)]).toEqual([
        'web/halt',
        { seq: [{ step: 'web/halt' }] },
        (await target.observe(signal)).inFlight.map(op => op.what),
        ['web/up'],
      ])
      expect(codes(ended)).toContain('warning compose_ended')
      expect((await target.verify(halt, actOf(halt))).is).toBe('not-done')
      const gone = once(child, 'exit')
      await target.apply(halt, actOf(halt))
      expect([await gone, (await target.verify(halt, actOf(halt))).is]).toEqual([[null, 'SIGTERM'], 'done'])
      for (const step of rest) await target.apply(step, actOf(step))
      expect(await p.versions()).toBe('v1')
      // The same number, and another process: it is left alone.
      const other = spawn('sleep', ['60'], { stdio: 'ignore' })
      const args = { do: 'halt', processes: [{ pid: String(other.pid), born: '1', words: 'up' }] }
      await target.apply({ ...halt, args }, actOf(halt))
      expect(other.exitCode ?? other.signalCode).toBeNull()
      other.kill('SIGKILL')
    })

    it.concurrent('C2: ends a real Compose in the middle of its work, and brings the project to the release', async ({
      expect,
    }) => {
      const file = `${WEB}    stop_grace_period: 120s\n`.replace('stop_signal: KILL', 'stop_signal: WINCH')
      const { p, target, pin } = await shop({ 'compose.yaml': file, '.env': 'TAG=v1\n' })
      await p.write('.env', 'TAG=v2\n')
      // It waits two minutes for the old container to end.
      const busy = p.up().then(
        () => 'ended well',
        () => 'was ended',
      )
      const flights = async () => (await target.observe(signal)).inFlight.map(op => op.what)
      await expect.poll(flights, { timeout: 30_000 }).not.toEqual([])
      const proposal = await proposed(target, pin)
      const [halt, ...rest] = ordered(proposal)
      if (halt === undefined) throw new Error('no step')
      expect([halt.id, proposal.settles]).toEqual(['web/halt', await flights()])
      await target.apply(halt, actOf(halt))
      expect([await busy, await flights()]).toEqual(['was ended', []])
      await engine.docker('kill', ...(await p.containers('web')))
      for (const step of rest) {
        const act = actOf(step)
        await target.apply(step, act)
        expect((await target.verify(step, act)).is).toBe('done')
      }
      expect(await p.versions()).toBe('v1')
    })
  },
)
