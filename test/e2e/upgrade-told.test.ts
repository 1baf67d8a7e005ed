import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
beforeEach(async () => {
  toy = await makeToy(`policy: { bake: { gates: [there], for: 12s } }`)
  const config = await toy.read('backout.yaml')
  const there = `probes:\n  file: { kind: command, run: 'test -e app' }`
  const gate = `gates:\n  there: { probes: [file], attempts: 1 }`
  await toy.write('backout.yaml', config.replace('probes:', there).replace('gates:', gate))
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
})
afterEach(() => toy[Symbol.asyncDispose]())

async function ok(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await toy.backout(argv)
  expect({ argv, code, stderr }).toEqual({ argv, code: 0, stderr: '' })
  return stdout
}

const stateOf = async (release: string) => {
  const all = await toy.json<{ name: string; state: string }[]>(['releases'])
  return all.find(r => r.name === release)?.state
}

/** The deployment of v2, of which no summary shows anything. */
async function changesSettingsOnly(): Promise<void> {
  const config = await toy.read('backout.yaml')
  const more = config.replace('"$(cat app)" "$(cat app)"', '"$(cat app) $(cat mode)" "$(cat app)"')
  expect(more).not.toBe(config)
  await toy.write('mode', 'old\n')
  await toy.write('backout.yaml', more)
  await ok('upgrade', 'begin', 'v2', '--from', 'v1')
  await toy.write('mode', 'new\n')
}

describe('a release that bakes', () => {
  it.each([
    ['a run takes it back', ['run', '--yes', '--to', 'v1'], 'it was left for v1'],
    ['another upgrade begins', ['upgrade', 'begin', 'v3'], 'it was left for v3'],
  ])('is not known good where %s: the gates speak of something else since', async (_, argv, why) => {
    await ok('upgrade', 'begin', 'v2')
    await toy.release('v2')
    const baking = toy.backout(['upgrade', 'end', 'v2'])
    await expect.poll(() => stateOf('v2'), { timeout: 30_000, interval: 200 }).toBe('captured')
    await ok(...argv)
    const { code, stdout } = await baking
    expect(stdout).toMatch(new RegExp(`v2 stays "captured": (${why}|a run set out for v1) while it baked`))
    expect({ code, state: await stateOf('v2') }).toEqual({ code: 10, state: 'captured' })
  })
})

describe('an upgrade that is told to have ended with nothing deployed', () => {
  beforeEach(async () => {
    const config = await toy.read('backout.yaml')
    await toy.write('backout.yaml', config.replace('for: 12s', 'for: 1s'))
  })

  it('is refused: the old state gets neither the new name nor its mark', async () => {
    await ok('upgrade', 'begin', 'v2')
    const { code, stderr } = await toy.backout(['upgrade', 'end', 'v2'])
    expect({ code, state: await stateOf('v2') }).toEqual({ code: 3, state: undefined })
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(
      /\[release_unlike\]: Nothing that runs is other than v1 was when the upgrade began: v2 may not have been deployed.*backout upgrade end v2 --unchanged WHY/,
    )
    await toy.release('v2')
    expect(await ok('upgrade', 'end', 'v2')).toContain('v2 is now known-good')
  })

  it('ends by a word where it is so all the same', async () => {
    await ok('upgrade', 'begin', 'v2')
    expect(await ok('upgrade', 'end', 'v2', '--unchanged', 'the same images, built anew')).toContain(
      'v2 is now known-good',
    )
    expect(await ok('release', 'show', 'v2')).toMatch(/known-good by .*unchanged since v1: the same images, built anew/)
  })

  it('ends where the deployment changed settings only, which no summary shows', async () => {
    await changesSettingsOnly()
    expect(await ok('upgrade', 'end', 'v2')).toContain('v2 is now known-good')
  })

  it('ends where what it left was captured in part: what is new may be there', async () => {
    const config = await toy.read('backout.yaml')
    const away = config.replace(`observe: 'printf "{\\"state`, `observe: 'test ! -e down && printf "{\\"state`)
    expect(away).not.toBe(config)
    await toy.write('backout.yaml', away)
    await toy.write('down', '')
    await toy.backout(['upgrade', 'begin', 'v2', '--from', 'v1', '--uncaptured', 'db is away'])
    await rm(join(toy.folder, 'down'))
    await toy.write('db', 'v2\n')
    expect(await ok('upgrade', 'end', 'v2')).toContain('v2 is now known-good')
  })
})

describe('a release whose upgrade was begun and never deployed', () => {
  it('does not give its name to what still runs', async () => {
    await ok('upgrade', 'begin', 'v2')
    const { code, stderr } = await toy.backout(['upgrade', 'begin', 'v3'])
    expect(code).toBe(3)
    const said = stderr.replaceAll(/\s+/g, ' ')
    expect(said).toContain('What runs should be v2, and is in every component as v1 was captured')
    expect(said).toContain('--from v1, or --from v2')
    expect(await stateOf('v2')).toBeUndefined()
    await ok('upgrade', 'begin', 'v3', '--from', 'v1')
  })

  it('gives it where the deployment changed something and was not told to have ended', async () => {
    await ok('upgrade', 'begin', 'v2')
    await toy.write('app', 'v2\n')
    expect(await ok('upgrade', 'begin', 'v3')).toContain('v2 is captured')
  })

  it('gives it also where the deployment changed settings only, which no summary shows', async () => {
    await changesSettingsOnly()
    expect(await ok('upgrade', 'begin', 'v3')).toContain('v2 is captured')
  })
})

it('an upgrade that another one followed does not end again: what runs is not what it brought', async () => {
  await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace(/^policy:.*$/m, ''))
  for (const [from, to] of [
    ['v1', 'v2'],
    ['v2', 'v3'],
  ] as const) {
    await ok('upgrade', 'begin', to, '--from', from)
    await toy.release(to)
    await ok('upgrade', 'end', to)
  }
  // Told once more by who is still at it, it does.
  await ok('upgrade', 'end', 'v3')
  for (const word of ['end', 'migrated']) {
    const { code, stderr } = await toy.backout(['upgrade', word, 'v2'])
    expect(code).toBe(2)
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(
      /\[upgrade_unknown\]: The upgrade to v2 ended at \S+, and the one to v3 began at \S+: what runs is not v2 any more.*backout upgrade end v3/,
    )
  }
})
