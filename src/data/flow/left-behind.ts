import { z } from 'zod'
import type { Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { schemaHash } from '../schema.ts'
import type { Live } from './level.ts'
import { isEarlier, sameLevel, shownLevel } from './levels.ts'
import { type Level, levelShape } from './settings.ts'
import type { Site } from './site.ts'

/** How often it is looked whether a migration has ended. */
export const LOOK_MS = 200
export const TYPICAL_MS = 1_000

/**
 * What the database must be once a migration was ended, for the rest of the plan to hold; null: whatever it is. `than`: the
 * level of the release, where an earlier version captured it (see `readLive`).
 */
export const expectShape = z.object({ level: levelShape, schema: z.string(), than: levelShape.optional() }).nullable()
export type Leaves = z.infer<typeof expectShape>

export function leavesAsIs({ level, schema }: Live, release: Level): Leaves {
  return { level, schema: schemaHash(schema), ...(isEarlier(release) ? { than: release } : {}) }
}

/** What a migration that was ended left, held against what the plan reckons with. `well`: how the good end is told. */
export function leftBehind({ unfinished, level, schema }: Live, expect: Leaves, well: string): Verdict {
  if (expect === null) return { is: 'done', why: 'no migration is under way' }
  if (unfinished.length > 0) return { is: 'not-done', why: unfinished.join('; ') }
  if (!sameLevel(level, expect.level)) {
    const why = `it got further: ${shownLevel(level)}, where the plan reckons with ${shownLevel(expect.level)}`
    return { is: 'not-done', why }
  }
  const same = schemaHash(schema) === expect.schema
  return same ? { is: 'done', why: well } : { is: 'not-done', why: 'it changed tables, and they stay so' }
}

export function halfWay({ engine }: Site, what: string, why: string): BackoutError {
  return new BackoutError({
    code: 'migration_left_half',
    what: `${what} in ${engine.name} was ended, and the rest of the plan does not fit what it left`,
    cause: why,
    next: PLAN_ANEW,
    exit: 'moved',
  })
}
