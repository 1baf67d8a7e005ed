import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
beforeEach(async () => {
  toy = await makeToy(
    '',
    `      capture: 'test ! -e full || { echo no room >&2; exit 3; }; printf "\\"%s\\"" "$(cat app)"'\n`,
  )
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
  await toy.write('full', '')
})
afterEach(() => toy[Symbol.asyncDispose]())

it('C18: what cannot be captured where a run begins is said, and an emergency goes without it', async () => {
  const refused = await toy.backout(['run', '--yes'])
  expect({ code: refused.code, versions: await toy.versions() }).toEqual({ code: 9, versions: ['v2', 'v2'] })
  expect(refused.stdout).toMatch(/The run failed: nothing was touched, for where .* \(run --emergency\): .*no room/)

  const gone = await toy.backout(['run', '--emergency', '--yes'])
  expect({ code: gone.code, versions: await toy.versions() }).toEqual({ code: 0, versions: ['v1', 'v1'] })
  expect(gone.stdout).toMatch(/note: revert cannot bring app back to where this run begins.*no room/)

  await rm(join(toy.folder, 'full'))
  const reverted = await toy.backout(['revert', '--yes'])
  expect({ code: reverted.code, versions: await toy.versions() }).toEqual({ code: 0, versions: ['v2', 'v1'] })
  expect(reverted.stdout).toContain('app was not captured with this release')
})
