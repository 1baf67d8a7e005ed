import { mkdir, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, codes, openHosts, proposed, stepOf } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { Target } from '../../core/contract.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal
const LIMITS = { settle: '0s', start: '1s', stop: '4s' }

describe('C7: hosts that are not as they should be', () => {
  let shop: Releases
  let settings: { [key: string]: unknown }
  let target: Target<HostsPin>

  const reopen = async (more: object = {}) => {
    await target?.[Symbol.asyncDispose]()
    target = await openHosts(shop.dir, { ...settings, ...more })
  }

  beforeEach(async () => {
    shop = await releases(['local'])
    for (const v of ['v1.2.9', 'v1.3.0']) await shop.unpack('local', `releases/${v}`, v)
    await shop.link('local', 'current', 'releases/v1.2.9')
    shop.call('local', 'start', 'current')
    settings = { hosts: ['local'], root: shop.root, service: shop.service, version: shop.version, limits: LIMITS }
    target = await openHosts(shop.dir, settings)
  })
  afterEach(async () => {
    await target[Symbol.asyncDispose]()
    await shop.dispose()
  })

  it('captures no link that leads to another link, whose release can change under it', async () => {
    await symlink('v1.2.9', shop.path('local', 'releases/latest'))
    await shop.link('local', 'current', 'releases/latest')
    await expect(captured(target)).rejects.toMatchObject({
      code: 'release_unclear',
      message: expect.stringContaining('releases/latest'),
    })
  })

  it('captures no release whose folder is not there, and goes back from a link that leads nowhere', async () => {
    const good = await captured(target)
    await shop.link('local', 'current', 'releases/v1.3.1')
    await expect(captured(target)).rejects.toMatchObject({
      code: 'release_gone',
      message: expect.stringContaining('v1.3.1'),
    })
    const proposal = await proposed(target, good)
    expect(codes(proposal)).toEqual([])
    for (const step of ordered(proposal)) await target.apply(step, stepAct(step))
    expect([await readlink(shop.path('local', 'current')), shop.running('local')]).toEqual([
      'releases/v1.2.9',
      'v1.2.9',
    ])
  })

  it('takes a question about deployments that nobody could answer for one that is under way', async () => {
    await reopen({ inFlight: ['no-such-program'] })
    expect((await target.observe(signal)).inFlight).toMatchObject([
      { what: expect.stringContaining('nobody can tell') },
    ])
    await reopen({ inFlight: 'exit 1' })
    expect((await target.observe(signal)).inFlight).toEqual([])
  })

  it('blocks where the checksums could not be compared at all', async () => {
    const good = await captured(target)
    await shop.link('local', 'current', 'releases/v1.3.0')
    const bin = join(shop.dir, 'bin')
    await mkdir(bin)
    // Takes the checksum of the manifest, and dies without a word when it is to compare.
    await writeFile(
      join(bin, 'sha256sum'),
      '#!/bin/sh\n[ "$1" != -c ] || kill -9 $$\nPATH=${PATH#*:}\nexec sha256sum "$@"\n',
      {
        mode: 0o755,
      },
    )
    const path = process.env.PATH
    process.env.PATH = `${bin}:${path}`
    try {
      const { findings } = await proposed(target, good)
      expect(findings).toMatchObject([
        { level: 'blocker', code: 'artefact_altered', what: expect.stringContaining('could not be checked') },
      ])
    } finally {
      process.env.PATH = path
    }
    expect(codes(await proposed(target, good))).toEqual([])
  })

  it('names why the link could not be put in place', async () => {
    const good = await captured(target)
    await shop.link('local', 'current', 'releases/v1.3.0')
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    await target.apply(step, stepAct(step))
    await shop.link('local', 'current', 'releases/v1.3.0')
    const bin = join(shop.dir, 'bin')
    await mkdir(bin)
    const refuses =
      'case $1 in -T*) echo "mv: Read-only file system" >&2; exit 1 ;; -h*) echo "mv: bad option h" >&2; exit 1 ;; esac'
    await writeFile(join(bin, 'mv'), `#!/bin/sh\n${refuses}\nPATH=\${PATH#*:}\nexec mv "$@"\n`, { mode: 0o755 })
    const path = process.env.PATH
    process.env.PATH = `${bin}:${path}`
    try {
      await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
        code: 'not_writable',
        why: 'mv: Read-only file system',
        next: expect.stringContaining('read-only'),
      })
    } finally {
      process.env.PATH = path
    }
    expect(await readlink(shop.path('local', 'current'))).toBe('releases/v1.3.0')
    await rm(bin, { recursive: true })
  })

  it('takes a host that was fenced for what all of its parts say, not for its link alone', async () => {
    const good = await captured(target)
    await shop.link('local', 'current', 'releases/v1.3.0')
    shop.call('local', 'stop', 'current')
    shop.call('local', 'start', 'current')
    const { steps } = await proposed(target, good)
    const [change, restart] = steps
    if (change === undefined || restart === undefined) throw new Error('two steps expected')
    const stands = async () => target.standsOn?.(change, steps, stepAct(change))
    expect(await stands()).toMatchObject({ is: 'left', why: 'the link leads to v1.3.0' })
    // Lost right after the rename: the link is right, and the bad version runs.
    await target.apply(change, stepAct(change))
    expect(await target.verify(change, stepAct(change))).toMatchObject({ is: 'done' })
    expect(await stands()).toMatchObject({ is: 'left', why: 'it runs since before the switch' })
    await target.apply(restart, stepAct(restart))
    expect(await stands()).toMatchObject({ is: 'release' })
    shop.call('local', 'stop', 'current')
    expect(await stands()).toMatchObject({ is: 'left', why: 'it does not run' })
    await shop.unpack('local', 'releases/v1.4.0', 'v1.4.0')
    await shop.link('local', 'current', 'releases/v1.4.0')
    expect(await stands()).toMatchObject({ is: 'other', why: 'the link leads to v1.4.0' })
    // A host that did not answer when the plan was made may have had anything, where no other says what was left.
    const blind = steps.map(s => ({ ...s, args: { ...(s.args as object), expect: null } })) as typeof steps
    expect(await target.standsOn?.(change, blind, stepAct(change))).toMatchObject({ is: 'left' })
  })
})
