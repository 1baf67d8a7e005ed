import { config } from '../../src/adapters/hosts/config.ts'
import { type Fleet, openFleet } from '../../src/adapters/hosts/fleet.ts'
import { type HostWork, rolling, switchStep, unitStep } from '../../src/adapters/hosts/steps.ts'
import { NOTHING, type Proposal } from '../../src/core/contract.ts'
import { memoryBackups, memoryVault } from '../../test/conformance/stores.ts'

/** Steps and batches of the `hosts` adapter for hosts that there are not: a canary, then batches of 5 %. */
export function batches(hosts: number): Proposal {
  const names = Array.from({ length: hosts }, (_, i) => `web-${String(i + 1).padStart(4, '0')}`)
  const settings = {
    hosts: names,
    root: '/srv/shop',
    service: { systemd: 'shop.service' },
    version: 'cat /run/shop/version',
    batch: [1, '5%'],
    batchGate: 'healthy',
    concurrency: 50,
  }
  const parsed = config.parse(settings)
  const members = names.map(name => ({ name, address: name }))
  const context = {
    environment: 'bench',
    component: 'fleet',
    baseDir: '/',
    stateDir: '/',
    backups: memoryBackups(),
    vault: memoryVault(),
  }
  const fleet = openFleet(parsed, members, context)
  const work = fleet.hosts.map(host => workOf(fleet, host))
  const node = rolling(fleet, work, true)
  if (node === null) throw new Error('no batches')
  const steps = work.flatMap(w => w.steps)
  return { ...NOTHING, change: { from: 'B', to: 'A' }, steps, phases: { code: node } }
}

function workOf(fleet: Fleet, host: HostWork['host']): HostWork {
  const [unit] = host.units
  if (unit === undefined) throw new Error('no unit')
  const sums = { how: 'manifest' as const, sha256: '0'.repeat(64), files: 3 }
  const pinned = { release: 'v1.2.9', sums, version: 'v1.2.9', stopped: [] }
  const change = { to: 'v1.2.9', expect: 'v1.3.0', left: 'v1.3.0', pinned, stale: ['main'], fence: false }
  const more = { release: 'v1.2.9', version: 'v1.2.9', fence: false }
  return { host, steps: [switchStep(fleet, host, change), unitStep(fleet, host, unit, 'restart', more)] }
}
