import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

/** Both components take themselves down before they come up on the release, side by side, and this process dies in between. */
async function killedInBoth(before: (pid: number) => Promise<void> = async () => {}): Promise<void> {
  toy = await makeToy('')
  const yaml = (await toy.read('backout.yaml')).replace('    dependsOn: [db]\n', '')
  await toy.write('backout.yaml', yaml)
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
  const slow = (file: string) => `      apply: 'echo down > ${file}; touch ${file}.down; exec sleep 60'`
  const files = ['db', 'app']
  await toy.write(
    'backout.yaml',
    yaml.replaceAll(/^ {6}apply: .*$/gm, () => slow(files.shift() ?? '')),
  )
  const run = toy.backout(['run', '--yes'])
  const both = () => ['db.down', 'app.down'].every(file => existsSync(join(toy.folder, file)))
  await expect.poll(both, { timeout: 60_000, interval: 100 }).toBe(true)
  const { owner } = await toy.json<{ owner: { pid: number } }>(['status'])
  await before(owner.pid)
  process.kill(owner.pid, 'SIGKILL')
  await run
}

it('an abort in the middle of steps names them, and does not claim that users are served there', async () => {
  await killedInBoth()
  const { code, stdout } = await toy.backout(['abort'])
  expect(code).toBe(7)
  expect(stdout).not.toContain('Users are served')
  expect(stdout).toMatch(
    /Aborted in the middle of: [^.]*\bdb\b[^.]*; [^.]*\bapp\b[^.]*\. Whether users are served there/,
  )
  expect(stdout).toContain('To go on to v1: backout run --to v1')
  const status = (await toy.backout(['status'])).stdout.replaceAll(/\s+/g, ' ')
  expect(status).toMatch(/in the middle of: [^(]*\bdb\b.*in the middle of: [^(]*\bapp\b/)
  expect(await toy.json(['status'])).toMatchObject({ middle: ['db/apply', 'app/apply'] })
  const { stdout: report } = await toy.backout(['report'])
  expect(report).toMatch(/was aborted.* Not as planned: db.apply failed, app.apply failed/)
  for (const id of ['db/apply', 'app/apply'])
    expect(report).toMatch(
      new RegExp(`${id} .*left as it is, for the run was aborted: the verify command ended with exit 1`),
    )
  expect(await toy.versions()).toEqual(['down', 'down'])
})

it('an abort that the run has not come to is told by status, before a resume ends the run by it', async () => {
  await killedInBoth(async pid => {
    process.kill(pid, 'SIGSTOP')
    expect((await toy.backout(['abort', '--reason', 'the wrong release'])).code).toBe(8)
    expect((await toy.backout(['status'])).stdout).toMatch(/told to abort at \S+ by \S+ \(the wrong release\)/)
  })
  const status = (await toy.backout(['status'])).stdout.replaceAll(/\s+/g, ' ')
  expect(status).toMatch(
    /its process is gone; it was told to abort at \S+ by \S+ \(the wrong release\), and backout resume ends it/,
  )
  expect(status).not.toContain('nothing is lost')
  const abort = { by: expect.any(String), at: expect.any(String), reason: 'the wrong release' }
  expect(await toy.json(['status'])).toMatchObject({ state: 'interrupted', abort })
  const doctor = (await toy.backout(['doctor'])).stdout.replaceAll(/\s+/g, ' ')
  expect(doctor).toMatch(/Run \S+ .*told to abort/i)
  const { code, stdout } = await toy.backout(['resume'])
  expect({ code, stdout }).toMatchObject({ code: 7, stdout: expect.stringMatching(/was told to abort at \S+ by/) })
  expect(await toy.json(['status'])).not.toHaveProperty('abort')
})

it('an abort says what was gone on without: a step that failed and was skipped is in the middle of nothing', async () => {
  toy = await makeToy()
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
  const yaml = await toy.read('backout.yaml')
  await toy.write(
    'backout.yaml',
    yaml.replace(`apply: 'printf "%s\\n" "$BACKOUT_PIN" | tr -d \\" > app'`, `apply: 'exit 3'`),
  )
  expect(await toy.read('backout.yaml')).toContain('exit 3')
  expect((await toy.backout(['run', '--yes'])).code).toBe(5)
  expect((await toy.backout(['skip', 'app/apply', '--reason', 'by hand'])).code).toBe(0)
  expect((await toy.backout(['resume'])).code).toBe(5)
  const { code, stdout } = await toy.backout(['abort'])
  expect(code).toBe(7)
  expect(stdout).toMatch(
    /^Aborted\. Gone on without: app\/apply \(skipped\)\. Whether users are served there is for you/m,
  )
  expect(await toy.json(['status'])).toMatchObject({ middle: [], output: { skipped: ['app/apply'] } })
})

it('an abort that leaves what serves users stopped says that nobody is told, where there is no maintenance page', async () => {
  toy = await makeToy('', '      needs: [{ of: web, what: stopped }]\n')
  const web = `components:
  web: { adapter: command, settings: { identity: web, serves: { stopped: { apply: 'touch off', undo: { apply: 'rm off', phase: return } } } } }
`
  const yaml = (await toy.read('backout.yaml')).replace('components:\n', web)
  await toy.write('backout.yaml', yaml)
  expect(await toy.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0, stderr: '' })
  await toy.release('v2')
  await toy.write(
    'backout.yaml',
    yaml.replaceAll(/^ {6}apply: .*$/gm, () => "      apply: 'exit 3'"),
  )
  expect((await toy.backout(['run', '--yes'])).code).toBe(5)
  const { code, stdout } = await toy.backout(['abort'])
  expect({ code, off: existsSync(join(toy.folder, 'off')) }).toEqual({ code: 7, off: true })
  expect(stdout).not.toContain('Users are')
  expect(stdout).toMatch(/Nobody is told of what is stopped, for no step of the plan puts a maintenance page up: .*web/)
})
