import type { Dialect, Images, Job, Merger } from '../engine.ts'
import type { Rename } from '../renames.ts'
import type { Schemas } from './mapping.ts'

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
  /** From base to theirs. */
  readonly renames: readonly Rename[]
  /** For people: what looks like a rename and is not taken for one. */
  readonly doubts: readonly string[]
  /** Opens the live database with the images beside it. */
  merging(job: Job): Promise<Merger>
}
