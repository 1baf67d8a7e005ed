import { mkdir, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, codes, openHosts, proposed } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { Target } from '../../core/contract.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal

/** What stands before the rest of PATH on the host: its clock, as programs see it. */
const CLOCKS: Record<string, string> = {
  'two hours ahead': 'echo $(($(/bin/date +%s) + 7200))',
  'a year behind': 'echo $(($(/bin/date +%s) - 31536000))',
  // Set forward by an hour whenever it is looked at: a limit that trusted it would be over at once.
  'set forward all the time':
    'n=$(cat "$0.n" 2>/dev/null || echo 0); echo $((n + 1)) >"$0.n"; echo $(($(/bin/date +%s) + n * 3600 + 3600))',
}

describe('C7: a host whose clock is wrong', () => {
  let shop: Releases
  let target: Target<HostsPin>
  let good: HostsPin
  let path: string | undefined

  beforeEach(async () => {
    path = process.env['PATH']
    shop = await releases(['local'])
    for (const v of ['v1.2.9', 'v1.3.0']) await shop.unpack('local', `releases/${v}`, v)
    await shop.link('local', 'current', 'releases/v1.2.9')
    shop.call('local', 'start', 'current')
    const limits = { settle: '100ms', start: '10s', stop: '10s' }
    target = await openHosts(shop.dir, {
      hosts: ['local'],
      root: shop.root,
      service: shop.service,
      version: shop.version,
      limits,
    })
    good = await captured(target)
    await shop.link('local', 'current', 'releases/v1.3.0')
    shop.call('local', 'stop', 'current')
    shop.call('local', 'start', 'current')
  })
  afterEach(async () => {
    process.env['PATH'] = path
    await target[Symbol.asyncDispose]()
    await shop.dispose()
  })

  for (const [what, clock] of Object.entries(CLOCKS)) {
    it(`(${what}) is said, and nothing is decided by it`, async () => {
      const right = await proposed(target, good)
      expect(codes(right)).toEqual([])
      const known = await target.remembered?.(signal)
      const bin = join(shop.dir, 'bin')
      await mkdir(bin)
      await writeFile(join(bin, 'date'), `#!/bin/sh\n${clock}\n`, { mode: 0o755 })
      process.env['PATH'] = `${bin}:${path}`
      // Folders that were unpacked by that clock: the good one seems to be the newest, from the future.
      const future = new Date('2099-01-01T00:00:00Z')
      await utimes(shop.path('local', 'releases/v1.2.9'), future, future)

      const proposal = await proposed(target, good)
      expect(codes(proposal)).toEqual(['warning clock_skew'])
      expect(proposal.findings[0]?.what).toMatch(/local .* (ahead|behind)\. Nothing is decided/)
      expect((await target.ready?.(signal))?.findings.map(f => f.code)).toEqual(['clock_skew'])
      expect({ steps: proposal.steps, phases: proposal.phases }).toEqual({ steps: right.steps, phases: right.phases })
      expect((await target.remembered?.(signal))?.map(r => r.release)).toEqual(known?.map(r => r.release))
      for (const step of ordered(proposal)) {
        await target.apply(step, stepAct(step))
        expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
      }
      expect(shop.running('local')).toBe('v1.2.9')
      expect((await proposed(target, good)).steps).toEqual([])
      await rm(bin, { recursive: true })
      process.env['PATH'] = path
      expect(codes(await proposed(target, good))).toEqual([])
    })
  }
})
