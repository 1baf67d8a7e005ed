import type { Job } from '../engine.ts'
import { OBJECTS, sideBySide } from '../objects.ts'
import { notProven } from './errors.ts'
import type { CarryOptions } from './options.ts'
import type { Ground } from './piece.ts'
import type { Unplaced } from './unplaced.ts'

/** Large objects of theirs that were written since the release, by their numbers. */
export interface ObjectsFound {
  /** Ours has nothing else under their number: they come over as they are. */
  readonly carry: readonly number[]
  /** The migration wrote them too, or ours has something else: a person says what counts. */
  readonly listed: readonly number[]
}

const NONE: ObjectsFound = { carry: [], listed: [] }

/** Compares them as rows are compared. Those that were deleted since stay: no row refers to them any more. */
export async function objectsOf(
  { merger: { objects }, ownWork }: Ground,
  { mode }: CarryOptions,
): Promise<ObjectsFound> {
  if (objects === undefined) return NONE
  const names = (['ours', 'base', 'theirs', 'migrated'] as const).filter(n => n !== 'migrated' || objects.has(n))
  const found = { carry: [] as number[], listed: [] as number[] }
  const sides = names.map(image => (id: number) => objects.after(image, id))
  for await (const { id, digests } of sideBySide(sides)) {
    const [ours, base, theirs, migrated = base] = digests
    const migrations = ownWork && theirs === migrated
    if (theirs == null || theirs === ours || theirs === base || migrations) continue
    found[mode !== 'report' && ours === base && migrated === base ? 'carry' : 'listed'].push(id)
  }
  return found
}

export function unplacedObjects({ listed }: ObjectsFound): Unplaced[] {
  return listed.length === 0 ? [] : [{ table: OBJECTS, column: null, count: listed.length }]
}

/** Each in a transaction of its own: one that is there is whole. Compared again afterwards; throws `carry_unproven`. */
export async function carryObjects(
  ground: Ground,
  { carry }: ObjectsFound,
  options: CarryOptions,
  component: string,
  job: Job,
): Promise<void> {
  if (carry.length === 0) return
  const { merger } = ground
  for (const [done, id] of carry.entries()) {
    job.progress({ text: `carrying ${OBJECTS}`, done, total: carry.length })
    await merger.transaction(async () => merger.objects?.put(id))
  }
  const left = new Set((await objectsOf(ground, options)).carry)
  const open = carry.filter(id => left.has(id))
  if (open.length > 0) {
    throw notProven(component, [`${OBJECTS} ${open.slice(0, 10).join(', ')} are not here as they were written`])
  }
}
