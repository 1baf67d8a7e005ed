import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Report } from '../../src/report/model.ts'
import { atTerminal } from '../support/terminal.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

async function badRelease(more?: string): Promise<void> {
  toy = await makeToy(more)
  expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
  await toy.release('v2')
}

describe('the confirmation at a terminal', () => {
  beforeEach(() => badRelease())

  it.each([
    ['another word', 'toyy\r'],
    ['Ctrl-C', '\x03'],
    ['Ctrl-D', '\x04'],
  ])('takes %s for no: says that nothing was touched, and ends with 7', async (_, keys) => {
    const run = atTerminal(toy.folder, ['run'])
    await run.until('Type toy to go back:')
    run.type(keys)
    expect(await run.ended()).toBe(7)
    expect(run.shown()).toContain('Not confirmed; nothing was touched.')
    expect(run.shown()).not.toContain('error [')
    expect(await toy.versions()).toEqual(['v2', 'v2'])
  })

  it.each(['xterm', 'dumb'])('takes the name for yes, and goes back (TERM=%s)', async kind => {
    const run = atTerminal(toy.folder, ['run', '--reason', 'it is bad'], 80, kind)
    await run.until('Type toy to go back:')
    run.type('toy\r')
    expect(await run.ended()).toBe(0)
    expect(run.shown()).toContain('toy is back on v1, verified.')
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })
})

describe('a question at a terminal', () => {
  beforeEach(async () => {
    await badRelease()
    await toy.write(
      'backout.yaml',
      (await toy.read('backout.yaml')).replace('$(cat app)" = v1\' }', '$(cat app)" = v9\' }'),
    )
  })

  it('is answered with a word, knows no other, and takes no skip without a reason', async () => {
    const run = atTerminal(toy.folder, ['run', '--yes'])
    await run.until('Your answer:')
    expect(run.shown()).toMatch(/retry +backout resume +try again/)
    expect(run.shown()).toMatch(/abort +backout abort +stop here/)
    run.type('what\r')
    await run.until('Your answer, one of retry, skip, abort:')
    run.type('skip\r')
    await run.until('Why:')
    run.type('\r')
    await run.until(/Why: [^]*Why:/)
    run.type('the probe is wrong\r')
    expect(await run.ended()).toBe(0)
    const { decisions } = await toy.json<Report>(['report'])
    expect(decisions.find(d => d.kind === 'skip')).toMatchObject({ why: 'the probe is wrong' })
  })

  it.each([
    ['Ctrl-C', '\x03'],
    ['Ctrl-D', '\x04'],
  ])('can be left by %s, and is answered from anywhere', async (_, keys) => {
    const run = atTerminal(toy.folder, ['run', '--yes'])
    await run.until('Your answer:')
    run.type(keys)
    expect(await run.ended()).toBe(5)
    expect(run.shown()).toMatch(/The run waits for your word:\n +backout resume/)
    expect(run.shown()).not.toContain('Pausing')
    const again = atTerminal(toy.folder, ['run'])
    expect(await again.ended()).toBe(8)
    expect(again.shown()).toContain('error [run_open]')
    expect(again.shown()).not.toContain('Type toy')
    expect((await toy.backout(['plan'])).stderr).toMatch(/Run r\S+ has not ended: waiting/)
    expect((await toy.backout(['upgrade', 'begin', 'v3'])).stderr).toContain('error [run_open]')
    const resumed = atTerminal(toy.folder, ['resume'])
    await resumed.until('Your answer:')
    expect((await toy.backout(['skip', 'well', '--reason', 'known'])).code).toBe(0)
    expect(await resumed.ended()).toBe(0)
  })
})

describe('a narrow terminal', () => {
  beforeEach(() =>
    badRelease(`policy: { verify: [well] }
hooks: { code: { before: { run: 'echo no room is left on the device that the releases of the shop live on >&2; exit 4' } } }`),
  )

  it('is never written over its edge but by a word that is longer, and no reason is cut off', async () => {
    for (const argv of [['plan'], ['gates'], ['releases', '--all'], ['doctor'], ['release', 'show', 'v1']]) {
      const said = atTerminal(toy.folder, argv, 50)
      await said.ended()
      const wide = said
        .shown()
        .split('\n')
        .filter(line => line.length > 50 && line.trim().includes(' '))
      expect(
        wide.filter(line =>
          line
            .trim()
            .split(' ')
            .every(word => word.length < 40),
        ),
      ).toEqual([])
      expect(said.shown()).not.toContain('…')
    }
    const run = atTerminal(toy.folder, ['run', '--yes'], 50)
    await run.until('Your answer:')
    expect(run.shown().replaceAll(/\s+/g, ' ')).toContain('that the releases of the shop live on')
    run.type('abort\r')
    expect(await run.ended()).toBe(7)
  })
})

it('is not steered by what a probe, a command or a release prints', async () => {
  toy = await makeToy()
  const yaml = await toy.read('backout.yaml')
  const print = String.raw`printf "\033[2J\033[1A\033]0;mine\007\302\233J\r pass"; exit 1`
  await toy.write('backout.yaml', yaml.replace(/version: .*/, `version: { kind: command, run: '${print}' }`))
  // The summary of a component, as a bad release would have it.
  await toy.release('v1\\u001b[1Ax')
  let said = ''
  for (const argv of [['gates'], ['capture', 'v1'], ['release', 'show', 'v1'], ['capture', 'a\u001b[1Ab']]) {
    const { stdout, stderr } = await toy.backout(argv)
    said += stdout + stderr
  }
  expect(said).toContain('[2J[1A]0;mine')
  expect(said).toContain('v1[1Ax')
  expect(said).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)
})
