import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy

/** app cannot be asked as long as there is a file `down`. */
beforeEach(async () => {
  toy = await makeToy('')
  const config = await toy.read('backout.yaml')
  const asked = config.replace(`observe: 'printf "{\\"state\\":\\"%s\\",\\"summary\\":\\"%s\\"}" "$(cat app)"`, found =>
    found.replace(`'`, `'test ! -e down && `),
  )
  expect(asked).not.toBe(config)
  await toy.write('backout.yaml', asked)
  await toy.release('v2')
})
afterEach(() => toy[Symbol.asyncDispose]())

async function ok(...argv: string[]): Promise<string> {
  const { code, stdout } = await toy.backout(argv)
  expect({ argv, code }).toEqual({ argv, code: 0 })
  return stdout.replaceAll(/\s+/g, ' ')
}

/** v2 is left while app is down; v3 is worse, and v2 is good after all. */
async function leaveInPart(): Promise<string> {
  await toy.write('down', '')
  const said = await ok('upgrade', 'begin', 'v3', '--from', 'v2', '--uncaptured', 'its host is away')
  await rm(join(toy.folder, 'down'))
  await toy.release('v3')
  await ok('release', 'mark', 'v2', 'known-good', '--why', 'only its host was away')
  return said
}

describe('a release that was captured in part', () => {
  it('is gone back to by the whole capture of before: all of it', async () => {
    await ok('capture', 'v2', '--known-good')
    expect(await leaveInPart()).toContain('What counts of v2 stays its whole capture of')
    expect(await ok('release', 'show', 'v2')).toMatch(
      /capture \S+, \S+ by \S+ db command v2 without app: app cannot be observed: .* capture \S+, \S+ by \S+ \(the one that counts\)/,
    )
    const plan = await ok('plan', '--to', 'v2')
    expect(plan).toMatch(/app command v3 -> v2/)
    expect(plan).toMatch(/a newer capture of v2, \S+ of \S+, lacks app, so the whole one of \S+ counts/)
    expect(await ok('run', '--yes', '--to', 'v2')).toContain('toy is back on v2, verified')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
  })

  it('goes on being known by its whole one: what runs is recognised, and no component is told to lack', async () => {
    await ok('capture', 'v2', '--known-good')
    await leaveInPart()
    await ok('run', '--yes', '--to', 'v2')
    expect(await ok('doctor')).not.toContain('was not captured')
    await ok('upgrade', 'begin', 'v4')
    expect(await ok('upgrade', 'begin', 'v5', '--from', 'v2')).toContain('The upgrade from v2 to v5 may begin')
  })

  it('says at every end what it leaves, where there is no whole one', async () => {
    await leaveInPart()
    const plan = await ok('plan', '--to', 'v2')
    expect(plan).toMatch(/app is left: v3/)
    expect(plan).toMatch(
      /app was not captured with this release \(app cannot be observed: .*\), so it is left as it is \(v3\)/,
    )
    const run = await ok('run', '--yes', '--to', 'v2')
    expect(run).toContain('toy is back on v2, but not app, which was not captured with it')
    expect(run).not.toContain('verified')
    expect(await toy.versions()).toEqual(['v2', 'v3'])
    expect(await ok('status')).toContain('left as it was, for it was not captured with the release: app')
    expect(await ok('report')).toContain('app not captured')
    expect(await ok('plan', '--to', 'v2')).toContain('Nothing to do: toy is already as v2 was captured, but for app')
  })
})

it('nobody goes back without a component that does not answer, unless they take it out, as they are told', async () => {
  await ok('capture', 'v2', '--known-good')
  await toy.release('v3')
  await toy.write('down', '')
  for (const argv of [[], ['--emergency']]) {
    const { code, stdout } = await toy.backout(['run', '--yes', '--to', 'v2', ...argv])
    expect(code).toBe(3)
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('to go back without it, take app out of backout.yaml for this run')
  }
  const whole = await toy.read('backout.yaml')
  await toy.write('backout.yaml', whole.replace(/ {2}app:\n[^]*?(?=^probes:)/m, ''))
  expect(await ok('run', '--yes', '--to', 'v2')).toContain('app was captured with v2 and is no longer in backout.yaml')
  expect(await toy.versions()).toEqual(['v2', 'v3'])
  await toy.write('backout.yaml', whole)
  await rm(join(toy.folder, 'down'))
  await ok('run', '--yes', '--to', 'v2')
  expect(await toy.versions()).toEqual(['v2', 'v2'])
})
