import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'

it('asks apt for what a fresh machine does not have', () => {
  const dir = mkdtempSync(join(tmpdir(), 'setup-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const log = join(dir, 'apt.log')
  // A machine without the tools, whose apt-get notes what it is asked for: the real one would change this machine.
  program(dir, 'apt-get', `echo "$*" >>${log}`)
  program(dir, 'sudo', 'shift; exec "$@"')
  const bin = dirname(execFileSync('sh', ['-c', 'command -v env'], { encoding: 'utf8' }))
  for (const name of ['sh', 'env', 'rm', 'chmod', 'true']) symlinkSync(join(bin, name), join(dir, name))
  const setup = join(import.meta.dirname, '../tools/setup.mjs')
  execFileSync(process.execPath, [setup, '--servers'], { env: { PATH: dir }, stdio: 'pipe' })
  const asked = readFileSync(log, 'utf8')
  expect(asked).toMatch(/^-q update$/m)
  expect(asked).toMatch(/^-q install -y --no-install-recommends .*openssh-client.* sqlite3$/m)
})

function program(dir: string, name: string, text: string): void {
  writeFileSync(join(dir, name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(dir, name), 0o755)
}
