import type { Dialect, Images, Job, Merger } from '../engine.ts'
import type { Untold } from '../flow/untold.ts'
import type { Rename } from '../renames.ts'
import type { Touched } from '../touched.ts'
import type { Schemas } from './mapping.ts'

/** A database that was restored and carried into, as it was when that had ended. */
export interface CarryResult {
  readonly base: string
  readonly data: string
}

/** What carrying forward needs of one database after a restore. Opened once a command; whoever opened it closes the images. */
export interface CarrySource {
  readonly component: string
  /** The run that restored: names the work in the ledger of ours. */
  readonly run: string
  readonly dialect: Dialect
  /** A folder of this run and component for plans, archives and lists. Absolute; made when first needed. */
  readonly dir: string
  readonly images: Images
  readonly schemas: Schemas
  /** `images.migrated` has nothing that a user wrote. */
  readonly ownWork: boolean
  /** What the migrations may have written; null: nobody can tell. All else users wrote. */
  readonly touched: Touched | null
  /** null: the end of the migrations was told, or there were none. */
  readonly untold: Untold | null
  /** From base to theirs. */
  readonly renames: readonly Rename[]
  /** For people: ours is not what was restored any more, for what a value means there may be another; null, or left out: it is. */
  readonly moved?: string | null
  /** No bookkeeping tells which migrations ours has: where they changed values alone, `moved` says nothing of it. Left out: one does. */
  readonly blind?: boolean
  /** For people: what looks like a rename and is not taken for one. */
  readonly doubts: readonly string[]
  /** What the live database is now: the backup that it came from, and a hash of its data. */
  readonly result?: (job: Job) => Promise<CarryResult>
  /** Opens the live database with the images beside it. */
  merging(job: Job): Promise<Merger>
}
