import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Loss, Proposal, StepAct } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { onPostgres } from './systems.ts'
import { played, proposed, type System, type World } from './world.ts'

interface Case {
  readonly base: readonly string[]
  readonly up: string
  readonly writes: readonly string[]
}

const between = (system: System, { base, up, writes }: Case) =>
  played(system, {
    base,
    release: [{ name: '002_x', up, down: 'SELECT 1' }],
    early: [],
    meanwhile: [],
    told: false,
    writes,
  })

const counted = (loss: readonly Loss[]) => Object.fromEntries(loss.map(l => [l.what, l.count]))

/** What a restore asks for right before it swaps; carrying forward is left out. */
async function askedFor({ open }: World, proposal: Proposal): Promise<Record<string, number>> {
  const handles = new Map<string, Json>()
  const asked: Loss[] = []
  const accepts: StepAct['accepts'] = loss => asked.push(...loss) >= 0
  for (const step of ordered(proposal).filter(s => !s.id.includes('carry'))) {
    await using target = await open()
    await target.apply(step, { ...stepAct(step, 'lost', handles), accepts })
  }
  return counted(asked)
}

const noPg = noPostgres()
describe.skipIf(noPg !== null)(`B4: what going back loses on PostgreSQL${noPg === null ? '' : ` (${noPg})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  it('counts what was written into a column that was renamed, or is computed no more, before a restore', async () => {
    await using world = await between(await onPostgres(server), {
      base: [
        'CREATE TABLE o (id int PRIMARY KEY, note text)',
        `INSERT INTO o SELECT i, 'n' || i FROM generate_series(1, 4) AS i`,
        'CREATE TABLE k (id int PRIMARY KEY, v int)',
        'INSERT INTO k VALUES (1, 1), (2, 2)',
        'CREATE TABLE g (id int PRIMARY KEY, q int, total int GENERATED ALWAYS AS (q * 2) STORED)',
        'INSERT INTO g VALUES (1, 1), (2, 2), (3, 3)',
      ],
      up: `ALTER TABLE o RENAME note TO remark; ALTER TABLE k RENAME id TO number;
        ALTER TABLE g ALTER total DROP EXPRESSION`,
      writes: [
        `UPDATE o SET remark = 'edited' WHERE id <= 3`,
        'UPDATE k SET v = 9 WHERE number = 2',
        'UPDATE g SET total = 999 WHERE id < 3',
      ],
    })
    const restore = await proposed(world, 'restore')
    expect(counted(restore.impact.loss)).toMatchObject({ 'o (changed)': 4, 'k (changed)': 2, 'g (changed)': 3 })
    expect(await askedFor(world, restore)).toEqual({ 'o (changed)': 3, 'k (changed)': 1, 'g (changed)': 2 })
  })
})
