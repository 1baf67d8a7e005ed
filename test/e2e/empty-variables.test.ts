import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
beforeEach(async () => void (toy = await makeToy()))
afterEach(() => toy[Symbol.asyncDispose]())

it('what an empty variable leaves of a word is refused, and nothing has happened', async () => {
  expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
  const refused = async (code: string, ...argv: string[]) =>
    expect(await toy.backout(argv)).toMatchObject({ code: 2, stderr: expect.stringContaining(`error [${code}]`) })
  await refused('release_name', 'upgrade', 'begin', '')
  await refused('plan_unreadable', 'run', '', '--yes')
  await refused('config_unreadable', '--config', '', 'plan')
  await refused('config_unreadable', '--config=', 'init')
  expect(await toy.json(['plan'])).toMatchObject({ from: null, to: { release: 'v1' } })
})

it('an empty variable of the environment puts no keys into the folder that one happens to be in', async () => {
  const config = join(toy.folder, 'config')
  const empty = { BACKOUT_KEYS: '', XDG_CACHE_HOME: '', BACKOUT_CONFIG: '' }
  expect((await toy.backout(['capture', 'v1'], { ...empty, XDG_CONFIG_HOME: config })).code).toBe(0)
  expect(readdirSync(join(config, 'backout'))).toHaveLength(1)
  const home = join(toy.folder, 'me')
  const at = { BACKOUT_HOME: join(toy.folder, 'other'), HOME: home }
  expect((await toy.backout(['capture', 'v1'], { ...empty, ...at, XDG_CONFIG_HOME: '' })).code).toBe(0)
  expect(readdirSync(join(home, '.config/backout'))).toHaveLength(1)
  expect(readdirSync(toy.folder).toSorted()).toEqual(['.backout', 'app', 'backout.yaml', 'config', 'db', 'me', 'other'])
})
