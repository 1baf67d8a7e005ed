import type { Laid } from './plan.ts'
import { measureUntouched, type Untouched } from './proof.ts'
import { keepBegun, readBegun, readOutcome } from './state.ts'
import { strayCells } from './stray.ts'

/** What the end of a carry is held against. */
export interface Held {
  readonly before: Untouched
  readonly stray: Untouched
  /** An earlier try was not borne out, or did not come to its end: what it carried and is otherwise now may be its own doing. */
  readonly again: boolean
  /** What was carried may have made the server write elsewhere; else what changed elsewhere was written by others. */
  readonly spreads: boolean
}

/**
 * How ours was before the first row was carried: until a try is borne out, all that follow are held against that, or the
 * damage of the first would be the measure of the second. `asItIs`: a person says that what there is now is the measure.
 */
export async function heldAgainst(laid: Laid, asItIs: boolean): Promise<Held> {
  const { source, options } = laid
  const begun = await readBegun(source.dir)
  // Of a try by a version that did not write that down nothing is known: all that is unlike the release counts then.
  const open = begun === null ? await wasCarried(laid) : !begun.proven
  const spreads = await mayWriteElsewhere(laid)
  if (open && !asItIs) {
    const held = {
      before: begun?.before ?? {},
      stray: begun?.stray ?? {},
      spreads: spreads || begun?.spreads !== false,
    }
    return { ...held, again: true }
  }
  const [before, stray] = [await measureUntouched(laid), await strayCells(laid)]
  if (options.mode !== 'report') await keepBegun(source.dir, { before, stray, spreads, proven: false })
  return { before, stray, spreads, again: false }
}

/** By triggers that fire, or by what references do where they act. */
async function mayWriteElsewhere({ ground: { merger, dialect }, source, bonds }: Laid): Promise<boolean> {
  const triggers = !merger.quiet && Object.keys(source.schemas.ours.triggers).length > 0
  if ((await merger.fires?.()) ?? triggers) return true
  if (merger.quiet) return false
  return dialect.quiet.on.length === 0 && Object.values(bonds).some(b => b.references.length > 0)
}

async function wasCarried({ source, carried }: Laid): Promise<boolean> {
  const kept = await readOutcome(source.dir)
  return kept === null ? carried > 0 : !kept.proof.ok
}

/** What speaks against the last carry into the database of this folder; null: it is borne out, or nothing was begun. */
export async function unprovenIn(dir: string): Promise<readonly string[] | null> {
  const [begun, kept] = [await readBegun(dir), await readOutcome(dir)]
  const open = begun === null ? kept !== null && !kept.proof.ok : !begun.proven
  if (!open) return null
  return kept === null || kept.proof.ok ? ['what was begun did not come to its end'] : kept.proof.problems
}
