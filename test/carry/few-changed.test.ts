import { describe, expect, it } from 'vitest'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { played } from '../rungs/world.ts'
import { carrySystems } from '../support/carry-systems.ts'

const { systems } = carrySystems()

const SERIES = 'WITH RECURSIVE s AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM s WHERE i < 900) SELECT i, i FROM s'
const BASE = ['CREATE TABLE users (id int NOT NULL PRIMARY KEY, n int)', `INSERT INTO users ${SERIES}`]
const NEW = 'INSERT INTO users (id, n) VALUES (1001, 7)'

describe.for(systems)('$name: new rows beside many old ones of which few are others', ({ why, make }) => {
  it.skipIf(why !== null).for([
    [
      'where nobody told when the migration had ended, and users changed some',
      {
        told: false,
        up: 'ALTER TABLE users ADD COLUMN state varchar(20)',
        writes: ['UPDATE users SET n = n + 1000 WHERE id <= 5', NEW],
      },
    ],
    [
      'where nobody told when the migration had ended, or can tell what it wrote',
      { told: false, up: 'SELECT 1', writes: ['UPDATE users SET n = n + 1000 WHERE id <= 5', NEW] },
    ],
    [
      'where a statement of the migration met no row',
      { told: true, up: 'UPDATE users SET n = 0 WHERE n < 0', writes: [NEW] },
    ],
    [
      'where a statement of the migration met no row, and nobody told when it had ended',
      { told: false, up: 'UPDATE users SET n = 0 WHERE n < 0', writes: [NEW] },
    ],
  ] as const)('come, %s', async ([, { told, up, writes }]) => {
    const release = [{ name: '002_x', up, down: null }]
    await using world = await played(await make(), {
      base: BASE,
      release,
      early: [],
      meanwhile: [],
      told,
      writes: [...writes],
    })
    await restored(world)
    await using source = await sourceOf(world)
    const { left, proof } = await carryForward(source, NOTHING_SAID, job)
    expect([proof.problems, left.map(t => t.conflicts.rewritten ?? 0)]).toEqual([[], [0]])
    expect(JSON.stringify(await world.dump())).toContain('1001')
  })
})
