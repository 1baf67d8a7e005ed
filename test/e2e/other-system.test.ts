import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { commandLine } from '../support/command-line.ts'

vi.setConfig({ testTimeout: 60_000 })

let dir: string
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'backout-system-'))))
afterEach(() => rm(dir, { recursive: true, force: true }))

/** Lies in the folder that `SITE` names; nobody can say what became of it while `odd` is there. */
const CONFIG = `environment: toy
components:
  app:
    adapter: command
    settings:
      identity: { run: 'echo "$SITE"' }
      observe: 'printf "{\\"state\\":\\"%s\\"}" "$(cat "$SITE/app")"'
      apply: 'printf "%s\\n" "$BACKOUT_PIN" | tr -d \\" > "$SITE/app"'
      verify: 'test -e odd && exit 3; test "$(cat "$SITE/app")" = "$(printf "%s" "$BACKOUT_PIN" | tr -d \\")"'
`

it('G: a run is not gone on with where the environment names another system, unless somebody says that it is the same', async () => {
  const line = commandLine(dir)
  const backout = (argv: string[], env: Record<string, string>) => line.backout(argv, env)
  const [prod, staging] = [{ SITE: 'prod' }, { SITE: 'staging' }]
  const put = (site: string, version: string) => writeFile(join(dir, site, 'app'), `${version}\n`)
  const read = (site: string) => readFile(join(dir, site, 'app'), 'utf8')
  await writeFile(join(dir, 'backout.yaml'), CONFIG)
  for (const site of ['prod', 'staging']) await mkdir(join(dir, site))
  await put('prod', 'v1')
  expect(await backout(['capture', 'v1', '--known-good'], prod)).toMatchObject({ code: 0 })
  await put('prod', 'v2')
  await put('staging', 'v7')
  await writeFile(join(dir, 'odd'), '')
  expect((await backout(['run', '--yes'], prod)).code).toBe(5)
  await rm(join(dir, 'odd'))
  await put('prod', 'v2')
  expect((await backout(['resolve', 'app/apply', '--not-done'], prod)).code).toBe(0)

  for (const verb of ['resume', 'abort']) {
    const refused = await backout([verb], staging)
    expect(refused).toMatchObject({ code: 4, stderr: expect.stringContaining('system_changed') })
    expect(refused.stderr).toContain('app is command:staging')
  }
  expect(await read('staging')).toBe('v7\n')
  const resumed = await backout(['resume', '--replaced'], staging)
  expect(resumed).toMatchObject({ code: 0 })
  expect([await read('prod'), await read('staging')]).toEqual(['v2\n', 'v1\n'])
})
