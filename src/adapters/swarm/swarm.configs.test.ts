import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { noDockerd } from '../../../test/support/dockerd.ts'
import { noImages } from '../../../test/support/shop-images.ts'
import { type SwarmEngine, swarmEngine } from '../../../test/support/swarm.ts'
import { codes, proposed, run, shopOn } from './swarm.fixture.ts'

const why = noDockerd() ?? noImages()

vi.setConfig({ testTimeout: 300_000 })

describe.skipIf(why !== null)(`C6: a config that was cleaned up${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: SwarmEngine
  const file = join(tmpdir(), `conf-${process.pid}`)
  beforeAll(async () => {
    engine = await swarmEngine()
    // Larger than an address may be.
    await writeFile(file, `colour = blue\n${'# padding\n'.repeat(2_000)}`)
    await engine.docker('config', 'create', 'conf-1', file)
    await engine.docker('config', 'create', 'conf-2', '/etc/hostname')
  })
  afterAll(async () => {
    await rm(file, { force: true })
    await engine?.dispose()
  })

  it('is made again with the content of the release, by both rungs, and not beside another one of its name', async () => {
    const { name, target, pin } = await shopOn(engine, 'conf', ['--config', 'source=conf-1,target=/conf'])
    const next = ['--image', 'shop:v2', '--config-rm', 'conf-1', '--config-add', 'source=conf-2,target=/conf']
    const clean = async () => {
      await engine.update(name, ...next)
      await engine.docker('config', 'rm', 'conf-1')
    }
    for (const rung of ['update', 'recreate']) {
      await clean()
      expect(codes(await proposed(target, pin, 'previous'))).toContain('blocker previous_is_other')
      const proposal = await proposed(target, pin, rung)
      expect(proposal.findings.find(f => f.code === 'config_made_again')?.what).toContain('conf-1 of conf')
      expect(proposal.phases.config).toEqual({ step: 'web/config/conf-1' })
      expect(JSON.stringify([pin, proposal])).not.toContain('colour')
      expect(await run(target, proposal)).toEqual(['done', 'done'])
      const [id = ''] = (
        await engine.docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=${name}`)
      ).split('\n')
      expect(await engine.docker('exec', id, 'cat', '/version', '/conf')).toMatch(/^v1\ncolour = blue/)
      expect((await proposed(target, pin)).steps).toEqual([])
    }
    await clean()
    const [make, update] = ordered(await proposed(target, pin))
    if (make === undefined || update === undefined) throw new Error('two steps expected')
    await expect(target.apply(update, stepAct(update))).rejects.toMatchObject({ code: 'config_gone', exit: 'moved' })
    await engine.docker('config', 'create', 'conf-1', '/etc/hostname')
    await expect(target.apply(make, stepAct(make))).rejects.toMatchObject({ code: 'config_taken', exit: 'moved' })
    expect((await target.verify(make, stepAct(make))).is).toBe('not-done')
    expect(codes(await proposed(target, pin))).toContain('blocker config_gone')
    expect(await engine.versions(name)).toBe('v2')
  })
})
