import { describe, expect, it } from 'vitest'
import { conflictLines } from '../../src/cli/render/data.ts'
import { OPEN } from '../../src/data/carry/archive.ts'
import { applyCarry, planCarry } from '../../src/data/carry/index.ts'
import { type CarryOptions, type Decision, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { eachRow, type ListedRow } from '../../src/data/carry/rows.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import type { Job } from '../../src/data/engine.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { played, type World } from '../rungs/world.ts'
import { carrySystems, said, story } from '../support/carry-systems.ts'

const LIMIT = 120_000
const { systems: SYSTEMS } = carrySystems()

const put = (line: string, times: number) =>
  `INSERT INTO audit VALUES ${Array.from({ length: times }, () => `('${line}', 'ann')`).join(', ')}`
const gone = (line: string) => `DELETE FROM audit WHERE line = '${line}'`

/** 1203 rows come, of three kinds; of `out` two go, and all of `old`. */
const AUDIT = story(
  'CREATE TABLE other (x int)',
  ['CREATE TABLE audit (line varchar(40), who varchar(10))', put('in', 2), put('out', 3), put('old', 4)],
  [put('in', 3), put('new', 1198), put('one', 2), gone('out'), put('out', 1), gone('old')],
)
const THEIRS = { in: 5, new: 1198, one: 2, out: 1 }
const [CAME, WENT] = [1203, 6]

const audit = async (world: World) => {
  const out: Record<string, number> = {}
  for (const row of (await world.dump())['audit'] ?? []) {
    const line = row['line']?.replaceAll("'", '') ?? ''
    out[line] = (out[line] ?? 0) + 1
  }
  return out
}

/** All of `audit` that the plan says. */
const planned = async (world: World, more: Partial<CarryOptions> = {}) => {
  await using source = await sourceOf(world)
  const { tables } = await planCarry(source, { ...NOTHING_SAID, ...more }, job)
  const { inserts, deletes, done, conflicts, settled, held } = tables.find(t => t.table === 'audit') ?? {}
  return { inserts, deletes, done, conflicts, settled, held }
}

const apply = async (world: World, more: Partial<CarryOptions> = {}, how: Job = job) => {
  await using source = await sourceOf(world)
  const { carried, proof, left } = await carryForward(source, { ...NOTHING_SAID, ...more }, how)
  const { conflicts, done } = left.find(t => t.table === 'audit') ?? {}
  return { carried, proven: proof.carried, listed: proof.listed, quarantined: proof.quarantined, conflicts, done }
}

/** As `backout data status` tells of conflicts. */
const shown = async (world: World) => {
  await using source = await sourceOf(world)
  const rows: ListedRow[] = []
  await planCarry(source, NOTHING_SAID, job, async ({ ground, pieces }) => {
    for (const piece of pieces) await eachRow(ground, piece, OPEN, async row => void rows.push(row))
  })
  return conflictLines(rows, false).filter(line => line.startsWith('  audit'))
}

const NOTHING = { inserts: 0, deletes: 0, settled: 0, held: 0, conflicts: {} }
const ALL = { proven: CAME + WENT, listed: 0, quarantined: 0, conflicts: {}, done: CAME + WENT }

describe.for(SYSTEMS)('equal rows of a table without a key on $name', ({ name: on, why, make }) => {
  const test = (name: string, check: (world: World) => Promise<void>, of = AUDIT) =>
    it.skipIf(why !== null)(name, { timeout: LIMIT }, async () => {
      await using world = await played(await make(), of)
      await restored(world)
      await check(world)
    })

  test('are told by their number, not by how many of them differ', async world => {
    expect(await planned(world)).toEqual({ ...NOTHING, inserts: CAME, deletes: WENT, done: 0 })
    expect(await apply(world)).toEqual({ ...ALL, carried: CAME + WENT })
    expect(await audit(world)).toEqual(THEIRS)
    expect(await planned(world)).toEqual({ ...NOTHING, done: CAME + WENT })
    expect(await apply(world)).toEqual({ ...ALL, carried: 0 })
    expect(await audit(world)).toEqual(THEIRS)
  })

  test('come whatever ours has more of them meanwhile, once', async world => {
    await world.run([put('in', 3), put('new', 58), put('else', 1)])
    expect(await planned(world)).toEqual({ ...NOTHING, inserts: CAME, deletes: WENT, done: 0 })
    const now = { ...THEIRS, in: 8, new: 1256, else: 1 }
    expect(await apply(world)).toEqual({ ...ALL, carried: CAME + WENT })
    expect(await audit(world)).toEqual(now)
    await world.run([put('new', 2), put('one', 1)])
    expect(await apply(world)).toEqual({ ...ALL, carried: 0 })
    expect(await audit(world)).toEqual({ ...now, new: 1258, one: 3 })
  })

  test('come after a report, with what customers wrote between', async world => {
    const report = await apply(world, { mode: 'report' })
    expect(report).toMatchObject({ carried: 0, proven: 0, done: 0 })
    await world.run([put('new', 58)])
    expect(await apply(world, { mode: 'report' })).toMatchObject({ carried: 0, proven: 0, listed: 0 })
    expect(await audit(world)).toEqual({ in: 2, out: 3, old: 4, new: 58 })
    expect(await apply(world)).toMatchObject({ carried: CAME + WENT, listed: 0 })
    expect(await audit(world)).toEqual({ ...THEIRS, new: 1256 })
  })

  test('come once where the process ends between any two writes and customers write on', async world => {
    let more = 0
    for (let end = 1; ; end += on === 'SQLite' ? 1 : 4) {
      let calls = 0
      const guard = () => {
        if (++calls === end) throw new Error('ended')
      }
      const done = await apply(world, {}, { ...job, guard }).catch((error: unknown) => {
        expect(String(error)).toContain('ended')
        return null
      })
      if (done !== null) break
      await world.run([put('new', 1)])
      more++
    }
    expect(more).toBeGreaterThan(1)
    expect(await apply(world)).toEqual({ ...ALL, carried: 0 })
    expect(await audit(world)).toEqual({ ...THEIRS, new: 1198 + more })
  })

  test('that went are listed where ours has more or fewer, and go by a word', async world => {
    await world.run([put('out', 1), gone('old'), put('old', 2)])
    const listed = { inserts: CAME, deletes: 0, done: 0, conflicts: { changed: 4 } }
    expect(await planned(world)).toEqual({ ...NOTHING, ...listed })
    expect(await apply(world)).toMatchObject({ carried: CAME, listed: 4, conflicts: { changed: 4 }, done: CAME })
    expect(await audit(world)).toEqual({ ...THEIRS, out: 4, old: 2 })
    expect((await shown(world)).map(line => line.replace(/ id .*:/, ''))).toEqual([
      '  audit delete, changed, 2 rows',
      '  audit delete, changed, 2 rows',
    ])
    const ours: Decision = { table: 'audit', kind: 'changed', take: 'ours' }
    expect(await planned(world, { decisions: [ours] })).toMatchObject({ settled: 4, done: CAME, conflicts: {} })
    expect((await said(world, { ...ours, take: 'theirs' })).carried).toBe(4)
    expect(await audit(world)).toEqual({ ...THEIRS, out: 2 })
    expect(await apply(world)).toMatchObject({ carried: 0, listed: 0 })
  })

  test('that went on both sides wait for a word, but where none is left', async world => {
    await world.run([gone('out'), put('out', 1), gone('old')])
    expect(await planned(world)).toEqual({ ...NOTHING, inserts: CAME, done: 4, conflicts: { changed: 1 } })
    expect((await said(world, { table: 'audit', kind: 'changed', take: 'theirs' })).carried).toBe(CAME + 1)
    expect(await audit(world)).toEqual({ in: 5, new: 1198, one: 2 })
    expect(await apply(world)).toMatchObject({ carried: 0, listed: 0 })
  })

  test('wait in quarantine by their number', async world => {
    await world.run([put('new', 58)])
    const suspicion = { where: {}, since: null, until: null }
    expect(await planned(world, { suspicion })).toEqual({ ...NOTHING, done: 0, held: CAME + WENT })
    expect(await apply(world, { suspicion })).toMatchObject({ carried: 0, quarantined: CAME + WENT })
    const releases = [{ rows: 'all', table: 'audit', where: null, by: 'ann', at: '', reason: '' } as const]
    expect(await apply(world, { suspicion, releases })).toMatchObject({ carried: CAME + WENT, quarantined: 0 })
    expect(await audit(world)).toEqual({ ...THEIRS, new: 1256 })
  })

  test('are not carried again where what was written down of it is lost', async world => {
    await apply(world)
    await world.run(['DROP TABLE backout_carried'])
    expect(await apply(world)).toMatchObject({ carried: 0, listed: CAME + 1, conflicts: { changed: CAME + 1 } })
    expect(await audit(world)).toEqual(THEIRS)
  })

  test('stay carried where a version wrote it down that did not know how many there were', async world => {
    await apply(world)
    const old = ['low', 'high'].map(column => `ALTER TABLE backout_carried DROP COLUMN ${column}`)
    expect(await world.run([...old, put('new', 5), gone('one'), put('one', 2)])).not.toContain(false)
    for (const _ of ['as it was', 'with both columns']) expect(await apply(world)).toEqual({ ...ALL, carried: 0 })
    expect(await audit(world)).toEqual({ ...THEIRS, new: 1203 })
  })

  test('are proven while somebody writes such rows', async world => {
    let left = 1
    const writes: Promise<unknown>[] = []
    const progress: Job['progress'] = ({ text }) => {
      if (text.startsWith('proving audit') && left-- > 0) writes.push(world.run([put('new', 1)]))
    }
    expect(await apply(world, {}, { ...job, progress })).toMatchObject({ ...ALL, carried: CAME + WENT })
    await Promise.all(writes)
    expect(await audit(world)).toEqual({ ...THEIRS, new: 1199 })
  })

  test('that somebody took away since are told', async world => {
    await apply(world)
    await world.run([gone('new'), put('new', 1100)])
    await using source = await sourceOf(world)
    const { proof } = await applyCarry(source, NOTHING_SAID, job)
    expect(proof).toMatchObject({ ok: true, carried: CAME + WENT - 98, changedSince: 98 })
  })

  test('that somebody took away from what was not borne out count against it', async world => {
    const progress: Job['progress'] = ({ text }) => {
      if (text.startsWith('proving')) throw new Error('killed')
    }
    await expect(apply(world, {}, { ...job, progress })).rejects.toThrow('killed')
    await world.run([put('new', 7), gone('one'), put('one', 1)])
    await expect(apply(world)).rejects.toMatchObject({ code: 'carry_unproven' })
    await using source = await sourceOf(world)
    const { proof } = await applyCarry(source, NOTHING_SAID, job)
    expect(proof.problems).toContain('audit: 1 rows that an earlier try carried are not what they are to be')
  })
})
