import { BackoutError } from '../core/errors.ts'
import { canonical, type Json } from '../core/json.ts'
import { readJson, writeWhole } from './files.ts'
import { macWith } from './keys.ts'

/** What a sealed file is about: its kind, whose it is, its name. Content that was moved to another place has another one. */
export type About = readonly [kind: string, environment: string, name: string]

interface Kept {
  readonly mac: string
  readonly content: Json
}

/**
 * Files of the home whose content carries a keyed hash, made with the chain key: what was changed, made up or moved by
 * anything but Backout is noticed.
 */
export class SealedFiles {
  readonly #chain: Uint8Array

  constructor(chain: Uint8Array) {
    this.#chain = chain
  }

  write(path: string, about: About, content: Json): Promise<void> {
    const kept: Kept = { mac: this.#mac(about, content), content }
    return writeWhole(path, `${JSON.stringify(kept, null, 2)}\n`)
  }

  /** Null where there is no file. Throws `ledger_unreadable`, `ledger_altered`; `next` is what can be done about it. */
  async read<T>(path: string, about: About, next = 'put it back from a copy of the home'): Promise<T | null> {
    const kept = await readJson<Partial<Kept> | null>(path)
    if (kept === null) return null
    if (kept.content !== undefined && kept.mac === this.#mac(about, kept.content)) return kept.content as T
    throw new BackoutError({
      code: 'ledger_altered',
      what: `${path} was changed since Backout wrote it, so what it says cannot be trusted`,
      next: `${next}; and find out who changed it (docs/security.md, "Changes that show")`,
      exit: 'tampered',
    })
  }

  #mac(about: About, content: Json): string {
    return macWith(this.#chain, Buffer.from(canonical([...about, content])))
  }
}

/** True for what says that a file of the ledger is not as Backout wrote it; false for a disk or a right that fails. */
export function isAltered(error: unknown): error is BackoutError {
  return error instanceof BackoutError && ALTERED.has(error.code)
}

const ALTERED = new Set(['release_altered', 'ledger_altered', 'ledger_unreadable'])
