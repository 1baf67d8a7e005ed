import { expect } from 'vitest'
import { carriesForward } from '../../src/data/carry/open.ts'
import { type CarryOptions, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { type Replayed, replay } from '../../src/data/carry/replay.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { job, restored, sourceOf } from '../rungs/restored.ts'
import { played, type System, type World } from '../rungs/world.ts'

export interface Back {
  readonly base: readonly string[]
  readonly up: readonly string[]
  readonly writes: readonly string[]
  /** After the migrations, before anybody told that they had ended. */
  readonly meanwhile?: readonly string[]
  /** Between the restore and carrying. */
  readonly after?: readonly string[]
  readonly said?: Partial<CarryOptions>
  /** Users, before the roll-forward. */
  readonly later?: readonly string[]
  /** The migrations of the release that is rolled forward to, where they are others. */
  readonly again?: readonly string[]
}

/** Released, written to, gone back, carried, and rolled forward again. */
export async function forward(system: System, back: Back): Promise<World> {
  const { base, up, writes, meanwhile = [], after = [], said = {}, later = [], again = up } = back
  const release = up.map((sql, i) => ({ name: `00${i + 2}_x`, up: sql, down: null }))
  const world = await played(system, { base, release, early: [], meanwhile, told: true, writes })
  await restored(world)
  await world.run(after)
  {
    await using source = await sourceOf(world)
    await carryForward(source, { ...NOTHING_SAID, ...said }, job)
  }
  expect(await world.run([...later, ...again])).not.toContain(false)
  return world
}

/** Puts back what was archived in the run `back`, by these words. */
export async function replayed(world: World, words: readonly string[] = [], by = job): Promise<Replayed> {
  await using target = await world.open()
  if (!carriesForward(target)) throw new Error('it carries nothing forward')
  return replay(await target.replaying('back', by), by, words)
}

/** The rows of a table, each as one text. */
export const held = async (world: World, table: string) =>
  ((await world.dump())[table] ?? []).map(row => Object.values(row).join(' ').replaceAll("'", '')).sort()
