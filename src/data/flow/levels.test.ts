import { describe, expect, it } from 'vitest'
import { gapsBetween, holdsLevel, moved, saidMoved, sameLevel, shownLevel } from './levels.ts'
import type { Level } from './settings.ts'

const flyway = (table: string, ...applied: string[]) => ({ tool: 'flyway', table, applied })
const [HOME, BILLING] = ['flyway_schema_history', 'billing.flyway_schema_history']
const both = (home: string[], billing: string[]): Level => ({
  ...flyway(HOME, ...home),
  more: [flyway(BILLING, ...billing)],
})
/** As an earlier version told it. */
const earlier = (tool: string, applied: string[], others?: Record<string, string[]>): Level => ({
  tool,
  applied,
  ...(others === undefined ? {} : { others }),
})
const between = (then: Level, now: Level) =>
  moved(gapsBetween(then, now).gaps).map(g => [g.table, g.extra.join(), g.missing.join()])

describe('C11: the level of a database is that of all its bookkeepings', () => {
  it('says what lies between in each, whichever comes first', () => {
    const then = both(['1'], ['1'])
    const swapped: Level = { ...flyway(BILLING, '1', '2'), more: [flyway(HOME, '1')] }
    expect(between(then, swapped)).toEqual([[BILLING, '2', '']])
    expect(sameLevel(then, { ...flyway(BILLING, '1'), more: [flyway(HOME, '1')] })).toBe(true)
    expect(sameLevel(then, swapped)).toBe(false)
    expect(saidMoved(then, swapped)).toEqual([`flyway (${BILLING}) applied 2 since`])
    expect(shownLevel(swapped)).toBe(`flyway (${BILLING}): migration 2, flyway (${HOME}): migration 1`)
  })

  it('knows a bookkeeping that came since, and one that is gone', () => {
    expect(between(flyway(HOME, '1'), both(['1'], ['1', '2']))).toEqual([[BILLING, '2,1', '']])
    expect(between(both(['1'], ['1', '2']), flyway(HOME, '1'))).toEqual([[BILLING, '', '1,2']])
    expect(sameLevel(flyway(HOME, '1'), both(['1'], []))).toBe(false)
    expect(between({ tool: null, applied: [] }, flyway(HOME, '1'))).toEqual([[HOME, '1', '']])
  })

  it('compares with what an earlier version told, of one table of each tool', () => {
    expect(sameLevel(flyway(HOME, '1'), earlier('flyway', ['1']))).toBe(true)
    expect(sameLevel(earlier('flyway', ['1']), flyway(HOME, '1', '2'))).toBe(false)
    const knex = { tool: 'knex', table: 'knex_migrations', applied: ['a'] }
    expect(sameLevel({ ...knex, more: [flyway(HOME, '1')] }, earlier('knex', ['a'], { flyway: ['1'] }))).toBe(true)
    expect(between(earlier('knex', ['a']), { ...knex, more: [flyway(HOME, '1')] })).toEqual([[HOME, '1', '']])
    // Another tool that keeps its books under the same name: rails was told, and dbmate is read.
    const now = { tool: 'dbmate', table: 'schema_migrations', applied: ['1', '2'] }
    expect(between(earlier('rails', ['1']), now)).toEqual([['schema_migrations', '2', '']])
  })

  it('says of further tables of that tool that nobody can tell', () => {
    const now = both(['1'], ['7'])
    // The first one by its name was read.
    expect(gapsBetween(earlier('flyway', ['7']), now).untold).toEqual([flyway(HOME, '1')])
    expect([sameLevel(now, earlier('flyway', ['7'])), holdsLevel(now, earlier('flyway', ['7']))]).toEqual([false, true])
    expect(holdsLevel(now, flyway(HOME, '1'))).toBe(false)
    expect(saidMoved(earlier('flyway', ['7']), now).join()).toContain(`flyway (${HOME})`)
  })

  it('compares names where a query took the place of a tool', () => {
    const custom: Level = { tool: 'custom', table: null, applied: ['1', '2'] }
    expect(between(flyway(HOME, '1'), custom)).toEqual([[null, '2', '']])
    expect(between(earlier('custom', ['1']), custom)).toEqual([[null, '2', '']])
    expect(sameLevel(earlier('custom', ['1', '2']), custom)).toBe(true)
  })
})
