import { expect, it } from 'vitest'
import { rollback } from '../../../test/support/rollback.ts'
import { scripted } from '../../../test/support/scripted.ts'
import type { Target } from '../contract.ts'
import { messageOf } from '../errors.ts'

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

it('a step asks what it began in another component after its process died; where nobody can tell, it is not nothing', async () => {
  const asked: unknown[] = []
  const app = scripted('app', {
    steps: { go: {} },
    phases: { code: { step: 'app/go' } },
    apply: async (_, act) => {
      asked.push(await act.execLeft('app'), await act.execLeft('other'))
      asked.push(await act.execLeft('mute').catch(messageOf))
    },
  })
  const other = scripted('other', { steps: {}, phases: {} })
  const execLeft: Target['execLeft'] = async idem => ({ what: idem, alive: true, code: null })
  const exec: Target['exec'] = async () => ({ code: 0, stdout: '', stderr: '' })
  const mute = { ...other.target, exec }
  const run = await rollback({ systems: {}, targets: { app: { ...app.target, execLeft }, other: other.target, mute } })
  await run.begin()
  await run.settled()
  const untold = expect.stringContaining('mute does not tell what became of a command that app/go began there')
  expect(asked).toEqual([{ what: 'r1.app.go', alive: true, code: null }, null, untold])
})
