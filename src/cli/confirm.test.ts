import { describe, expect, it } from 'vitest'
import type { Plan } from '../core/plan.ts'
import { confirm } from './confirm.ts'
import type { Session } from './session.ts'

const now = Date.parse('2026-01-01T08:00:00Z')
const session = {
  out: { asks: false, line: () => {} },
  environment: { clock: { now: () => now } },
} as unknown as Session
const restore = (since: string) =>
  ({
    environment: 'toy',
    steps: { s: { id: 'db/restore', component: 'db', rewinds: { what: 'shop', since } } },
  }) as unknown as Plan
const within = (since: string, lossWindow: string) =>
  confirm(session, restore(since), { yes: true, emergency: false, lossWindow })

describe('C13: the data-loss window that is allowed on the command line', () => {
  it('confirms a restore that lies within it, and no other', async () => {
    expect(await within('2026-01-01T07:59:30Z', '1m')).toBe('--yes; --loss-window 1m')
    await expect(within('2026-01-01T07:00:00Z', '1m')).rejects.toMatchObject({ code: 'loss_window_exceeded' })
  })

  it.each(['2026-01-01T16:00:00Z', 'unknown'])('confirms nothing where it began at %s', async since => {
    const refused = { code: 'loss_window_unknown', exit: 'blocked', why: expect.stringContaining('nobody can tell') }
    await expect(within(since, '1m')).rejects.toMatchObject(refused)
    await expect(within(since, '3650d')).rejects.toMatchObject(refused)
  })

  it.each(['2026-01-01T16:00:00Z', 'unknown'])(
    'confirms a restore since %s, of a length that nobody can tell, by the word that says so',
    async since => {
      const asked = confirm(session, restore(since), { yes: true, emergency: false })
      await expect(asked).rejects.toMatchObject({ next: expect.stringMatching(/--loss-window unknown$/) })
      const said = await within(since, 'unknown')
      expect(said).toContain('--yes; --loss-window unknown; Restoring shop takes with it')
      expect(said).toContain('nobody can tell')
    },
  )
})
