import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../../../test/support/command-line.ts'
import { until } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import { noSshd, type SshHosts, sshHosts } from '../../../test/support/sshd.ts'

const NAMES = ['web-1', 'web-2', 'web-3']
const [GOOD, BAD, NEXT] = ['v1.2.9', 'v1.3.0', 'v1.4.0']
const skipped = noSshd()
const name = `E5: hosts that a run left fenced${skipped === null ? '' : ` (skipped: ${skipped})`}`

describe.skipIf(skipped !== null)(name, { timeout: 120_000 }, () => {
  let fleet: SshHosts
  let shop: Releases
  let line: CommandLine

  const deploy = async (release: string, names: readonly string[] = NAMES) => {
    for (const host of names) {
      await shop.link(host, 'current', `releases/${release}`)
      shop.call(host, 'stop', 'current')
      shop.call(host, 'start', 'current')
    }
  }
  const configure = async (more: object = {}, attempts = 600) => {
    const settings = {
      hosts: NAMES,
      sshConfig: fleet.config,
      root: shop.root,
      service: shop.service,
      version: shop.version,
      limits: { settle: '0s', start: '4s', stop: '4s', connect: '2s' },
      maxFailures: 1,
      fence: 'echo {host} >>fenced',
      ...more,
    }
    const config = {
      environment: 'production',
      policy: { onFailure: 'stop' },
      components: { shop: { adapter: 'hosts', settings } },
      probes: { go: { kind: 'command', run: 'test -e go' } },
      gates: { go: { probes: ['go'], attempts, interval: '100ms' } },
    }
    await writeFile(join(shop.dir, 'backout.yaml'), JSON.stringify(config))
  }
  /** Whom `fence` was run for since the last time. */
  const fenced = async () => {
    const file = join(shop.dir, 'fenced')
    const names = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').sort() : []
    await rm(file, { force: true })
    return names
  }
  const run = () => line.backout(['run', '--yes', '--to', GOOD])
  const status = async () => (await line.backout(['status'])).stdout.replaceAll(/\s+/g, ' ')

  beforeAll(async () => {
    fleet = await sshHosts(NAMES)
  })
  afterAll(() => fleet.dispose())
  beforeEach(async () => {
    shop = await releases(NAMES)
    line = commandLine(shop.dir)
    for (const host of NAMES) for (const v of [GOOD, BAD, NEXT]) await shop.unpack(host, `releases/${v}`, v)
    await configure()
    await deploy(GOOD)
    expect((await line.backout(['capture', GOOD, '--known-good'])).stderr).toBe('')
    await deploy(BAD)
  })
  afterEach(async () => {
    for (const host of NAMES) await fleet.start(host)
    await shop.dispose()
  })

  it('are fenced again where they are back as they were left, and left alone once something else is deployed', async () => {
    await fleet.stop('web-2')
    expect((await run()).code).toBe(0)
    expect(await fenced()).toEqual(['web-2'])
    await fleet.start('web-2')
    expect(await status()).toMatch(/back, and not on the release: shop\/switch\/web-2: .*; kept away from users again/)
    expect(await fenced()).toEqual(['web-2'])

    // Nobody told Backout of this one: the host itself shows that it is not what the run left.
    await deploy(NEXT)
    expect(await status()).toMatch(/on another release by now: shop\/switch\/web-2: the link leads to v1.4.0/)
    expect((await line.backout(['capture', NEXT, '--known-good'])).code).toBe(0)
    await deploy(BAD, ['web-2'])
    const told = await status()
    expect(told).toMatch(/back, and not on the release: shop\/switch\/web-2: .*v1.4.0 was captured at .* left alone/)
    expect(told).not.toContain('away from users')
    expect(await fenced()).toEqual([])
  })

  it('are those that answer too, where their step failed; and a canary that failed lets nobody else have the release', async () => {
    const start = `test {host} != web-1 && ${shop.service.start}`
    await writeFile(join(shop.dir, 'go'), '')
    await configure({ service: { ...shop.service, start }, batch: [1, '100%'], batchGate: 'go' })
    const { code, stdout } = await run()
    expect({ code, fenced: await fenced() }).toEqual({ code: 5, fenced: ['web-1'] })
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('nobody of the batch before it is on the release')
    expect(NAMES.slice(1).map(host => shop.running(host))).toEqual([BAD, BAD])
  })

  it('are those whose way back is gone, while the others are brought back', async () => {
    await rm(shop.path('web-2', 'current'))
    await mkdir(shop.path('web-2', 'current'))
    const { code } = await run()
    expect({ code, fenced: await fenced() }).toEqual({ code: 0, fenced: ['web-2'] })
    expect([shop.running('web-1'), shop.running('web-3')]).toEqual([GOOD, GOOD])
  })

  it('in a run that failed are not forgotten, nor by a later run that went no further', async () => {
    await configure({ batch: [1, '100%'], batchGate: 'go' })
    const running = run()
    await until('the canary is back', () => shop.running('web-1') === GOOD)
    await fleet.stop('web-2')
    await fleet.stop('web-3')
    await writeFile(join(shop.dir, 'go'), '')
    expect((await running).code).not.toBe(0)
    expect(await fenced()).toEqual(['web-2', 'web-3'])
    expect(await status()).toMatch(/not on the release: shop\/switch\/web-2.*still fenced: shop\/switch\/web-3/)
    await fleet.start('web-2')
    await fleet.start('web-3')
    expect(await status()).toContain('back, and not on the release: shop/switch/web-3')
    expect(await fenced()).toEqual(['web-2', 'web-3'])

    await rm(join(shop.dir, 'go'))
    await configure({ batch: [1, '100%'], batchGate: 'go' }, 2)
    expect((await run()).code).toBe(5)
    expect(shop.running('web-2')).toBe(GOOD)
    await line.backout(['abort'])
    expect(await status()).toContain('back, and not on the release: shop/switch/web-3')
    expect(await fenced()).toEqual(['web-3'])
  })

  it('keep nobody from going back while status waits for one that is silent', async () => {
    await fleet.stop('web-2')
    expect((await run()).code).toBe(0)
    await deploy(BAD, ['web-1', 'web-3'])
    const config = readFileSync(fleet.config, 'utf8')
    const asked = join(shop.dir, 'asked')
    try {
      writeFileSync(fleet.config, `Host web-2\n  ProxyCommand sh -c "touch ${asked}; exec sleep 20"\n\n${config}`)
      await configure({ limits: { settle: '0s', start: '4s', stop: '4s', connect: '5s' } })
      expect((await line.backout(['plan', '--to', GOOD, '--out', 'kept.json'])).code).toBe(0)
      await rm(asked)
      const looking = status()
      await until('status asks web-2', () => existsSync(asked))
      expect(await line.backout(['run', 'kept.json', '--yes'])).toMatchObject({ code: 0, stderr: '' })
      expect(NAMES.map(host => shop.running(host))).toEqual([GOOD, BAD, GOOD])
      expect(await looking).toContain('still fenced: shop/switch/web-2')
    } finally {
      writeFileSync(fleet.config, config)
    }
  })
})
