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

it('a reason or a name that is nothing is none, and refused where there must be one', async () => {
  expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
  const mark = ['release', 'mark', 'v1', 'bad', '--why', ' ']
  expect((await toy.backout(mark, { BACKOUT_USER: ' \u001b[2J ' })).code).toBe(0)
  expect((await toy.backout(mark, { BACKOUT_USER: '  ' })).code).toBe(0)
  const { stdout } = await toy.backout(['release', 'show', 'v1'])
  const marks = stdout.split('\n').filter(line => line.includes(' bad by '))
  expect(marks).toEqual([expect.stringMatching(/ bad by \[2J$/), expect.stringMatching(/ bad by \S+$/)])

  const { code, stderr } = await toy.backout(['skip', 'well', '--reason', '  '])
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('[option_invalid]: --reason') })
})
