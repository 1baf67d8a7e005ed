import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { Shop, SOON } from '../../../test/support/lifetime/shop.ts'
import type { Pin } from './pin.ts'

const signal = new AbortController().signal

let shop: Shop
beforeEach(async () => {
  shop = await Shop.open()
})
afterEach(() => shop[Symbol.asyncDispose]())

const { backups } = stepAct()
const count = async () => (await backups.list('apps')).length

async function captured(purpose: 'release' | 'departure', more: object = {}, by: AbortSignal = signal): Promise<Pin> {
  await using target = await shop.target(more)
  return target.capture(await target.observe(signal), { ...stepAct(), signal: by, purpose, release: 'good' })
}

describe('A3, C15: what is captured', () => {
  it('is every application with its version, and every module with its version and hash; not the built-in ones', async () => {
    const { applications, environment } = await captured('release')
    expect(environment.name).toBe('Production')
    const shown = Object.values(applications).map(a => [a.name, a.label, Object.values(a.modules).map(m => m.name)])
    expect(shown).toEqual([
      ['Core', '1', expect.arrayContaining(['Core', 'Core_CS'])],
      ['Orders', '1', expect.arrayContaining(['Orders', 'Orders_CS'])],
      ['Shop', '1', expect.arrayContaining(['Shop', 'Shop_CS'])],
    ])
    for (const { modules } of Object.values(applications)) {
      for (const { hash } of Object.values(modules)) expect(hash).toMatch(/^.{22}$/)
    }
  })

  it('knows the modules of an application that was changed since it was tagged, too', async () => {
    const running = [...shop.lifetime.environment('Production').running.values()].find(
      r => r.base.application.name === 'Shop',
    )
    if (running === undefined) throw new Error('no Shop')
    running.modified = true
    running.modules = running.modules.map(m => ({ ...m, key: `${m.key}-hotfix`, hash: `hotfix of ${m.name}` }))
    const { applications } = await captured('release')
    const found = Object.values(applications).find(a => a.name === 'Shop')
    expect(found).toMatchObject({ modified: true, label: '1' })
    expect(Object.values(found?.modules ?? {}).map(m => m.hash)).toEqual(expect.arrayContaining(['hotfix of Shop']))
    expect((await (await shop.target()).observe(signal)).summary).toContain('Shop 1+')
  })

  it.each([
    ['url', false],
    ['Url', true],
  ] as const)('holds the solution package, whole, whatever the casing of %s', async (link, listed) => {
    Object.assign(shop.lifetime.manner, { link, listed, padding: 3 << 20 })
    const { solution } = await captured('release')
    if (solution === null) throw new Error('no package')
    const backup = await backups.get(solution.backup)
    const [original] = [...shop.lifetime.solutions.values()]
    expect(await readFile(join(backup.dir, solution.file))).toEqual(original?.package)
    expect(solution).toMatchObject({
      bytes: original?.package.length,
      sha256: createHash('sha256')
        .update(original?.package ?? '')
        .digest('hex'),
    })
    expect(backup.files.map(f => f.sha256)).toEqual([solution.sha256])
    expect(await backups.check(backup.id)).toEqual([])
  })

  it('has no package where it must be quick, or nobody wants one', async () => {
    expect((await captured('departure')).solution).toBe(null)
    expect((await captured('release', { package: false })).solution).toBe(null)
    expect([...shop.lifetime.solutions.keys()]).toEqual([])
  })
})

describe('a package that does not come', () => {
  it('is named with why, and leaves no backup', async () => {
    const before = await count()
    shop.lifetime.solutionSteps = ['Gathering Dependencies', 'Aborted']
    await expect(captured('release')).rejects.toMatchObject({ code: 'no_package', why: 'A module could not be read.' })
    shop.lifetime.solutionSteps = ['Getting Binaries']
    await expect(captured('release', { limits: { package: '50ms' } })).rejects.toMatchObject({
      code: 'no_package',
      why: 'it is still at "Getting Binaries" after 50 ms',
    })
    shop.lifetime.solutionSteps = ['Completed']
    shop.lifetime.faults.push({ on: /^POST .*\/solution$/, does: 404 })
    await expect(captured('release')).rejects.toMatchObject({
      code: 'no_package',
      next: expect.stringContaining('package: false') as string,
    })
    for (const [does, code] of [
      ['cut', 'lifetime_unreachable'],
      [403, 'lifetime_forbidden'],
      [404, 'lifetime_gone'],
    ] as const) {
      shop.lifetime.faults.push({ on: /downloads/, does })
      await expect(captured('release')).rejects.toMatchObject({ code })
    }
    shop.lifetime.faults.push({ on: /downloads/, does: 'hang' })
    await expect(captured('release', { limits: { transfer: '200ms' } })).rejects.toMatchObject({
      code: 'lifetime_unreachable',
      why: 'not done within 200 ms',
    })
    expect(await count()).toBe(before)
  })

  it('because somebody stops it ends at once', async () => {
    shop.lifetime.faults.push({ on: /downloads/, does: 'hang' })
    const stop = new AbortController()
    const capturing = captured('release', {}, stop.signal)
    capturing.catch(() => {})
    await expect.poll(() => shop.lifetime.requests.some(r => r.includes('/downloads/')), SOON).toBe(true)
    stop.abort(new Error('stopped'))
    await expect(capturing).rejects.toThrow('stopped')
  })
})

it('gives its token to no other host that a package lies on', async () => {
  const seen: (string | undefined)[] = []
  const content = randomBytes(1000)
  const other = createServer((req, res) => {
    seen.push(req.headers.authorization)
    res.writeHead(200, { 'content-length': content.length }).end(content)
  }).listen(0, '127.0.0.1')
  await once(other, 'listening')
  try {
    shop.lifetime.manner.downloads = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    const { solution } = await captured('release')
    expect(solution?.bytes).toBe(1000)
    expect(seen).toEqual([undefined])
  } finally {
    other.close()
    other.closeAllConnections()
  }
})

it('a package that ends early is no package', async () => {
  const other = createServer((_, res) => {
    res.writeHead(200, { 'content-length': 1000 }).write(Buffer.alloc(10))
    setTimeout(() => res.destroy(), 20)
  }).listen(0, '127.0.0.1')
  await once(other, 'listening')
  try {
    shop.lifetime.manner.downloads = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    await expect(captured('release')).rejects.toMatchObject({ code: 'lifetime_unreachable' })
  } finally {
    other.close()
    other.closeAllConnections()
  }
})
