import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.ts'
import { until } from '../support/rollback.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
const LB = `components:
  lb:
    adapter: command
    settings:
      identity: lb
      serves:
        drained:
          apply: 'touch away'
          undo: { apply: 'rm away && echo back >> back' }
`
const ASKS = '      needs: [{ of: lb, what: drained }]\n'

beforeEach(async () => {
  toy = await makeToy('', ASKS)
  await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace('components:\n', LB))
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
})
afterEach(() => toy[Symbol.asyncDispose]())

const away = () => existsSync(join(toy.folder, 'away'))
const ends = (plan: Plan) => Object.values(plan.steps).map(step => step.id)

/** Taken back, but for users: the step that lets them in again asks, and somebody stops there. */
async function abortWithUsersAway(): Promise<string> {
  await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace("'rm away ", "'test -e open && rm away "))
  const run = toy.backout(['run', '--yes'])
  await until(async () => (await toy.backout(['status'])).stdout.includes('waits for your word on lb/drained/undo'))
  await run
  const { code, stdout } = await toy.backout(['abort'])
  expect({ code, away: away() }).toEqual({ code: 7, away: true })
  await toy.write('open', '')
  return stdout
}

describe('a run that ends while users are away', () => {
  it('says so, and the next plan brings them back where nothing else is left to do', async () => {
    const way = 'was not taken back by it. A new run does that: backout run --to v1; or backout revert'
    expect(await abortWithUsersAway()).toContain(way)
    expect((await toy.backout(['status'])).stdout.replace(/\s+/g, ' ')).toContain(way)
    expect(await toy.versions()).toEqual(['v1', 'v1'])

    const plan = await toy.json<Plan>(['plan', '--to', 'v1'])
    expect(ends(plan)).toEqual(['lb/drained/away', 'lb/drained/undo'])
    expect(plan.findings.map(f => f.code)).toContain('left_drained')
    expect((await toy.backout(['run', '--to', 'v1', '--yes'])).code).toBe(0)
    expect({ away: away(), back: await toy.read('back') }).toEqual({ away: false, back: 'back\n' })

    expect(ends(await toy.json<Plan>(['plan', '--to', 'v1']))).toEqual([])
    expect((await toy.backout(['status'])).stdout).not.toContain('was not taken back')
  })

  it('is reverted with users back', async () => {
    await abortWithUsersAway()
    expect((await toy.backout(['revert', '--yes'])).code).toBe(0)
    expect({ away: away(), versions: await toy.versions() }).toEqual({ away: false, versions: ['v2', 'v2'] })
  })

  it('is aborted for good by a second abort, where what takes users to safety asks', async () => {
    const yaml = await toy.read('backout.yaml')
    const broken = yaml.replace("'touch away'", "'test ! -e broken && touch away'")
    await toy.write('backout.yaml', broken.replace(/apply: 'printf.* > app'/, "apply: 'exit 3'"))
    expect((await toy.backout(['run', '--yes'])).code).toBe(5)
    await toy.write('broken', '')

    const first = await toy.backout(['abort', '--reason', 'enough of it'])
    expect(first).toMatchObject({ code: 5, stdout: expect.stringContaining('backout resolve lb/drained/away --done') })
    const second = await toy.backout(['abort', '--reason', 'gone home'])
    expect(second).toMatchObject({ code: 7, stdout: expect.stringContaining('nobody said whether it took effect') })
    const { stdout: report } = await toy.backout(['report'])
    for (const reason of ['enough of it', 'gone home']) expect(report).toContain(reason)
  })
})
