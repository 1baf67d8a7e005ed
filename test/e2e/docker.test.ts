import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import { COMPOSE, noCompose } from '../support/compose.ts'
import { noDockerd } from '../support/dockerd.ts'
import { MAIN } from '../support/shipped.ts'
import { noImages } from '../support/shop-images.ts'
import { type SwarmEngine, swarmEngine } from '../support/swarm.ts'

const why = noDockerd() ?? noImages() ?? noCompose()

describe.skipIf(why !== null)(
  `C6, C16: the command line takes Swarm and Compose back${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let engine: SwarmEngine
    let folder: string
    let line: CommandLine
    beforeAll(async () => {
      engine = await swarmEngine()
      folder = await mkdtemp(join(tmpdir(), 'docker-'))
      line = commandLine(folder)
      await mkdir(join(folder, 'shop'))
    })
    afterAll(async () => {
      await engine?.dispose()
      await rm(folder, { recursive: true, force: true })
    })

    const up = async (tag: string) => {
      await writeFile(join(folder, 'shop/.env'), `TAG=${tag}\n`)
      const env = { ...process.env, DOCKER_HOST: engine.host }
      await promisify(execFile)(COMPOSE, ['up', '-d'], { cwd: join(folder, 'shop'), env })
    }
    const composeVersion = async () => {
      const id = await engine.docker('ps', '-q', '--filter', 'label=com.docker.compose.project=shop')
      return engine.docker('exec', id, 'cat', '/version')
    }

    it('captures, sees the update under way, is killed in the middle, goes on, and ends on the release', {
      timeout: 300_000,
    }, async () => {
      const file = 'services:\n  worker:\n    image: shop:${TAG}\n    network_mode: none\n    stop_signal: KILL\n'
      await writeFile(join(folder, 'shop/compose.yaml'), file)
      await Promise.all([up('v1'), engine.create('web', 'shop:v1', '--replicas', '2')])
      const stack = ['--label', 'com.docker.stack.namespace=front']
      await engine.docker('service', 'create', '-d', '--replicas', '0', ...stack, '--name', 'front_api', 'shop:v1')
      await writeFile(join(folder, 'stack.yml'), 'services: { api: { image: "shop:v1" } }\n')
      const init = await line.backout(['init'], { DOCKER_HOST: engine.host })
      const found = [
        'Docker Compose: shop/compose.yaml -> component shop',
        'Docker Swarm: the stack front, by stack.yml -> component front',
      ]
      expect([init.code, init.stdout]).toEqual([0, expect.stringContaining(found[0] ?? '')])
      expect(init.stdout).toContain(found[1])
      const written = await readFile(join(folder, 'backout.yaml'), 'utf8')
      expect(written).toContain(`engine: ${engine.host}\n      stack: front`)

      const calls = ['env', `DOCKER_HOST=${engine.host}`]
      await writeFile(
        join(folder, 'backout.yaml'),
        JSON.stringify({
          environment: 'test',
          components: {
            jobs: {
              adapter: 'compose',
              settings: {
                directory: join(folder, 'shop'),
                docker: [...calls, 'docker'],
                compose: [...calls, COMPOSE],
                limits: { settle: '500ms' },
              },
            },
            web: {
              adapter: 'swarm',
              dependsOn: ['jobs'],
              settings: { engine: engine.host, services: ['web'], limits: { settle: '500ms' } },
            },
          },
        }),
      )
      const doctor = await line.backout(['doctor'])
      expect(doctor.code, doctor.stdout + doctor.stderr).toBe(0)
      expect(doctor.stdout.replaceAll(/\s+/g, ' ')).toContain('is a manager, one of 1; 1 node')
      expect(doctor.stdout).toMatch(/jobs: docker[ -]compose version/i)
      const capture = await line.backout(['capture', 'v1', '--known-good'])
      expect(capture.code, capture.stderr).toBe(0)

      await up('v2')
      await engine.update('web', '--detach', '--image', 'shop:v2', '--update-parallelism', '1', '--update-delay', '10m')
      await expect.poll(() => engine.versions('web'), { timeout: 60_000 }).toBe('v1 v2')
      const refused = await line.backout(['capture', 'v2'])
      expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('an update of web')])
      const plan = await line.backout(['plan'])
      expect(plan.stdout).toContain('an update of web is still going on')
      expect(plan.code, plan.stdout).toBe(0)

      const env = { ...process.env, BACKOUT_KEYS: join(folder, 'keys'), BACKOUT_HOME: '', NO_COLOR: '1' }
      const words = ['--disable-warning=ExperimentalWarning', MAIN, 'run', '--yes']
      const child = spawn(process.execPath, words, { cwd: folder, env, stdio: 'ignore' })
      const died = once(child, 'exit')
      const image = async () => (await engine.inspect('web')).Spec.TaskTemplate.ContainerSpec.Image
      await expect.poll(image, { timeout: 90_000, interval: 50 }).toBe('shop:v1')
      child.kill('SIGKILL')
      expect(await died).toEqual([null, 'SIGKILL'])

      const resumed = await line.backout(['resume'])
      expect(resumed.code, resumed.stdout + resumed.stderr).toBe(0)
      expect([await engine.versions('web'), await composeVersion()]).toEqual(['v1', 'v1'])
      const again = await line.json<{ phases: unknown[] }>(['plan', '--to', 'v1'])
      expect(again.phases.flatMap(phase => JSON.stringify(phase)).join()).not.toMatch(/update|up"/)
      await line.backout(['report'])
    })

    it('tells of an update that an aborted run stopped until somebody lets it go on', {
      timeout: 300_000,
    }, async () => {
      await engine.create('held', 'shop:v1', '--replicas', '2')
      const settings = { engine: engine.host, services: ['held'], limits: { settle: '500ms' } }
      const config = {
        environment: 'held',
        components: { held: { adapter: 'swarm', settings } },
        hooks: { preflight: { after: { run: 'exit 1' } } },
      }
      await writeFile(join(folder, 'backout.yaml'), JSON.stringify(config))
      expect((await line.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
      await engine.update('held', '--detach', '--image', 'shop:v2', '--update-parallelism', '1', '--update-delay', '5s')
      await expect.poll(() => engine.versions('held'), { timeout: 60_000 }).toBe('v1 v2')
      expect((await line.backout(['run', '--yes'])).code).toBe(5)
      expect((await line.backout(['abort'])).code).toBe(7)
      const status = () => line.json<{ lasting: { is: string; lift: string }[] }>(['status'])
      const [lasting] = (await status()).lasting
      expect(lasting?.is).toBe('in force')
      expect((await line.backout(['status'])).stdout).toContain(`\n  ${lasting?.lift}\n`)
      const env = { ...process.env, DOCKER_HOST: engine.host }
      await promisify(execFile)('sh', ['-c', lasting?.lift ?? 'false'], { env })
      await expect.poll(() => engine.versions('held'), { timeout: 60_000 }).toBe('v2')
      expect((await status()).lasting.map(l => l.is)).toEqual(['lifted'])
      expect((await line.backout(['status'])).stdout).not.toContain('in force')
    })

    it("takes the next rung where Swarm's own rollback gets stuck, in the same run", { timeout: 300_000 }, async () => {
      // Tasks that are started while the flag is there die; those that run already go on.
      const flag = join(folder, 'ill')
      const script = '[ ! -e /flags/ill ] || exit 3; while :; do sleep 0.2; done'
      const dying = ['--mount', `type=bind,source=${folder},target=/flags`, '--entrypoint', `sh -c "${script}"`]
      await engine.create('slow', 'shop:v1', '--replicas', '2', '--rollback-monitor', '10s', ...dying)
      const settings = { engine: engine.host, services: ['slow'], limits: { update: '20s', settle: '500ms' } }
      const config = {
        environment: 'slow',
        components: { slow: { adapter: 'swarm', settings } },
        policy: { onFailure: 'take' },
      }
      await writeFile(join(folder, 'backout.yaml'), JSON.stringify(config))
      expect((await line.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
      await engine.update('slow', '--image', 'shop:v2')
      await writeFile(flag, '')
      const running = line.backout(['run', '--yes'])
      const state = async () => (await engine.inspect('slow')).UpdateStatus?.State
      await expect.poll(state, { timeout: 120_000 }).toBe('rollback_paused')
      await rm(flag)
      const run = await running
      expect(run.code, run.stdout + run.stderr).toBe(0)
      expect(run.stdout).toContain('slow/previous/slow')
      expect(run.stdout).toMatch(/slow\/update\/slow/)
      expect(await engine.versions('slow')).toBe('v1')
    })
  },
)
