import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, killable, openHosts, proposed, stepOf, until } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import type { Target } from '../../core/contract.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal
const LIMITS = { settle: '0s', start: '5s', stop: '5s' }

describe('C7: files that are only served, by a server that must be told to load them', () => {
  let shop: Releases
  let settings: object
  let target: Target<HostsPin>
  let good: HostsPin
  const place = (name: string): string => shop.path('local', name)
  const loaded = (): string => readFileSync(place('loaded'), 'utf8').trim()

  beforeEach(async () => {
    shop = await releases(['local'])
    for (const v of ['v1.2.9', 'v1.3.0']) await shop.unpack('local', `releases/${v}`, v)
    await shop.link('local', 'current', 'releases/v1.2.9')
    // It loads nothing while `refuse` is there, and hangs while `hang` is.
    const load = `test ! -e ${place('refuse')} || exit 7; while test -e ${place('hang')}; do sleep 0.05; done; cat VERSION >${place('loaded')}`
    settings = { hosts: ['local'], root: shop.root, reload: ['sh', '-c', load], limits: LIMITS }
    target = await openHosts(shop.dir, settings)
    good = await captured(target)
    await shop.link('local', 'current', 'releases/v1.3.0')
    writeFileSync(place('loaded'), 'v1.3.0\n')
  })
  afterEach(async () => {
    await target[Symbol.asyncDispose]()
    await shop.dispose()
  })

  it('is not done where the reload failed, and a new plan loads what the link leads to', async () => {
    writeFileSync(place('refuse'), '')
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'command_failed' })
    expect([await shop.linked('local', 'current'), loaded()]).toEqual(['releases/v1.2.9', 'v1.3.0'])
    expect(await target.verify(step, stepAct(step))).toMatchObject({
      is: 'not-done',
      why: 'the link leads to v1.2.9, and this step did not see `reload` end well',
    })
    expect((await target.observe(signal)).summary).toBe('v1.2.9 on 1 of 1 host, local not reloaded')
    const again = await proposed(target, good)
    expect(again.change).toMatchObject({ to: 'v1.2.9' })
    rmSync(place('refuse'))
    for (const one of ordered(again)) {
      await target.apply(one, stepAct(one, 'r2'))
      expect(await target.verify(one, stepAct(one, 'r2'))).toMatchObject({ is: 'done' })
    }
    expect(loaded()).toBe('v1.2.9')
    expect((await proposed(target, good)).change).toBeNull()
    expect((await target.observe(signal)).summary).toBe('v1.2.9 on 1 of 1 host')
  })
  it('is not done where this process died before the reload ended, and is done by the same step again', async () => {
    writeFileSync(place('hang'), '')
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    const child = killable(shop.dir, settings, step)
    const gone = new Promise(resolve => child.once('exit', resolve))
    await until('the link is moved', async () => (await shop.linked('local', 'current')) === 'releases/v1.2.9')
    child.kill('SIGKILL')
    await gone
    await until('nothing of it is alive', async () => (await target.verify(step, stepAct(step))).is === 'not-done')
    expect(loaded()).toBe('v1.3.0')
    rmSync(place('hang'))
    await target.apply(step, stepAct(step))
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    expect(loaded()).toBe('v1.2.9')
  })

  it('is not done by a link that somebody else moved: whether it was loaded nobody can say', async () => {
    const step = stepOf(await proposed(target, good), 'shop/switch/local')
    await shop.link('local', 'current', 'releases/v1.2.9')
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
    await target.apply(step, stepAct(step))
    expect([loaded(), (await target.verify(step, stepAct(step))).is]).toEqual(['v1.2.9', 'done'])
  })
})
