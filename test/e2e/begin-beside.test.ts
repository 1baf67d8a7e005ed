import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy

/** With `hold` there, the last of a capture (what its gate measures) waits for `go`; with `stay`, a step waits for `finish`. */
beforeEach(async () => {
  toy = await makeToy('')
  const config = await toy.read('backout.yaml')
  const held = config
    .replace(`run: '`, `run: 'test ! -e hold || { touch held; until test -e go; do sleep 0.05; done; }; `)
    .replaceAll(`apply: '`, `apply: 'test ! -e stay || { touch begun; until test -e finish; do sleep 0.05; done; }; `)
  await toy.write('backout.yaml', held)
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
  expect(await toy.backout(['capture', 'v2'])).toMatchObject({ code: 0, stderr: '' })
  await toy.write('hold', '')
})
afterEach(() => toy[Symbol.asyncDispose]())

const there = (name: string) =>
  expect.poll(() => existsSync(join(toy.folder, name)), { timeout: 30_000, interval: 50 }).toBe(true)

const upgrades = async () =>
  (await toy.read('.backout/environments/toy/upgrades.json').catch(() => '')).includes('"v3"')

describe('an upgrade whose capture takes long', () => {
  it('does not begin in the middle of a rollback that began meanwhile', async () => {
    const beginning = toy.backout(['upgrade', 'begin', 'v3', '--from', 'v2'])
    await there('held')
    await rm(join(toy.folder, 'hold'))
    await toy.write('stay', '')
    const run = toy.backout(['run', '--yes', '--to', 'v1'])
    await there('begun')
    await toy.write('go', '')
    const { code, stderr, stdout } = await beginning
    expect({ code, stdout }).toMatchObject({ code: 8, stdout: expect.not.stringContaining('may begin') })
    expect(stderr).toMatch(/\[run_open\]: Run \S+ of toy has not ended: running; process \d+ is at work on it/)
    expect(await upgrades()).toBe(false)
    await toy.write('finish', '')
    expect((await run).code).toBe(0)
    expect(await toy.backout(['upgrade', 'begin', 'v3', '--from', 'v1'])).toMatchObject({ code: 0 })
  })

  it('does not begin either where that rollback has ended by then', async () => {
    const beginning = toy.backout(['upgrade', 'begin', 'v3', '--from', 'v2'])
    await there('held')
    await rm(join(toy.folder, 'hold'))
    expect((await toy.backout(['run', '--yes', '--to', 'v1'])).code).toBe(0)
    await toy.write('go', '')
    const { code, stderr } = await beginning
    expect(code).toBe(4)
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(
      /\[run_began\]: Run \S+ to v1 began meanwhile, and has ended: succeeded.*backout upgrade begin v3/,
    )
    expect(await upgrades()).toBe(false)
  })
})
