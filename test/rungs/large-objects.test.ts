import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Loss } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { onPostgres } from './systems.ts'
import { played, proposed } from './world.ts'

const none = noPostgres()
const counted = (loss: readonly Loss[]) => Object.fromEntries(loss.map(l => [l.what, l.count]))

describe.skipIf(none !== null)(
  `B4 C14: large objects and a restore on PostgreSQL${none === null ? '' : ` (${none})`}`,
  () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await postgresServer()
    })
    afterAll(() => server?.dispose())

    it('counts them before it restores, and brings back what users wrote', async () => {
      const system = await onPostgres(server)
      await using world = await played(system, {
        base: [
          'CREATE TABLE doc (id int PRIMARY KEY, body oid)',
          `INSERT INTO doc VALUES (1, lo_from_bytea(50001, 'old'))`,
        ],
        release: [{ name: '002_x', up: 'ALTER TABLE doc ADD x int', down: null }],
        early: [],
        meanwhile: [],
        told: true,
        writes: [`INSERT INTO doc VALUES (2, lo_from_bytea(50002, 'written since'))`, `SELECT lo_put(50001, 0, 'NEW')`],
      })
      const restore = await proposed(world, 'restore')
      expect(counted(restore.impact.loss)).toMatchObject({
        '(large objects) (added)': 2,
        '(large objects) (changed)': 1,
      })
      const handles = new Map<string, Json>()
      let asked = {}
      const accepts = (loss: readonly Loss[]) => {
        asked = counted(loss)
        return true
      }
      for (const step of ordered(restore)) {
        await using target = await world.open()
        const act = () => ({ ...stepAct(step, 'back', handles), accepts })
        await target.apply(step, act())
        expect(await target.verify(step, act())).toMatchObject({ is: 'done' })
      }
      expect(asked).toMatchObject({ '(large objects) (added)': 1, '(large objects) (changed)': 1 })
      const [after] = await system.run([
        `DO $$ BEGIN ASSERT (SELECT string_agg(convert_from(lo_get(body), 'UTF8'), ',' ORDER BY id) FROM doc) = 'NEW,written since'; END $$`,
      ])
      expect(after).toBe(true)
    })

    it('counts the first ones that were written', async () => {
      await using world = await played(await onPostgres(server), {
        base: ['CREATE TABLE doc (id int PRIMARY KEY, body oid)'],
        release: [{ name: '002_x', up: 'ALTER TABLE doc ADD x int', down: null }],
        early: [],
        meanwhile: [],
        told: false,
        writes: [`SELECT lo_from_bytea(50002, 'written since')`],
      })
      expect(counted((await proposed(world, 'restore')).impact.loss)).toMatchObject({ '(large objects) (added)': 1 })
    })
  },
)
