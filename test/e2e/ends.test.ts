import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

async function onV2(...more: string[]): Promise<void> {
  toy = await makeToy(...more)
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
}

describe('how a run ended', () => {
  it('is not called verified where it rests on the word of a person', async () => {
    await onV2('')
    const yaml = await toy.read('backout.yaml')
    // Fails, and nobody can be asked whether it took effect.
    const noVerify = yaml.replaceAll(/^ {6}verify: .*\n/gm, '').replaceAll(/^ {6}apply: .*$/gm, "      apply: 'exit 3'")
    await toy.write('backout.yaml', noVerify)
    expect((await toy.backout(['run', '--yes'])).code).toBe(5)
    // Brought back by hand: where it were not, the look at the end would say so.
    await toy.write('db', 'v1\n')
    expect((await toy.backout(['resolve', 'db/apply', '--done', '--reason', 'looked'])).code).toBe(0)
    expect((await toy.backout(['resume'])).code).toBe(5)
    expect((await toy.backout(['skip', 'app/apply', '--reason', 'later'])).code).toBe(0)
    const { code, stdout } = await toy.backout(['resume'])
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /toy is back on v1, but not all of it: app\/apply; by the word of \S+ alone, not verified: db\/apply\. /,
    )
    expect((await toy.backout(['status'])).stdout).toMatch(/by the word of \S+ alone, not verified: db\/apply/)
    expect(await toy.json(['status'])).toMatchObject({ byWord: ['db/apply'], uncaptured: [] })
    const { stdout: report } = await toy.backout(['report'])
    expect(report).toContain('Not as planned: db/apply not verified, app/apply skipped.')
    expect(await toy.versions()).toEqual(['v1', 'v2'])
  })

  it('waits for a word on each of two steps that ask side by side, and takes them in any order', async () => {
    await onV2('')
    const yaml = await toy.read('backout.yaml')
    const apart = yaml.replaceAll(/^ {6}verify: .*\n/gm, '').replace('    dependsOn: [db]\n', '')
    await toy.write('backout.yaml', apart.replaceAll(/^ {6}apply: .*$/gm, "      apply: 'exit 3'"))
    const run = await toy.backout(['run', '--yes'])
    expect(run.code).toBe(5)
    const { questions } = await toy.json<{ questions: { step: string }[] }>(['status'])
    expect(questions.map(q => q.step).sort()).toEqual(['app/apply', 'db/apply'])
    for (const { stdout } of [run, await toy.backout(['status']), await toy.backout(['resume'])])
      for (const step of ['app', 'db']) expect(stdout).toContain(`backout resolve ${step}/apply --done`)

    await toy.release('v1')
    // The older first: it is the one that was refused.
    const [older = '', newer = ''] = questions.map(q => q.step)
    expect((await toy.backout(['resolve', older, '--done'])).stdout).toContain(`waits for your word on ${newer} too`)
    expect((await toy.backout(['resolve', older, '--done'])).stderr).toContain(`it waits for a word on ${newer}: done`)
    expect((await toy.backout(['resolve', newer, '--done'])).stdout).toContain('Go on with: backout resume')
    const again = await toy.backout(['resolve', newer, '--done'])
    expect(again).toMatchObject({ code: 2, stderr: expect.stringMatching(/answered already\nnext: +backout resume/) })
    expect((await toy.backout(['status'])).stdout).toContain('was answered already; go on with: backout resume')
    expect((await toy.backout(['resume'])).code).toBe(0)
  })

  it('is said, and is its exit code, where its report cannot be written', async () => {
    await onV2()
    await toy.write('.backout/reports', 'in the way')
    const { code, stdout, stderr } = await toy.backout(['run', '--yes'])
    expect({ code, versions: await toy.versions() }).toEqual({ code: 0, versions: ['v1', 'v1'] })
    expect(stdout).toContain('toy is back on v1, verified.')
    expect(stderr).toMatch(/its report could not be written: .*reports.* Once that is mended: backout resume r\S+\n$/)
    expect(await toy.json(['resume'])).toMatchObject({ type: 'result', state: 'succeeded', report: null })
    await rm(join(toy.folder, '.backout/reports'))
    expect((await toy.backout(['resume'])).stdout).toContain('Report: ')
    expect((await toy.backout(['resume'])).stderr).toContain('run_ended')
  })

  it('is not cut short by a run that does not begin', async () => {
    await onV2('policy: { watch: { gates: [well], for: 5m } }')
    const kept = await toy.backout(['plan', '--to', 'v1', '--out', 'the plan.json'])
    expect(kept.stdout).toContain("To go back by it:\n  backout run 'the plan.json'")
    const watching = toy.backout(['run', '--yes'])
    const phase = async () => (await toy.json<{ phase?: string }>(['status'])).phase
    await expect.poll(phase, { timeout: 60_000, interval: 200 }).toBe('watch')
    const second = await toy.backout(['run', 'the plan.json', '--yes'])
    expect(second).toMatchObject({ code: 4, stderr: expect.stringContaining('plan_moved') })
    expect(await toy.json(['status'])).toMatchObject({ phase: 'watch', state: 'running' })
    expect((await toy.backout(['abort'])).code).toBe(7)
    expect((await watching).stdout).not.toContain('a new run took over')
  })
})
