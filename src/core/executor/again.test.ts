import { expect, it } from 'vitest'
import { latch, rollback, until, untilStopped } from '../../../test/support/rollback.ts'
import { type Script, scripted } from '../../../test/support/scripted.ts'

async function alone(script: Script) {
  const app = scripted('app', script)
  const run = await rollback({ systems: {}, targets: { app: app.target } })
  await run.begin()
  return { ...run, app }
}

it('tells what it noted in this pass from what it noted before it was undone', async () => {
  const seen: unknown[] = []
  let held = latch()
  let broken = true
  const run = await alone({
    steps: { go: {}, then: {} },
    phases: { code: { seq: [{ step: 'app/go' }, { step: 'app/then' }] } },
    apply: async (step, act) => {
      if (step.id === 'app/then') {
        if (broken) throw new Error('not yet')
        return
      }
      seen.push(act.handle, act.earlier)
      await act.note({ job: seen.length })
      seen.push(act.earlier)
      if (!broken) await Promise.race([held.opened, untilStopped(act.signal)])
    },
    verify: ({ id }, act) => {
      if (id === 'app/go') seen.push(`asked: ${act.earlier}`)
      return undefined
    },
  })
  expect((await run.settled()).state).toBe('waiting')
  expect(seen.splice(0)).toEqual([null, false, false, 'asked: false'])
  broken = false
  run.app.there.delete('app/go')
  held = latch()
  await run.answer('retry')
  await until(() => seen.length === 4)
  expect(seen.splice(0)).toEqual(['asked: true', { job: 2 }, true, false])
  await run.die()
  await until(() => seen.length === 4)
  expect(seen.splice(0)).toEqual(['asked: false', { job: 3 }, false, false])
  held.open()
  expect((await run.settled()).state).toBe('succeeded')
})
