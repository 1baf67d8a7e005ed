import * as fc from 'fast-check'
import { expect } from 'vitest'
import type { Loss } from '../../src/core/contract.ts'
import { archiveIn, readArchive } from '../../src/data/carry/archive.ts'
import { planCarry } from '../../src/data/carry/index.ts'
import { readLines } from '../../src/data/carry/lines.ts'
import { type CarryTarget, carriesForward } from '../../src/data/carry/open.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { ListedRow } from '../../src/data/carry/rows.ts'
import { rowsToCarry } from '../../src/data/carry/step.ts'
import type { Job } from '../../src/data/engine.ts'
import { type Dump, expectNothingLost } from '../support/merge-oracle.ts'
import { type RungStory, rungStory } from './story.ts'
import { blockers, carriedOut, played, proposed, type System, type World } from './world.ts'

const JOB: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

/** Tries a rung on random stories; how often that was, and how often it was gone all the way. */
export async function tryRung(
  rung: keyof typeof RUNGS,
  make: () => Promise<System>,
  runs: number,
): Promise<{ tried: number; gone: number }> {
  let [tried, gone] = [0, 0]
  const property = fc.asyncProperty(rungStory(rung === 'restore'), async (random: RungStory) => {
    await using world = await played(await make(), random)
    if (await RUNGS[rung](world)) gone++
    tried++
  })
  await fc.assert(property, { numRuns: runs, endOnFailure: true })
  return { tried, gone }
}

const RUNGS = { leave, 'migrate-down': migrateDown, restore }

/** Nothing is done: whatever was committed is there, whether the old release can live with it or not. */
async function leave(world: World): Promise<boolean> {
  const proposal = await proposed(world, 'leave')
  expect([proposal.steps, proposal.impact.loss]).toEqual([[], []])
  expect(await world.dump()).toEqual(world.theirs)
  return blockers(proposal).length === 0
}

/** What has a place in the schema of the release is there, under its old name; what goes is counted before anything happens. */
async function migrateDown(world: World): Promise<boolean> {
  const proposal = await proposed(world, 'migrate-down')
  expect(await world.dump()).toEqual(world.theirs)
  if (blockers(proposal).length > 0 || proposal.steps.length === 0) return false
  await carriedOut(world, proposal, 'down')
  const after = await world.dump()
  for (const [table, rows] of Object.entries(world.theirs)) {
    const back = after[table]
    if (back === undefined) expectCounted(proposal.impact.loss, table, rows.length)
    else expectRows(world, table, back, proposal.impact.loss)
  }
  return true
}

function expectRows({ theirs, base, renames }: World, table: string, back: Dump[string], loss: readonly Loss[]): void {
  const rows = theirs[table] ?? []
  const oldName = (c: string) => renames.find(r => r.now.table === table && r.now.column === c)?.was.column ?? c
  const kept = Object.keys(base[table]?.[0] ?? back?.[0] ?? {})
  const wanted = rows.map(row => {
    const cells = Object.entries(row).map(([c, v]) => [oldName(c), v] as const)
    return Object.fromEntries(cells.filter(([c]) => kept.includes(c)))
  })
  const sorted = (list: readonly object[]) =>
    list.map(row => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).sort()
  expect(sorted(back ?? []), `${table} after undoing`).toEqual(sorted(wanted))
  for (const column of Object.keys(rows[0] ?? {}).filter(c => !kept.includes(oldName(c)))) {
    expectCounted(loss, `${table}.${column}`, rows.filter(r => r[column] !== null).length)
  }
}

function expectCounted(loss: readonly Loss[], what: string, count: number): void {
  const told = loss.find(l => l.what === what)?.count ?? 0
  expect(told, `${what}: rows or values that are gone, as the plan counted them`).toBe(count)
}

/** Each row that users committed is back, or listed, or has no place and is archived; and nothing else was touched. */
async function restore(world: World): Promise<boolean> {
  const proposal = await proposed(world, 'restore')
  expect(blockers(proposal)).toEqual([])
  if (proposal.steps.length === 0) {
    expect(world.theirs).toEqual(world.base)
    return false
  }
  await carriedOut(world, proposal, 'back')
  await using target = await world.open()
  if (!carriesForward(target)) throw new Error('it carries nothing forward')
  await expectCarried(world, target)
  expect((await proposed(world, 'restore')).steps, 'there is nothing left to do').toEqual([])
  expect(await world.run([`INSERT INTO t1 (id, k, c1) VALUES (77, 1, 1)`])).toEqual([true])
  expect((await proposed(world, 'restore')).steps, 'somebody wrote since').not.toEqual([])
  return true
}

async function expectCarried({ base, theirs, dump, pin }: World, target: CarryTarget): Promise<void> {
  await using source = await target.carrying('back', pin.backup ?? '', JOB)
  const plan = await planCarry(source, NOTHING_SAID, JOB)
  expect(rowsToCarry(plan)).toBe(0)
  const archive = await readArchive(source.dir)
  const listed: ListedRow[] = []
  for (const part of archive?.parts.filter(p => p.what === 'conflicts') ?? []) {
    await readLines(archiveIn(source.dir), part, row => void listed.push(row as ListedRow))
  }
  const { schemas, renames } = source
  const oracle = { base, own: null, theirs, before: base, after: await dump(), schemas, renames, listed }
  for (const table of plan.tables) expectNothingLost(oracle, table)
  const placed = new Set(plan.tables.map(t => t.theirs))
  for (const [name, rows] of Object.entries(theirs)) {
    if (!placed.has(name)) expect(archivedLines(archive, name, 'rows'), `${name} in the archive`).toBe(rows.length)
  }
  for (const { table, column, count } of plan.archived.filter(a => a.column !== null)) {
    const held = (theirs[table] ?? []).filter(r => r[column ?? ''] !== null).length
    expect(count, `${table}.${column} as counted`).toBe(held)
    expect(archivedLines(archive, table, 'cells')).toBeGreaterThanOrEqual(held)
  }
}

function archivedLines(archive: Awaited<ReturnType<typeof readArchive>>, table: string, what: string): number {
  return archive?.parts.find(p => p.table === table && p.what === what)?.lines ?? 0
}
