import { expect, it } from 'vitest'
import { rollback } from '../../../test/support/rollback.ts'
import { scripted } from '../../../test/support/scripted.ts'
import type { Target } from '../contract.ts'

it('C5: a command is told which release is gone back to: what was left on the way to another one is not what is left', async () => {
  const told: (string | undefined)[] = []
  const app = scripted('app', {
    steps: { go: {} },
    phases: { code: { step: 'app/go' } },
    apply: async (_, act) => void (await act.exec('app', 'from', ['down'])),
  })
  const exec: Target['exec'] = async (_, __, act) => {
    told.push(act.release)
    return { code: 0, stdout: '', stderr: '' }
  }
  const run = await rollback({ systems: {}, targets: { app: { ...app.target, exec } } })
  await run.begin()
  await run.settled()
  expect(told).toEqual([run.plan.to.release])
})

it('a step asks what it began in another component after its process died; where nobody can find it, that is nothing', async () => {
  const asked: unknown[] = []
  const app = scripted('app', {
    steps: { go: {} },
    phases: { code: { step: 'app/go' } },
    apply: async (_, act) => void asked.push(await act.execLeft('app'), await act.execLeft('other')),
  })
  const other = scripted('other', { steps: {}, phases: {} })
  const execLeft: Target['execLeft'] = async idem => ({ what: idem, alive: true, code: null })
  const run = await rollback({ systems: {}, targets: { app: { ...app.target, execLeft }, other: other.target } })
  await run.begin()
  await run.settled()
  expect(asked).toEqual([{ what: 'r1.app.go', alive: true, code: null }, null])
})
