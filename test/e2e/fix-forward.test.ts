import { rm } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
const STUCK = '"$(test -e stuck && echo \\"the rollout of app\\")"'

/** v2 is told, deployed, and never comes up: app's rollout goes on for ever. */
beforeEach(async () => {
  toy = await makeToy('')
  const config = await toy.read('backout.yaml')
  const moving = config.replace(
    '"{\\"state\\":\\"%s\\",\\"summary\\":\\"%s\\"}" "$(cat app)" "$(cat app)"',
    `"{\\"state\\":\\"%s\\",\\"summary\\":\\"%s\\",\\"inFlight\\":[%s]}" "$(cat app)" "$(cat app)" ${STUCK}`,
  )
  expect(moving).not.toBe(config)
  await toy.write('backout.yaml', moving)
  await ok('upgrade', 'begin', 'v2', '--from', 'v1')
  await ok('release', 'mark', 'v1', 'known-good')
  await toy.release('v2')
  await toy.write('stuck', '')
})
afterEach(() => toy[Symbol.asyncDispose]())

async function ok(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await toy.backout(argv)
  expect({ argv, code, stderr }).toEqual({ argv, code: 0, stderr: '' })
  return stdout
}

describe('an upgrade from a release that is stuck', () => {
  it('is refused with the way on', async () => {
    const { code, stderr } = await toy.backout(['upgrade', 'begin', 'v3'])
    expect(code).toBe(4)
    const said = stderr.replaceAll(/\s+/g, ' ')
    expect(said).toContain('v2 cannot be captured while something is still going on cause: app: the rollout of app')
    expect(said).toContain(
      'where v2 is bad and is not to be gone back to: backout upgrade begin v3 --from v2 --uncaptured WHY',
    )
  })

  it('leaves out what cannot be captured, says so, and makes it no way back; the fix is known by its name', async () => {
    const begun = await toy.backout(['upgrade', 'begin', 'v3', '--uncaptured', 'its image is missing'])
    expect(begun.code).toBe(0)
    expect(begun.stderr).toContain('app is not captured with v2: the rollout of app goes on')
    expect(begun.stdout).toContain('The upgrade from v2 to v3 may begin')
    const releases = await toy.json<{ name: string; state: string }[]>(['releases'])
    expect(releases.find(r => r.name === 'v2')).toMatchObject({ state: 'bad' })
    expect(await ok('releases')).toContain('left without a capture of app: its image is missing')
    await rm(`${toy.folder}/stuck`)
    await toy.release('v3')
    await ok('upgrade', 'end', 'v3')
    expect((await toy.json<{ to: { release: string } }>(['plan'])).to.release).toBe('v1')
    await ok('run', '--yes')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('of one that was marked bad meanwhile begins too, and where all can be captured nothing is left out', async () => {
    await rm(`${toy.folder}/stuck`)
    await ok('upgrade', 'end', 'v2')
    await ok('release', 'mark', 'v2', 'bad', '--why', 'loses orders')
    const refused = await toy.backout(['upgrade', 'begin', 'v3'])
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('--uncaptured') })
    expect(await ok('upgrade', 'begin', 'v3', '--uncaptured', 'it is bad')).toContain('v2 is captured')
  })
})
