import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, iso } from '../core/clock.ts'
import { BackoutError } from '../core/errors.ts'
import { toJson } from '../core/json.ts'
import { redact } from '../core/secret.ts'
import type { ReleaseState } from '../core/words.ts'
import { hex, stamp } from './files.ts'
import { person } from './person.ts'
import { folderOf } from './release-name.ts'
import { type About, isAltered, type SealedFiles } from './sealed-file.ts'

export interface Mark {
  readonly state: ReleaseState
  readonly at: string
  readonly by: string
  readonly why: string | null
}

const AGAIN = 'or say it again, which counts from then on: backout release mark RELEASE known-good|bad --why …'

/** What was said of the releases of one environment. Whoever changes it holds the ledger's lock (alone.ts). */
export class Marks {
  readonly #folder: string
  readonly #environment: string
  readonly #clock: Clock
  readonly #sealed: SealedFiles

  constructor(folder: string, environment: string, clock: Clock, sealed: SealedFiles) {
    this.#folder = folder
    this.#environment = environment
    this.#clock = clock
    this.#sealed = sealed
  }

  /** Throws `ledger_altered` (also where they are gone: every capture is kept after its mark), `ledger_unreadable`. */
  async of(release: string): Promise<Mark[]> {
    const marks = await this.#read(release)
    if (marks !== null) return marks
    throw new BackoutError({
      code: 'ledger_altered',
      what: `${this.#path(release)} is gone, so nobody can tell what was said of the release`,
      next: `put it back from a copy of the home, ${AGAIN}`,
      exit: 'tampered',
    })
  }

  /** The first word on a release, where there is none yet. */
  async begin(release: string): Promise<void> {
    if ((await this.#read(release)) === null) await this.#write(release, [this.#now('captured', null)])
  }

  /**
   * One word more. Marks that were altered are moved aside, for nobody can tell what they said: this one is the first
   * again.
   */
  async add(release: string, state: ReleaseState, why: string | null): Promise<Mark> {
    const mark = this.#now(state, why)
    const before = await this.#read(release).catch(async (error: unknown) => {
      if (!isAltered(error)) throw error
      const path = this.#path(release)
      await rename(path, `${path}.altered-${stamp(this.#clock.now())}-${hex(3)}`)
      return null
    })
    await this.#write(release, [...(before ?? []), mark])
    return mark
  }

  #now(state: ReleaseState, why: string | null): Mark {
    return { state, at: iso(this.#clock.now()), by: person(), why: why === null ? null : redact(why) }
  }

  #read(release: string): Promise<Mark[] | null> {
    const next = `put it back from a copy of the home, ${AGAIN}`
    return this.#sealed.read<Mark[]>(this.#path(release), this.#about(release), next)
  }

  #write(release: string, marks: readonly Mark[]): Promise<void> {
    return this.#sealed.write(this.#path(release), this.#about(release), toJson(marks))
  }

  #path(release: string): string {
    return join(this.#folder, 'releases', folderOf(release), 'marks.json')
  }

  #about(release: string): About {
    return ['marks', this.#environment, release]
  }
}
