import { describe, expect, it } from 'vitest'
import { besideEachOther } from './pins.ts'

describe('A3: pins beside each other', () => {
  const earlier = { level: { tool: 'knex', applied: ['a'] }, schema: { tables: {} } }
  const now = { level: { tool: 'knex', table: 'knex_migrations', applied: ['a'] }, schema: { tables: {} } }

  it('are the same where an earlier version said the same in its words', () => {
    expect(besideEachOther(earlier, now)).toEqual([earlier, earlier])
    expect(besideEachOther(now, earlier)).toEqual([now, now])
  })

  it('are what they are where they say something else, or are no pins of databases', () => {
    const later = { ...now, level: { ...now.level, applied: ['a', 'b'] } }
    for (const other of [later, { level: 3 }, null, 'x', { digest: 'y' }]) {
      expect(besideEachOther(earlier, other)).toEqual([earlier, other])
    }
  })
})
