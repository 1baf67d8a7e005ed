import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

async function ok(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await toy.backout(argv)
  expect({ argv, code, stderr }).toEqual({ argv, code: 0, stderr: '' })
  return stdout
}

async function upgrade(from: string, to: string): Promise<void> {
  await ok('upgrade', 'begin', to, '--from', from)
  await toy.release(to)
  await ok('upgrade', 'end', to)
  await ok('release', 'mark', from, 'known-good')
}

const goesTo = async () => (await toy.json<Plan>(['plan'])).to.release

describe('A3: the release that runs', () => {
  beforeEach(async () => {
    toy = await makeToy('')
    await toy.release('v0')
    await upgrade('v0', 'v1')
    await upgrade('v1', 'v2')
  })

  it('is the one that a revert brought back, for the next way back and the next capture', async () => {
    await ok('run', '--yes')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
    await ok('revert', '--yes')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
    expect(await goesTo()).toBe('v1')
    expect(await ok('upgrade', 'begin', 'v3')).toContain('v2 is captured')
    await toy.release('v3')
    await ok('run', '--to', 'v1', '--yes')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('is the one that was gone back to over several upgrades', async () => {
    await ok('run', '--to', 'v0', '--yes')
    expect(await ok('upgrade', 'begin', 'v3')).toContain('The upgrade from v0 to v3')
    await toy.release('v3')
    expect((await toy.backout(['upgrade', 'end', 'v2'])).stderr).toContain('upgrade_unknown')
    expect(await goesTo()).toBe('v0')
    await ok('run', '--to', 'v1', '--yes')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('stays the one gone back to, however often that is said: a release that was taken back is not put there again', async () => {
    // As a bake does of every release that is found to be bad only later.
    await ok('release', 'mark', 'v2', 'known-good')
    expect(await ok('run', '--yes')).toContain('v2 -> v1')
    const again = await ok('run', '--yes')
    expect(again).toContain(
      'A run went back to v1, and Backout was told of no deployment since. Another release has to be named: --to',
    )
    expect(again).toContain('known good: v2 (taken back by a run), v0')
    expect(again).toContain('Nothing to do')
    expect(await ok('status')).toContain('stands on v1: Backout was told of no deployment since')
    // Put there again untold, by whatever deploys: the way is still back.
    await toy.release('v2')
    await ok('run', '--yes')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
    await ok('run', '--to', 'v0', '--yes')
    expect(await goesTo()).toBe('v0')
    await ok('release', 'mark', 'v0', 'bad', '--why', 'is no better')
    const none = await toy.backout(['plan'])
    expect(none.stderr).toMatch(/no_known_good.*v2 \(known-good, taken back by a run\)/s)
    await ok('release', 'mark', 'v1', 'known-good')
    expect(await goesTo()).toBe('v1')
  })

  it('is left again where somebody went forward by name, reverted, or captured what was deployed untold', async () => {
    await ok('release', 'mark', 'v2', 'known-good')
    await ok('run', '--yes')
    await ok('run', '--to', 'v2', '--yes')
    expect(await ok('status')).not.toContain('stands on')
    expect(await goesTo()).toBe('v1')
    await ok('run', '--yes')
    await ok('revert', '--yes')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
    expect(await goesTo()).toBe('v1')
    await ok('run', '--yes')
    await toy.release('v3')
    await ok('capture', 'v3', '--known-good')
    await toy.release('v4')
    expect(await goesTo()).toBe('v3')
    await toy.release('v3')
    await ok('upgrade', 'begin', 'v4', '--from', 'v3')
    // v2 was taken back, and nobody has called it good since.
    await ok('release', 'mark', 'v3', 'bad', '--why', 'is none')
    await ok('release', 'mark', 'v1', 'bad', '--why', 'is none either')
    expect(await goesTo()).toBe('v0')
  })

  it('is no longer changed by a run of before, whose end is tidied up after the next upgrade', async () => {
    await ok('run', '--yes')
    await upgrade('v1', 'v3')
    await rm(join(toy.folder, '.backout/reports'), { recursive: true })
    await ok('resume')
    expect(await goesTo()).toBe('v1')
  })

  it('is not captured under a guessed name where it looks like another release', async () => {
    // Put there by hand, untold.
    await toy.release('v1')
    const said = await toy.backout(['upgrade', 'begin', 'v3'])
    expect(said.code).toBe(3)
    expect(said.stderr).toContain('error [release_unlike]: What runs should be v2, and looks more like v1')
    expect(said.stderr).toContain('--from v1')
    const begun = await toy.backout(['upgrade', 'begin', 'v3', '--from', 'v1'])
    expect(begun).toMatchObject({ code: 0, stdout: expect.stringContaining('v1 is captured') })
  })

  it('is not captured under a guessed name where it looks like no release at all', async () => {
    await toy.release('v9')
    const said = await toy.backout(['upgrade', 'begin', 'v3'])
    expect(said.code).toBe(3)
    expect(said.stderr).toContain(
      'error [release_unlike]: What runs should be v2, and no part of it is as that was captured',
    )
    expect(said.stderr).toContain('app is v9, and was v2')
    expect(await ok('upgrade', 'begin', 'v3', '--from', 'v9')).toContain('v9 is captured')
  })
})

it('A3: is the one gone back to as soon as a rollback only watches', async () => {
  toy = await makeToy('policy: { watch: { gates: [well], for: 60s } }')
  await upgrade('v1', 'v2')
  const run = toy.backout(['run', '--yes'])
  const phase = async () => (await toy.json<{ phase?: string }>(['status'])).phase
  await expect.poll(phase, { timeout: 60_000, interval: 200 }).toBe('watch')
  const begun = await ok('upgrade', 'begin', 'v3')
  expect(begun).toContain('The upgrade from v1 to v3')
  expect(begun).toMatch(/The watch of r\S+ ends here/)
  await toy.release('v3')
  // What is there at the end is the upgrade's: the rollback was none that failed.
  const { code, stdout } = await run
  expect({ code, stdout }).toMatchObject({ code: 0 })
  expect(stdout).toContain('toy is back on v1, verified; its watch was cut short, for the upgrade to v3 began')
  expect(await ok('report')).toContain('the watch ended: the upgrade to v3 began')
  await ok('upgrade', 'end', 'v3')
  expect(await goesTo()).toBe('v1')
})

describe('A3: a run that ended on its way', () => {
  /** A gate that fails, and an abort where it asks. */
  const abandoned = async () => {
    toy = await makeToy('policy: { verify: [calm] }')
    const config = await toy.read('backout.yaml')
    const more = config
      .replace('probes:', "probes:\n  calm: { kind: command, run: 'test ! -e sick' }")
      .replace('gates:', 'gates:\n  calm: { probes: [calm] }')
    await toy.write('backout.yaml', more)
    await toy.write('sick', '')
    for (const version of ['v1', 'v2']) {
      await toy.release(version)
      await ok('capture', version, '--known-good')
    }
    expect((await toy.backout(['run', '--to', 'v1', '--yes'])).code).toBe(5)
    return toy.backout(['abort'])
  }

  it('is what the next one goes on with: the bad release is not put there again', async () => {
    const { code, stdout } = await abandoned()
    expect({ code, versions: await toy.versions() }).toEqual({ code: 7, versions: ['v1', 'v1'] })
    expect(stdout).toContain('To go on to v1: backout run --to v1')
    const plan = await ok('plan')
    expect(plan).toContain('A run was on its way to v1, and Backout was told of no deployment since.')
    expect(plan).toContain('known good: v2 (taken back by a run)')
    const status = await ok('status')
    expect(status).toContain('To go on to v1: backout run --to v1')
    expect(status).not.toContain('stands on')
    // What is deployed after it is left for v1 too, until somebody says that v2 was good all the same.
    await toy.release('v3')
    await ok('capture', 'v3')
    expect(await goesTo()).toBe('v1')
    await ok('release', 'mark', 'v2', 'known-good')
    expect(await goesTo()).toBe('v2')
  })

  it('is not captured under the name of the release that it left, for what runs is a mix', async () => {
    toy = await makeToy('')
    await upgrade('v1', 'v2')
    await ok('release', 'mark', 'v2', 'known-good')
    const config = await toy.read('backout.yaml')
    const broken = config.replace('> app', '> app.new; exit 3')
    expect(broken).not.toBe(config)
    await toy.write('backout.yaml', broken)
    expect((await toy.backout(['run', '--to', 'v1', '--yes'])).code).toBe(5)
    expect((await toy.backout(['abort'])).code).toBe(7)
    expect(await toy.versions()).toEqual(['v1', 'v2'])
    await toy.write('backout.yaml', config)
    const said = await toy.backout(['upgrade', 'begin', 'v3'])
    expect(said.code).toBe(3)
    const text = said.stderr.replaceAll(/\s+/g, ' ')
    expect(text).toContain(
      '[release_unlike]: A run ended on its way from v2 to v1, so what runs may be neither of them',
    )
    expect(text).toContain('db is v1, and was v2')
    expect(text).toContain('backout run --to v1')
    // It was put there again as it was: then it is that.
    await toy.release('v2')
    expect(await ok('upgrade', 'begin', 'v3')).toContain('v2 is captured')
  })

  it('says nothing where it was taken back', async () => {
    await abandoned()
    await rm(join(toy.folder, 'sick'))
    await ok('revert', '--yes')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
    expect(await goesTo()).toBe('v2')
  })
})

it('A3: is not the one that a run took back, where no deployment was ever told', async () => {
  toy = await makeToy('')
  for (const version of ['v1', 'v2']) {
    await toy.release(version)
    await ok('capture', version, '--known-good')
  }
  await ok('run', '--to', 'v1', '--yes')
  await toy.release('v3')
  await ok('capture', 'v3')
  expect(await goesTo()).toBe('v1')
  await toy.release('v2')
  await ok('capture', 'v2')
  expect(await goesTo()).toBe('v2')
})

it('A3: stays the one gone back to also where no deployment was ever told', async () => {
  toy = await makeToy('')
  for (const version of ['v1', 'v2']) {
    await toy.release(version)
    await ok('capture', version, '--known-good')
  }
  await ok('run', '--to', 'v1', '--yes')
  expect(await ok('run', '--yes')).toContain('Nothing to do')
  expect(await toy.versions()).toEqual(['v1', 'v1'])
  await toy.release('v3')
  await ok('capture', 'v3', '--known-good')
  expect(await goesTo()).toBe('v3')
})

it('A3: is not captured over the only release that was ever captured, which is known to be good', async () => {
  toy = await makeToy('')
  await ok('capture', 'v1', '--known-good')
  await toy.release('v2')
  const begun = await toy.backout(['upgrade', 'begin', 'v3'])
  expect(begun).toMatchObject({ code: 3, stderr: expect.stringContaining('[release_unlike]') })
  // Whoever names it is told what the mark covers from now on.
  const said = await toy.backout(['capture', 'v1'])
  expect(said.code).toBe(0)
  expect(said.stderr).toContain(
    'v1 was known-good before this capture and stays so, though db is v2, and was v1; app is v2',
  )
})
