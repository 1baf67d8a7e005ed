import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { planCarry } from '../../src/data/carry/index.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import { stepAct } from '../conformance/walk.ts'
import { job, sourceOf } from '../rungs/restored.ts'
import { carriedOut, played, proposed, type World } from '../rungs/world.ts'
import { carrySystems, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems } = carrySystems()

async function damage(world: World): Promise<void> {
  const { backups } = stepAct()
  const { component } = await backups.get(world.pin.backup ?? '')
  const told = (await backups.list(component)).find(b => b.reason === 'migrated')
  await appendFile(join(told?.dir ?? '', told?.files[0]?.path ?? ''), 'x')
}

describe.for(systems)('a backup of right after migrating that was altered, on $name', ({ why, make }) => {
  const base = [
    'CREATE TABLE orders (id int PRIMARY KEY, total int, note varchar(20))',
    `INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')`,
  ]
  const writes = [`UPDATE orders SET note = 'mine', total = 7 WHERE id = 1`, 'DELETE FROM orders WHERE id = 2']

  it.skipIf(why !== null)(
    'is said ahead, and leaves open only what the migrations are known to have written',
    { timeout: LIMIT },
    async () => {
      await using world = await played(await make(), story('UPDATE orders SET total = total * 100', base, writes))
      await damage(world)
      const proposal = await proposed(world, 'restore')
      const { level, what } = proposal.findings.find(f => f.code === 'migrated_altered') ?? {}
      expect([level, what]).toEqual(['warning', expect.stringContaining('is not as it was made')])
      await carriedOut(world, proposal, 'back')
      const rows = (await world.dump())['orders']?.map(row => Object.values(row).join(' ').replaceAll("'", ''))
      expect(rows).toEqual(['1 10 mine', '3 30 c'])
      await using source = await sourceOf(world)
      const plan = await planCarry(source, NOTHING_SAID, job)
      expect(plan.tables[0]?.conflicts).toEqual({ ambiguous: 2 })
      expect(plan.notes[0]).toContain('of right after migrating is not as it was made')
    },
  )
})
