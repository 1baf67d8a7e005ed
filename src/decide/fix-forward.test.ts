import { describe, expect, it } from 'vitest'
import { type FixForwardInput, fixForward, fixForwardLines } from './fix-forward.ts'

const proof = { at: '2026-01-01T00:10:00.000Z', ms: 1, ok: true, differences: [] }
const backup = (id: string, release: string | null, createdAt: string, proven = true) => ({
  id,
  component: 'db',
  release,
  createdAt,
  proof: proven ? proof : null,
})
const input: FixForwardInput = {
  environment: 'production',
  released: { release: 'v1.3.0', commit: 'abc123' },
  left: 'v1.2.9',
  dataImpact: 'major',
  migrationsBetween: 2,
  backups: [
    backup('old-proven', 'v1.2.9', '2026-01-01T00:00:00.000Z'),
    backup('new-unproven', 'v1.2.9', '2026-01-01T01:00:00.000Z', false),
    backup('older', 'v1.2.8', '2026-01-03T00:00:00.000Z'),
    backup('bad-1', 'v1.3.0', '2026-01-02T00:00:00.000Z'),
    backup('bad-2', 'v1.3.0', '2026-01-02T01:00:00.000Z', false),
  ],
  rehearsal: 'staging',
  evidence: [
    { at: '2026-01-02T00:00:00.000Z', what: 'gate pay', ok: false, text: 'fail', by: null },
    { at: '2026-01-02T00:00:00.000Z', what: 'gate home', ok: true, text: 'pass', by: null },
  ],
  gates: ['healthy', 'pay'],
}
const text = (given: Partial<FixForwardInput> = {}) => fixForwardLines(fixForward({ ...input, ...given })).join('\n')
const ids = (given: Partial<FixForwardInput> = {}) => fixForward({ ...input, ...given }).checklist.map(c => c.id)

describe('B6: fixing forward', () => {
  it('starts from what is released, not from the main line', () => {
    expect(fixForward(input).start).toMatchObject({ release: 'v1.3.0', commit: 'abc123' })
    expect(text()).toContain('Branch off commit abc123 (v1.3.0), not off the main line')
  })

  it('says so where the commit is not known', () => {
    expect(text({ released: { release: 'v1.3.0', commit: null } })).toContain('its commit is not known')
  })

  it('works out the repair from the newest of the damage and the newest proven of before', () => {
    expect(fixForward(input).backups).toEqual([
      {
        component: 'db',
        before: { id: 'old-proven', at: '2026-01-01T00:00:00.000Z', proven: true },
        now: { id: 'bad-2', at: '2026-01-02T01:00:00.000Z', proven: false },
      },
    ])
    expect(text()).toContain('db: restore bad-2 (unproven) into staging; compare with old-proven of before')
  })

  it('takes an unproven one of before rather than none, and calls it that', () => {
    const backups = input.backups.filter(b => b.id === 'new-unproven')
    expect(text({ backups })).toContain('compare with new-unproven (unproven) of before')
    expect(ids({ backups })).toContain('backup_now')
  })

  it('asks for a backup where there is none, and never guesses one of before', () => {
    expect(ids({ backups: [] })).toEqual(expect.arrayContaining(['backup_now', 'no_backup']))
    expect(text({ left: null })).toContain('there is no backup of before to compare with')
  })

  it('has all steps in order; those for data and schema only where they are needed', () => {
    const all = ['start_from', 'reproduce', 'backup_now', 'restore_db', 'extent', 'repair', 'repair_backup', 'schema']
    const rest = ['review', 'test', 'capture', 'release', 'measure', 'limit']
    expect(ids({ backups: input.backups.slice(0, 1) })).toEqual([...all, ...rest])
    expect(ids({ dataImpact: 'none', migrationsBetween: 0 })).toEqual(['start_from', 'reproduce', ...rest])
    expect(ids({ dataImpact: 'corruption' })[0]).toBe('stop_damage')
    expect(ids({ migrationsBetween: null })).toContain('schema')
  })

  it('reproduces what was measured as not well', () => {
    expect(text()).toContain('Reproduce it in staging: gate pay (fail)')
    expect(text({ evidence: [] })).toContain('nothing was measured as not well')
    expect(text({ rehearsal: null })).toContain('never in production itself')
    expect(text({ gates: [] })).toContain('none is configured')
  })
})
