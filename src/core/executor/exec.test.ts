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
