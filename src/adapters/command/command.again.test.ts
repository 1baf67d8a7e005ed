import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { fail, pass } from '../../../test/support/memory-world.ts'
import { rollback } from '../../../test/support/rollback.ts'
import { scripted } from '../../../test/support/scripted.ts'
import type { Target } from '../../core/contract.ts'
import { config, type Pin } from './config.ts'
import { command } from './index.ts'

let dir: string
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'backout-again-'))))
afterEach(() => rm(dir, { recursive: true, force: true }))

/** A balancer that only commands know, of which nobody can be asked where users are; each command leaves a line. */
async function balancer(away: object, back: object): Promise<Target> {
  const drained = { apply: 'touch away', ...away, undo: { apply: 'rm -f away', ...back, gate: 'ok' } }
  const settings = config.parse({ identity: 'lb', serves: { drained } })
  const stores = { backups: memoryBackups(), vault: memoryVault() }
  const ctx = { environment: 'test', component: 'lb', baseDir: dir, stateDir: dir, ...stores }
  const target = await command.open(settings, ctx)
  const to: Pin = { identity: 'command:lb', summary: '', state: null, data: null }
  const needs = [{ of: 'lb', what: 'drained', by: 'app' }] as const
  return { ...target, propose: question => target.propose({ ...question, to, needs }) } as Target
}

async function run(away: object, back: object, healthy: () => boolean) {
  const app = scripted('app', { steps: { go: {} }, phases: { code: { step: 'app/go' } } })
  const targets = { lb: await balancer(away, back), app: app.target }
  const gates = { ok: () => (healthy() ? pass : fail) }
  const made = await rollback({ systems: {}, targets, gates })
  await made.begin()
  expect((await made.settled()).state).toBe('waiting')
  expect(existsSync(join(dir, 'away'))).toBe(true)
  return made
}

it('lets users back in a second pass, though nobody can be asked and the first pass let them back too', async () => {
  let healthy = false
  const made = await run({}, {}, () => healthy)
  healthy = true
  await made.answer('retry')
  expect((await made.settled()).state).toBe('succeeded')
  expect(existsSync(join(dir, 'away'))).toBe(false)
})

it('sends users away a second time, though nobody can be asked and they were sent away before', async () => {
  const made = await run({}, { verify: 'test ! -e away' }, () => false)
  await rm(join(dir, 'away'))
  await made.answer('retry')
  expect((await made.settled()).state).toBe('waiting')
  expect(existsSync(join(dir, 'away'))).toBe(true)
  await rm(join(dir, 'away'))
  await made.signal('$cancel')
  expect((await made.output()).state).toBe('aborted')
  expect(existsSync(join(dir, 'away'))).toBe(true)
})
