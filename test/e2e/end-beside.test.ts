import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import { type Releases, releases } from '../support/releases.ts'
import { noSshd, type SshHosts, sshHosts } from '../support/sshd.ts'

const NAMES = ['web-1', 'web-2', 'web-3']
const missing = noSshd()

describe.skipIf(missing !== null)(
  `C7: a host that is bad again at the end, beside one that is gone on without ${missing ?? ''}`,
  { timeout: 120_000 },
  () => {
    let fleet: SshHosts
    let shop: Releases
    let line: CommandLine

    const deploy = async (host: string, release: string) => {
      await shop.link(host, 'current', `releases/${release}`)
      shop.call(host, 'stop', 'current')
      shop.call(host, 'start', 'current')
    }
    beforeAll(async () => void (fleet = await sshHosts(NAMES)))
    afterAll(() => fleet.dispose())
    beforeEach(async () => {
      shop = await releases(NAMES)
      line = commandLine(shop.dir)
      for (const host of NAMES) for (const v of ['v1', 'v2']) await shop.unpack(host, `releases/${v}`, v)
    })
    afterEach(async () => {
      await fleet.start('web-2')
      await shop.dispose()
    })

    /** Back to v1 without web-2, and configuration management that puts `bad` on v2 once the others are there. */
    const goBack = async (bad: string | null, settings: object, before = NAMES, during = 'true') => {
      const limits = { settle: '0s', start: '8s', stop: '8s', connect: '2s' }
      const { root, service, version } = shop
      const own = { hosts: NAMES, sshConfig: fleet.config, root, service, version, limits }
      const components = { shop: { adapter: 'hosts', settings: { ...own, ...settings } } }
      const cleanup = bad === null ? {} : { cleanup: { after: { run: ['./puppet.sh'] } } }
      const hooks = { ...cleanup, code: { before: { run: during } } }
      const call = (verb: string) => `${shop.dir}/service.sh ${verb} ${shop.path(bad ?? '')}/run. >/dev/null 2>&1`
      const current = shop.path(bad ?? '', 'current')
      const puppet = `#!/bin/sh\nln -sfn releases/v2 ${current}; cd ${current} && ${call('stop')}; ${call('start')}\n`
      await writeFile(join(shop.dir, 'puppet.sh'), puppet)
      await chmod(join(shop.dir, 'puppet.sh'), 0o755)
      const all = { environment: 'shop', policy: { onFailure: 'ask' }, components, hooks }
      await writeFile(join(shop.dir, 'backout.yaml'), JSON.stringify(all))
      for (const host of NAMES) await deploy(host, 'v1')
      expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
      for (const host of before) await deploy(host, 'v2')
    }

    it.each([
      ['web-1', 'was brought along', NAMES],
      ['web-3', 'had nothing to be done', ['web-1', 'web-2']],
    ])('is named, though another one is fenced: %s, which %s', async (bad, _, before) => {
      await goBack(bad, { maxFailures: 1, fence: ['true'] }, before)
      await fleet.stop('web-2')
      const run = await line.backout(['run', '--yes', '--to', 'v1'])
      expect(run.code).toBe(9)
      expect(run.stdout.replaceAll(/\s+/g, ' ')).toContain(`shop would still switch ${bad} to v1`)
      expect(run.stdout).not.toContain('would still switch web-2')
      expect(shop.running(bad)).toBe('v2')
    })

    it('is named where a person goes on without a host, which is not tolerated, so that nothing can be planned', async () => {
      const files = { service: undefined, version: undefined }
      await goBack('web-1', { maxFailures: 0, ...files }, NAMES, `rm -r ${shop.path('web-2', 'releases', 'v1')}`)
      expect((await line.backout(['run', '--yes', '--to', 'v1'])).code).toBe(5)
      await line.backout(['skip', 'shop/switch/web-2', '--reason', 'it is written off'])
      const { code, stdout } = await line.backout(['resume'])
      expect(code).toBe(9)
      const flat = stdout.replaceAll(/\s+/g, ' ')
      expect(flat).toContain('shop: "switch web-1 to v1" does not hold any more: the link leads to v2')
      expect(flat).not.toContain('"switch web-3 to v1" does not hold')
    })

    it('is none where the others stay as they are', async () => {
      await goBack(null, { maxFailures: 1, fence: ['true'] })
      await fleet.stop('web-2')
      const run = await line.backout(['run', '--yes', '--to', 'v1'])
      expect(run.code).toBe(0)
      expect(run.stdout).toContain('shop is back on v1, but not all of it: shop/switch/web-2.')
    })
  },
)
