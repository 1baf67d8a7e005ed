import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../../../test/support/command-line.ts'
import { until } from '../../../test/support/hosts.ts'
import { noSystemdHosts, type SystemdHosts, systemdHosts } from '../../../test/support/systemd-hosts.ts'
import { deploy, FILES, runs, SERVICE, upgrade, VERSION } from './systemd.fixture.ts'

const HOSTS = Number(process.env['BACKOUT_TEST_HOSTS'] ?? 0)
const NAMES = Array.from({ length: HOSTS }, (_, i) => `web-${i + 1}`)
const [BAD, GOOD] = ['v1.3.0', 'v1.2.9']
// They take their time and memory: 20 of them are run where they are asked for.
const skipped = HOSTS < 5 ? 'BACKOUT_TEST_HOSTS=20 asks for it' : noSystemdHosts()

describe.skipIf(skipped !== null)(
  `C7: ${Math.max(HOSTS, 20)} hosts with systemd${skipped === null ? '' : ` (skipped: ${skipped})`}`,
  () => {
    let fleet: SystemdHosts
    let dir: string
    let line: CommandLine

    beforeAll(async () => {
      fleet = await systemdHosts(NAMES, FILES)
      dir = await mkdtemp(join(tmpdir(), 'backout-many-'))
      line = commandLine(dir)
      await Promise.all(NAMES.map(name => deploy(fleet, name, GOOD, BAD)))
    }, 600_000)
    afterAll(async () => {
      await fleet?.dispose()
      await rm(dir, { recursive: true, force: true })
    })

    const all = () => Promise.all(NAMES.map(name => runs(fleet, name)))
    const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
      const began = performance.now()
      const result = await work()
      console.log(`${what}: ${((performance.now() - began) / 1000).toFixed(1)} s`)
      return result
    }

    it('go back in batches, a canary first; one vanishes, one is cut off, one is rebooted; later they are brought back', {
      timeout: 600_000,
    }, async () => {
      const [, vanished = '', cut = '', rebooted = ''] = NAMES
      const settings = {
        hosts: NAMES,
        sshConfig: fleet.config,
        root: '/srv/shop',
        service: SERVICE,
        version: VERSION,
        limits: { connect: '5s', status: '10s', switch: '10s', start: '20s', stop: '20s', settle: '500ms' },
        batch: [1, '25%', '100%'],
        batchGate: 'go',
        stopAt: 3,
        fence: 'echo {host} >>fenced',
      }
      const config = {
        environment: 'production',
        policy: { onFailure: 'stop' },
        components: { shop: { adapter: 'hosts', settings } },
        probes: { go: { kind: 'command', run: 'test -e go' } },
        gates: { go: { probes: ['go'], attempts: 1000, interval: '100ms' } },
      }
      await writeFile(join(dir, 'backout.yaml'), JSON.stringify(config))
      await timed('capture', async () => {
        expect((await line.backout(['capture', GOOD, '--known-good'])).stderr).toBe('')
      })
      await Promise.all(NAMES.map(name => upgrade(fleet, name, BAD)))
      const running = line.backout(['run', '--yes', '--to', GOOD])
      await until('the canary is back', async () => (await runs(fleet, 'web-1')) === `active ${GOOD}`)
      expect((await all()).slice(1)).toEqual(NAMES.slice(1).map(() => `active ${BAD}`))
      await fleet.pause(vanished)
      await fleet.cutOff(cut)
      await fleet.reboot(rebooted)
      await writeFile(join(dir, 'go'), '')
      const run = await timed('the rest of the run', () => running)
      expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
      expect((await readFile(join(dir, 'fenced'), 'utf8')).trim().split('\n').sort()).toEqual([vanished, cut].sort())
      await fleet.unpause(vanished)
      await fleet.plugIn(cut)
      const left = [vanished, cut]
      expect(await all()).toEqual(NAMES.map(name => `active ${left.includes(name) ? BAD : GOOD}`))
      const status = (await line.backout(['status'])).stdout.replaceAll(/\s+/g, ' ')
      for (const name of left) expect(status).toContain(`back, and not on the release: shop/switch/${name}`)
      await timed('another run for the two', async () => {
        expect((await line.backout(['run', '--yes', '--to', GOOD])).code).toBe(0)
      })
      expect(await all()).toEqual(NAMES.map(() => `active ${GOOD}`))
    })
  },
)
