import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { commandLine } from '../support/command-line.ts'

vi.setConfig({ testTimeout: 60_000 })

let dir: string
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'backout-names-'))))
afterEach(() => rm(dir, { recursive: true, force: true }))

const CONFIG = `environment: toy
components:
  orders:
    adapter: command
    settings:
      identity: one
      env: { DB_NAME: '\${env:DB_NAME}' }
      observe: 'printf "{\\"state\\":\\"%s\\"}" "$(cat app)"'
      apply: 'printf "%s\\n" "$BACKOUT_PIN" | tr -d \\" > app; echo "$DB_NAME" >&2; test -e ok'
      verify: 'test -e odd && { echo "of $DB_NAME"; exit 3; }; test "$(cat app)" = "$(printf "%s" "$BACKOUT_PIN" | tr -d \\")"'
`

it('F: a run whose component is called as a secret is can be answered, and the secret stays hidden elsewhere', async () => {
  const line = commandLine(dir)
  const backout = (...argv: string[]) => line.backout(argv, { DB_NAME: 'orders' })
  await writeFile(join(dir, 'backout.yaml'), CONFIG)
  await writeFile(join(dir, 'app'), 'v1\n')
  expect(await backout('capture', 'v1', '--known-good')).toMatchObject({ code: 0 })
  await writeFile(join(dir, 'app'), 'v2\n')
  await writeFile(join(dir, 'odd'), '')
  const run = await backout('run', '--yes')
  expect(run.code).toBe(5)
  expect(run.stdout).toContain('backout resolve orders/apply --done')
  expect(run.stdout).toContain('of [secret]')
  expect(run.stdout).not.toContain('of orders')
  await rm(join(dir, 'odd'))
  expect(await backout('resolve', 'orders/apply', '--done')).toMatchObject({ code: 0 })
  expect(await backout('resume')).toMatchObject({ code: 0 })
  const doctor = await backout('doctor')
  expect(doctor.stdout.replaceAll(/\s+/g, ' ')).toMatch(/The value of .*\$\{env:DB_NAME\}\) is also part of a name/)
})

/** The files below a folder that hold a text, in whatever way they are written. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(e => e.isFile()).map(e => join(e.parentPath, e.name))
  const held = await Promise.all(files.map(async file => (await readFile(file)).includes(text)))
  return files.filter((_, i) => held[i])
}

const TELLS = `environment: toy
components:
  app:
    adapter: command
    settings:
      identity: one
      env: { PW: '\${env:PW}' }
      observe: 'printf "{\\"state\\":\\"%s\\",\\"summary\\":\\"%s\\"}" "$(cat app)" "$(cat app) by $PW"'
      apply: 'printf "%s\\n" "$BACKOUT_PIN" | tr -d \\" > app'
      verify: 'test "$(cat app)" = "$(printf "%s" "$BACKOUT_PIN" | tr -d \\")"'
probes:
  says: { kind: command, run: 'echo "$PW"; exit 1', env: { PW: '\${env:PW}' } }
gates:
  well: { probes: [says] }
`

it('F: a secret in a reason, and in what targets and probes say, stands in no file of the home, plan or report', async () => {
  const line = commandLine(dir)
  const PW = 'hunter2-pass'
  const ok = async (...argv: string[]) => {
    const { code, stdout, stderr } = await line.backout(argv, { PW })
    expect({ argv, code, stderr }).toEqual({ argv, code: 0, stderr: '' })
    expect(stdout).not.toContain(PW)
    return stdout
  }
  await writeFile(join(dir, 'backout.yaml'), TELLS)
  await writeFile(join(dir, 'app'), 'v1\n')
  await ok('capture', 'v1', '--known-good')
  await ok('release', 'mark', 'v1', 'known-good', '--why', `pw ${PW}`)
  await writeFile(join(dir, 'app'), 'v2\n')
  await ok('plan', '--out', 'plan.json')
  await ok('run', 'plan.json', '--yes', '--reason', `pw is ${PW}`)
  await ok('report', '--out', 'report.md')
  await ok('--json', 'report', '--out', 'report.json')
  expect(await ok('report')).toContain('because pw is \\[secret]')
  expect(await readFile(join(dir, 'report.md'), 'utf8')).toContain('v2 by \\[secret]')
  expect(await filesWith(dir, PW)).toEqual([])
})
