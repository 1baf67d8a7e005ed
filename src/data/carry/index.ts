import type { Job, Merger } from '../engine.ts'
import type { CarryOptions } from './options.ts'
import { type Ground } from './piece.ts'
import { type CarryPlan, type Laid, layOut } from './plan.ts'
import type { CarrySource } from './source.ts'

/** What carrying forward would do. Writes nothing into the database. */
export async function planCarry(source: CarrySource, options: CarryOptions, job: Job): Promise<CarryPlan> {
  await using merger = await source.merging(job)
  return (await laid(source, merger, options, job)).plan
}

export function laid(source: CarrySource, merger: Merger, options: CarryOptions, job: Job): Promise<Laid> {
  return layOut(source, groundOf(source, merger), options, job)
}

function groundOf(source: CarrySource, merger: Merger): Ground {
  return { dialect: source.dialect, merger, run: source.run, migrated: source.images.migrated !== null }
}
