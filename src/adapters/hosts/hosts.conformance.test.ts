import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Case, conformance } from '../../../test/conformance/suite.ts'
import { openHosts } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import { noSshd, type SshHosts, sshHosts } from '../../../test/support/sshd.ts'
import type { Need, Target } from '../../core/contract.ts'
import { type Runner, sshRunner } from '../../exec/ssh.ts'
import { hosts } from './index.ts'
import type { HostsPin } from './pin.ts'

const NONE: string[] = ['']

function opener(dir: string, settings: object): () => Promise<Target<HostsPin>> {
  return () => openHosts(dir, settings)
}

interface Shape {
  names: string[]
  instances?: string[]
  needs?: Need[]
  manifest?: boolean
  more?: object
}

async function symlinked({ names, instances, needs = [], manifest = true, more = {} }: Shape): Promise<Case<HostsPin>> {
  const shop = await releases(names)
  for (const name of names) {
    for (const version of ['v1.2.9', 'v1.3.0']) await shop.unpack(name, `releases/${version}`, version, manifest)
    await shop.link(name, 'current', 'releases/v1.2.9')
    for (const i of instances ?? NONE) shop.call(name, 'start', 'current', i)
  }
  const settings = {
    hosts: names,
    root: shop.root,
    service: shop.service,
    version: shop.version,
    limits: { settle: '0s', start: '5s', stop: '5s', connect: '3s' },
    ...(instances === undefined ? {} : { instances }),
    ...more,
  }
  return {
    open: opener(shop.dir, settings),
    openOther: opener(shop.dir, { ...settings, root: `${shop.dir}/elsewhere` }),
    async upgrade() {
      for (const name of names) {
        await shop.link(name, 'current', 'releases/v1.3.0')
        for (const i of instances ?? NONE) {
          shop.call(name, 'stop', 'current', i)
          shop.call(name, 'start', 'current', i)
        }
      }
    },
    serves: async () => serving(shop, names, instances ?? NONE),
    needs,
    dispose: () => shop.dispose(),
  }
}

function serving(shop: Releases, names: string[], instances: string[]): 'A' | 'B' | 'other' {
  const seen = new Set(names.flatMap(name => instances.map(i => shop.running(name, i))))
  return seen.size > 1 ? 'other' : seen.has('v1.2.9') ? 'A' : seen.has('v1.3.0') ? 'B' : 'other'
}

async function blueGreen(needs: Need[]): Promise<Case<HostsPin>> {
  const shop = await releases(['local'], '{slot}')
  await shop.unpack('local', 'blue', 'v1.2.9')
  await shop.unpack('local', 'green', 'v1.3.0')
  await shop.link('local', 'live', 'blue')
  shop.call('local', 'start', 'blue', 'blue')
  const settings = {
    hosts: ['local'],
    root: shop.root,
    strategy: 'blue-green',
    service: shop.service,
    version: shop.version,
    limits: { settle: '0s', start: '5s', stop: '5s' },
  }
  return {
    open: opener(shop.dir, settings),
    openOther: opener(shop.dir, { ...settings, root: `${shop.dir}/elsewhere` }),
    async upgrade() {
      shop.call('local', 'start', 'green', 'green')
      await shop.link('local', 'live', 'green')
      shop.call('local', 'stop', 'blue', 'blue')
    },
    async serves() {
      const version = shop.running('local', await shop.linked('local', 'live'))
      return version === 'v1.2.9' ? 'A' : version === 'v1.3.0' ? 'B' : 'other'
    },
    needs,
    dispose: () => shop.dispose(),
  }
}

const stopped: Need = { of: 'shop', what: 'stopped', by: 'db' }
const redeployed: Need = { of: 'shop', what: 'redeployed', by: 'db' }

conformance('C7: hosts, a symlink here with three instances', {
  adapter: hosts,
  make: () => symlinked({ names: ['local'], instances: ['a', 'b', 'c'] }),
  rungs: ['switch'],
})

conformance('C7: hosts, a symlink here, stopped and started for a database, with own checksums', {
  adapter: hosts,
  make: () => symlinked({ names: ['local'], needs: [stopped, redeployed], manifest: false }),
  rungs: ['switch'],
})

conformance('C7: hosts, blue/green here', { adapter: hosts, make: () => blueGreen([]), rungs: ['swap'] })

conformance('C7: hosts, blue/green here, stopped and started for a database', {
  adapter: hosts,
  make: () => blueGreen([stopped]),
  rungs: ['swap'],
})

const skipped = noSshd()
describe.skipIf(skipped !== null)(`over SSH${skipped === null ? '' : ` (skipped: ${skipped})`}`, () => {
  const names = ['web-1', 'web-2', 'web-3']
  let fleet: SshHosts
  let kept: Runner[]
  beforeAll(async () => {
    fleet = await sshHosts(names)
    // Holds the connections, as a run does: every target opened by the suite goes through them.
    kept = names.map(address => sshRunner({ address, config: fleet.config }))
    await Promise.all(kept.map(runner => runner.run({ argv: ['true'], limitMs: 5_000 })))
  })
  afterAll(async () => {
    await Promise.all(kept.map(runner => runner[Symbol.asyncDispose]()))
    await fleet.dispose()
  })

  conformance('C7: hosts, three over SSH', {
    adapter: hosts,
    make: () => symlinked({ names, more: { sshConfig: fleet.config } }),
    rungs: ['switch'],
  })

  it('used one connection a host for all of it', () => {
    expect(names.map(name => fleet.logins(name))).toEqual([1, 1, 1])
  })
})
