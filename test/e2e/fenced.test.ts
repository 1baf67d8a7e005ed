import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TestProxy } from '../../src/adapters/haproxy/haproxy.fixture.ts'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import { type Releases, releases } from '../support/releases.ts'
import { shifted } from '../support/shifted.ts'
import { noSshd, type SshHosts, sshHosts } from '../support/sshd.ts'

const NAMES = ['web-1', 'web-2']
const missing = noSshd()

describe.skipIf(missing !== null)(
  `C7: a host that is lost and gone on without ${missing ?? ''}`,
  { timeout: 120_000 },
  () => {
    let fleet: SshHosts
    let shop: Releases
    let line: CommandLine
    let proxy: TestProxy

    const deploy = async (release: string) => {
      for (const host of NAMES) {
        await shop.link(host, 'current', `releases/${release}`)
        shop.call(host, 'stop', 'current')
        shop.call(host, 'start', 'current')
      }
    }
    const config = (settings: object, hold = 'drain') => {
      const limits = { settle: '0s', start: '8s', stop: '8s', connect: '2s' }
      const own = {
        hosts: NAMES,
        sshConfig: fleet.config,
        root: shop.root,
        service: shop.service,
        version: shop.version,
      }
      const lb = { socket: proxy.socket, backend: 'web', maintenance: 'sorry', hold, within: '300ms', timeout: '2s' }
      const components = {
        shop: { adapter: 'hosts', settings: { ...own, limits, maxFailures: 1, drain: true, ...settings } },
        lb: { adapter: 'haproxy', dependsOn: ['shop'], settings: lb },
      }
      const text = JSON.stringify({ environment: 'shop', policy: { onFailure: 'stop' }, components })
      return writeFile(join(shop.dir, 'backout.yaml'), text)
    }
    /** Back to v1 while web-2 is down. */
    const goBack = async (env: Record<string, string> = {}) => {
      await deploy('v1')
      expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
      await deploy('v2')
      await fleet.stop('web-2')
      return line.backout(['run', '--yes', '--to', 'v1'], env)
    }

    beforeAll(async () => void (fleet = await sshHosts(NAMES)))
    afterAll(() => fleet.dispose())
    beforeEach(async () => {
      shop = await releases(NAMES)
      line = commandLine(shop.dir)
      proxy = await new TestProxy().start()
      for (const host of NAMES) for (const v of ['v1', 'v2']) await shop.unpack(host, `releases/${v}`, v)
    })
    afterEach(async () => {
      await fleet.start('web-2')
      await proxy.stop()
      await shop.dispose()
    })

    it.each(['maint', 'drain'])(
      'gets no users, though it is fenced by the balancer that lets them back (hold: %s)',
      async hold => {
        const file = join(shop.dir, 'fence.mjs')
        await writeFile(
          file,
          `import { connect } from 'node:net'
const s = connect(${JSON.stringify(proxy.socket)})
s.write('set server web/' + process.argv[2] + ' state maint\\n')
s.on('close', () => process.exit(0))
s.resume()`,
        )
        await config({ fence: [process.execPath, file, '{host}'] }, hold)
        const run = await goBack()
        expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
        expect(run.stdout).toContain('shop is back on v1, but not all of it: shop/switch/web-2.')
        const bodies = [await proxy.ask(), await proxy.ask(), await proxy.ask()].map(a => a.body)
        expect(bodies).toEqual(['web-1', 'web-1', 'web-1'])
        expect((await line.backout(['status'])).stdout).toContain('still fenced: shop/switch/web-2')
      },
    )

    it('is not gone on without where its fence fails: users stay on the maintenance page', async () => {
      await config({ fence: ['false'] })
      const run = await goBack()
      expect(run.code).toBe(9)
      expect(run.stdout).toContain('could not be kept away from users')
      expect((await proxy.ask()).body).toBe('sorry')
      const status = await line.backout(['status'])
      expect(status.stdout).toContain('NOT kept away from users: shop/switch/web-2')
      expect(status.stdout).not.toContain('still fenced')
    })

    it('is named where it is back on the other release when the next upgrade begins, which may begin once it was brought back', async () => {
      await config({ fence: ['true'] })
      expect((await goBack()).code).toBe(0)
      await fleet.start('web-2')
      for (const more of [[], ['--from', 'v1']]) {
        const { code, stderr } = await line.backout(['upgrade', 'begin', 'v3', ...more])
        expect(code).toBe(3)
        expect(stderr).toMatch(/not on v1 since run r\S+: shop\/switch\/web-2/)
        expect(stderr).toContain('bring them to it first: backout run --to v1')
      }
      expect((await line.backout(['run', '--yes', '--to', 'v1'])).code).toBe(0)
      expect(await line.backout(['upgrade', 'begin', 'v3'])).toMatchObject({ code: 0, stderr: '' })
    })

    it('is left with its users where it is on what was deployed after, though the clock was ahead when it was fenced', async () => {
      await config({ fence: ['true'] })
      expect((await goBack(await shifted(shop.dir, 7_200_000))).code).toBe(0)
      await fleet.start('web-2')
      await deploy('v1')
      expect((await line.backout(['upgrade', 'begin', 'v2', '--from', 'v1'])).code).toBe(0)
      for (const host of NAMES) await shop.unpack(host, 'releases/v3', 'v2')
      await deploy('v2')
      expect((await line.backout(['upgrade', 'end', 'v2'])).code).toBe(0)
      const { stdout } = await line.backout(['status'])
      expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(
        /the upgrade to v2 began at \S+, after that run, so it is left alone/,
      )
      expect(stdout).not.toContain('kept away from users')
    })

    it('is named at the end where there is no fence, and the exit code is that of a failure', async () => {
      await config({})
      const run = await goBack()
      expect(run.code).toBe(9)
      const flat = run.stdout.replaceAll(/\s+/g, ' ')
      expect(flat).toContain('NOT kept away from users, take it out of the load balancer by hand: shop/switch/web-2')
      expect((await proxy.ask()).body).toMatch(/^web-/)
    })
  },
)
