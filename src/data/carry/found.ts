import type { Row } from '../engine.ts'

/** What comparing the rows of one piece again came to, each a number of rows. */
export interface Found {
  readonly rows: number
  readonly carried: number
  readonly listed: number
  readonly quarantined: number
  readonly changedSince: number
  /** Neither done nor listed. */
  readonly lacking: number
  /** Done, and not so. */
  readonly unlike: number
  /** In ours behind all that there was, and neither of theirs. */
  readonly strange: number
}

/** The answer of a query of such sums. */
export function foundIn(row: Row | undefined): Found {
  const of = (name: string) => Number(row?.[name])
  return {
    rows: of('found_now'),
    carried: of('carried_now'),
    listed: of('listed'),
    quarantined: of('quarantined'),
    changedSince: of('changed_since'),
    lacking: of('lacking'),
    unlike: of('unlike_it'),
    strange: 0,
  }
}
