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

/** Lets the step of app do this first, once. */
async function onceInApp(what: string): Promise<void> {
  const yaml = await toy.read('backout.yaml')
  const once = `test -e once || { touch once; ${what}; }; `
  const at = yaml.lastIndexOf("apply: '") + "apply: '".length
  await toy.write('backout.yaml', yaml.slice(0, at) + once + yaml.slice(at))
}

/** Kills the process that is at work on the run. */
const KILLED = 'kill -9 $(grep -o "pid.:[0-9]*" .backout/locks/toy.json | cut -d: -f2); sleep 30'

describe('with --json the last line', () => {
  it('is a result, also where no run began', async () => {
    await onV2()
    await toy.release('v1')
    expect(await toy.json(['run', '--yes'])).toEqual({ type: 'result', run: null, state: 'nothing-to-do' })
    const dry = { type: 'result', run: null, state: 'nothing-to-do', dryRun: true }
    expect(await toy.json(['run', '--dry-run'])).toEqual(dry)
    await toy.release('v2')
    await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace('identity: app', 'identity: other'))
    const { code, stdout } = await toy.backout(['run', '--yes', '--json'])
    expect(code).toBe(3)
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      type: 'result',
      run: null,
      state: 'blocked',
      blockers: [{ level: 'blocker', component: 'app' }],
    })
  })

  it('of a run that is followed says how it ended, also where it had ended by then', async () => {
    await onV2('hooks: { code: { before: { run: "exit 1" } } }')
    expect((await toy.backout(['run', '--yes'])).code).toBe(5)
    expect(await toy.json(['resume', '--next-rung'])).toMatchObject({ type: 'result', state: 'waiting', asked: {} })
    expect((await toy.backout(['abort'])).code).toBe(7)
    const { code, stdout } = await toy.backout(['status', '--follow', '--json'])
    const result = JSON.parse(stdout) as { report: string }
    expect({ code, result }).toMatchObject({ code: 7, result: { type: 'result', state: 'aborted' } })
    expect(result.report).toContain(join('.backout', 'reports'))
    expect((await toy.backout(['status', '--follow'])).code).toBe(7)
    expect((await toy.backout(['status'])).code).toBe(0)
  })

  it('is an error where no command was named', async () => {
    toy = await makeToy()
    for (const argv of [['--json'], ['release', '--json']]) {
      const { code, stdout, stderr } = await toy.backout(argv)
      expect(code).toBe(2)
      expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'arguments_invalid' } })
      expect(stderr).toContain('Usage: backout')
    }
  })
})

describe('a run that died in a step', () => {
  it('is not going on, takes no word that it did not ask for, and goes on as it was', async () => {
    await onV2()
    await onceInApp(KILLED)
    expect((await toy.backout(['run', '--yes'])).code).toBeNull()
    const { stdout } = await toy.backout(['status'])
    expect(stdout).toMatch(/was at: [^]*since\s/)
    expect(stdout).not.toContain('going on')
    const refused = await toy.backout(['resume', '--next-rung'])
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('[not_asked]') as string })
    expect((await toy.backout(['resume'])).code).toBe(0)
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('is not begun by a process that has no plan', async () => {
    await onV2()
    expect((await toy.backout(['run', '--yes'])).code).toBe(0)
    const nothing = await toy.backout(['worker', 'r20260101T000000Z-0000'])
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining('[run_unknown]') as string })
    expect((await toy.backout(['status'])).code).toBe(0)
  })
})

it('a run that touched nothing has nothing to take back, and says so', async () => {
  await onV2()
  // Somebody deploys between the look of the plan and that of the run.
  const yaml = await toy.read('backout.yaml')
  await toy.write('backout.yaml', yaml.replace("observe: 'printf", "observe: 'date +%s%N > seen; printf"))
  await toy.write(
    'backout.yaml',
    (await toy.read('backout.yaml')).replace('"$(cat db)" "$(cat db)"', '"$(cat seen)" "x"'),
  )
  expect((await toy.backout(['run', '--yes', '--to', 'v1'])).code).toBe(4)
  const { code, stderr } = await toy.backout(['revert', '--yes'])
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('[nothing_to_revert]') as string })
})

it('names that stand for something else, or that every object has, are no names', async () => {
  await onV2()
  for (const name of ['now', 'departure-r20260101T000000Z-0000'])
    for (const argv of [
      ['capture', name],
      ['upgrade', 'begin', name, '--from', 'v1'],
    ])
      expect(await toy.backout(argv)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('[release_name]') as string,
      })
  for (const name of ['constructor', '__proto__', 'toString']) {
    const gate = await toy.backout(['gates', name])
    expect(gate).toMatchObject({ code: 2, stderr: expect.stringContaining('[gate_unknown]') as string })
    const component = await toy.backout(['db', 'check', name])
    expect(component).toMatchObject({ code: 2, stderr: expect.stringContaining('[component_unknown]') as string })
  }
})

it('no duration is negative where the clock was set back within the run', async () => {
  await onV2()
  await onceInApp('true')
  const shift = `import { existsSync } from 'node:fs'
const real = Date.now
Date.now = () => real() - (existsSync(${JSON.stringify(join(toy.folder, 'once'))}) ? 3_600_000 : 0)
`
  await toy.write('shift.mjs', shift)
  const env = { NODE_OPTIONS: `--import=${join(toy.folder, 'shift.mjs')}` }
  const run = await toy.backout(['run', '--yes'], env)
  expect(run.code).toBe(0)
  expect(run.stdout).toMatch(/toy is back on v1, verified\. \([0-9.]+ m?s\)/)
  // As where the process died before the report was written: another one has only the journal's times.
  await rm(join(toy.folder, '.backout/reports'), { recursive: true })
  expect((await toy.backout(['resume'], env)).stdout).toContain('verified. (the clock was set back meanwhile)')
  const { stdout } = await toy.backout(['report'], env)
  expect(stdout).toContain('took not known, for the clock was set back')
  expect(stdout).not.toMatch(/-\d+(\.\d+)? (ms|s|min|h)\b/)
})
