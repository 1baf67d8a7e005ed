import { BackoutError, messageOf } from '../../core/errors.ts'
import type { ComponentId } from '../../core/words.ts'

/** How grave it is: only a `problem` stands in the way of going back. */
export const LEVELS = ['ok', 'note', 'warning', 'problem'] as const
export type Level = (typeof LEVELS)[number]

export const AREAS = ['machine', 'configuration', 'home', 'components', 'releases', 'probes', 'runs'] as const
export type Area = (typeof AREAS)[number]

/** One thing that doctor looked at. */
export interface Check {
  readonly level: Level
  readonly area: Area
  /** Stable name in snake_case. */
  readonly code: string
  readonly component: ComponentId | null
  readonly what: string
  /** What to do about it; empty where it is well. */
  readonly remedy: string
}

export type Say = (level: Level, code: string, what: string, remedy?: string, component?: string | null) => Check

export function saying(area: Area): Say {
  return (level, code, what, remedy = '', component = null) => ({ level, area, code, component, what, remedy })
}

/** A check that cannot be made is a problem of its own, and none of the others is left out for it. */
export async function guarded(area: Area, look: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await look()
  } catch (error) {
    const { code, next } = error instanceof BackoutError ? error : { code: 'not_checked', next: undefined }
    const remedy = next ?? 'mend what it names, then: backout doctor'
    return [saying(area)('problem', code, messageOf(error), remedy)]
  }
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`
}
