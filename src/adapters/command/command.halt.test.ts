import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import { config } from './config.ts'
import { command } from './index.ts'

const signal = new AbortController().signal

function open(dir: string, settings: object) {
  const stores = { backups: memoryBackups(), vault: memoryVault() }
  const ctx = { environment: 'test', component: 'app', baseDir: dir, stateDir: dir, ...stores }
  return command.open(config.parse({ identity: 'app', ...settings }), ctx)
}

describe('C2: what is under way, told by commands', () => {
  it('is ended by the command for it, as the first step, also where nothing else changes', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'backout-halt-'))
    const job = spawn('sleep', ['600'], { stdio: 'ignore' })
    const over = once(job, 'exit')
    try {
      await writeFile(join(dir, 'pid'), String(job.pid))
      await writeFile(join(dir, 'version'), 'v1')
      const observe = `kill -0 $(cat pid) 2>/dev/null && f='"deploy by ci"'; printf '{"state":"%s","inFlight":[%s]}' "$(cat version)" "$f"`
      const settings = { observe, apply: 'echo v1 >version', halt: 'kill $(cat pid)' }
      const target = await open(dir, settings)
      const from = await target.observe(signal)
      const pin = await target.capture(from, { ...stepAct(), purpose: 'departure', release: 'v1' })
      const rest = { rung: 'command', upgradedAt: null, needs: [], dependents: [], dependencies: [] }
      const question = { ...rest, mode: 'full' as const, signal, from, to: pin, release: 'v1' }
      const { steps, phases, settles } = await target.propose(question)
      expect([steps.map(s => s.title), phases, settles]).toEqual([
        ['stop what is under way: deploy by ci'],
        { preflight: { seq: [{ step: 'app/halt' }] } },
        ['deploy by ci'],
      ])
      const [step] = steps
      if (step === undefined) throw new Error('no step')
      expect((await target.verify(step, stepAct(step))).is).toBe('not-done')
      const idle = await open(dir, { ...settings, halt: 'true', readLimit: '1s' })
      await expect(idle.apply(step, stepAct(step))).rejects.toMatchObject({
        code: 'still_in_flight',
        why: 'under way: deploy by ci',
      })
      await target.apply(step, stepAct(step))
      expect((await target.verify(step, stepAct(step))).is).toBe('done')
      await over
      const after = { ...question, from: await target.observe(signal) }
      expect((await target.propose(after)).steps).toEqual([])
    } finally {
      job.kill('SIGKILL')
      await rm(dir, { recursive: true, force: true })
    }
  })
})
