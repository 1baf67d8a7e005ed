import { describe, expect, it } from 'vitest'
import { contextIn } from '../../../test/support/hosts.ts'
import { runLocal } from '../../exec/local.ts'
import { config } from './config.ts'
import { openFleet, serviceLines, sizeOf } from './fleet.ts'
import { membersOf } from './members.ts'
import { batchesOf } from './steps.ts'

async function fleetOf(settings: object, dir = '/tmp') {
  const parsed = config.parse({ root: '/srv/{host}', ...settings })
  return openFleet(parsed, await membersOf(parsed, contextIn(dir)), contextIn(dir))
}

async function linesOf(settings: object) {
  const fleet = await fleetOf({ hosts: ['deploy@web-1'], ...settings })
  const [host] = fleet.hosts
  const [unit] = host?.units ?? []
  if (host === undefined || unit === undefined) throw new Error('no unit')
  return { fleet, host, lines: serviceLines(fleet, host, unit) }
}

describe('C7: the commands of a service', () => {
  it('calls systemd for the unit of an instance', async () => {
    const { lines } = await linesOf({
      instances: ['a', 'b'],
      service: { systemd: 'shop@{instance}.service', sudo: true },
    })
    expect(lines.stop).toBe('sudo -n systemctl stop shop@a.service')
    for (const verb of ['start', 'restart'] as const) {
      expect(lines[verb].endsWith(` systemd-start shop@a.service ${verb} sudo -n systemctl`)).toBe(true)
    }
    expect((await linesOf({ service: { systemd: 'shop.service', user: true } })).lines.stop).toBe(
      'systemctl --user stop shop.service',
    )
  })

  it.each([
    ['LoadState=loaded ActiveState=active SubState=running', 0],
    ['LoadState=loaded ActiveState=inactive SubState=dead', 3],
    ['LoadState=loaded ActiveState=failed SubState=failed', 3],
    ['LoadState=loaded ActiveState=activating SubState=auto-restart', 3],
    ['LoadState=loaded ActiveState=activating SubState=start', 5],
    ['LoadState=loaded ActiveState=deactivating SubState=stop-sigterm', 5],
    ['LoadState=not-found ActiveState=inactive SubState=dead', 4],
  ])('reads what systemd shows: %s', async (shown, code) => {
    const { lines } = await linesOf({ service: { systemd: 'shop.service' } })
    const asked = lines.status.replace(
      'systemd-status shop.service systemctl',
      `systemd-status shop.service env printf '${shown}\\n%.0s'`,
    )
    expect(asked).not.toBe(lines.status)
    const result = await runLocal({ argv: ['sh', '-c', asked], limitMs: 5_000 })
    expect(result.code).toBe(code)
  })

  it('fills in placeholders, and leaves the release to the shell on the host', async () => {
    const { lines } = await linesOf({
      instances: ['a'],
      service: {
        start: ['run', '--at={root}', '{host}.{instance}', '{release}'],
        stop: 'x',
        status: "echo '{release}'",
      },
    })
    expect(lines.start).toBe(`run --at=/srv/web-1 web-1.a ''"$release"''`)
    expect(lines.status).toBe(`sh -c 'echo '\\'''"$release"''\\'''`)
  })

  it('names a long list of hosts by its hash', async () => {
    const many = Array.from({ length: 200 }, (_, i) => `web-${i}`)
    const { identity } = await fleetOf({ hosts: many, root: '/srv/shop' })
    expect(identity).toMatch(/^hosts:\/srv\/shop@web-0\.\.web-99\(200,[0-9a-f]{12}\)$/)
  })

  it('counts batches: a canary first, the last size for all that are left', async () => {
    expect([sizeOf(3, 10), sizeOf('25%', 10), sizeOf('25%', 3), sizeOf('100%', 7)]).toEqual([3, 2, 1, 7])
    const hosts = Array.from({ length: 20 }, (_, i) => `web-${i}`)
    const counted = async (batch: unknown, busy = 20) => batchesOf(await fleetOf({ hosts, batch }), busy)
    expect(await counted([1, '25%'])).toEqual([1, 5, 5, 5, 5])
    expect(await counted([1, 4, '50%'], 7)).toEqual([1, 4, 10])
    expect(await counted(8)).toEqual([8, 8, 8])
    expect(await counted(1, 0)).toEqual([])
  })

  it('tolerates one failure less than what it stops at', async () => {
    const hosts = Array.from({ length: 20 }, (_, i) => `web-${i}`)
    const tolerated = async (more: object) => (await fleetOf({ hosts, ...more })).mayFail
    expect(await tolerated({})).toBe(0)
    expect(await tolerated({ maxFailures: 2 })).toBe(2)
    expect(await tolerated({ stopAt: 1 })).toBe(0)
    expect(await tolerated({ stopAt: 3 })).toBe(2)
    expect(await tolerated({ stopAt: '10%' })).toBe(1)
    expect(await tolerated({ stopAt: '1%' })).toBe(0)
    // Where all of them fail, nothing is on the release.
    expect(await tolerated({ maxFailures: 20 })).toBe(19)
    expect(await tolerated({ hosts: ['web-1'], maxFailures: 1 })).toBe(0)
  })

  it.each([
    [{ maxFailures: 1, stopAt: 2 }, 'give one of them'],
    [{ hosts: { file: 'a', command: 'b' } }, 'Unrecognized key'],
    [{ hosts: ['web-1', 'deploy@web-1'] }, 'two hosts are named "web-1"'],
    [{ hosts: ['-oProxyCommand=evil'] }, 'expected "local" or a host'],
    [{ root: '/srv/$(id)' }, 'expected an absolute path'],
    [{ batch: '0%' }, 'expected a number or a percentage'],
    [{ instances: ['a b'] }, 'Invalid string'],
  ])('refuses settings that would be misread: %o', (wrong, message) => {
    const result = config.safeParse({ hosts: ['web-1'], root: '/srv/shop', ...wrong })
    expect(JSON.stringify(result.error?.issues)).toContain(message.replaceAll('"', '\\"'))
  })
})
