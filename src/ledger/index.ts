import type { Clock } from '../core/clock.ts'
import { FileBackups } from './backups.ts'
import type { Keys } from './keys.ts'
import { Releases } from './releases.ts'
import { FileVault } from './vault.ts'

/** What a home keeps besides the journal. */
export interface Ledger {
  readonly home: string
  readonly keys: Keys
  readonly releases: Releases
  readonly vault: FileVault
  readonly backups: FileBackups
}

export function openLedger(home: string, keys: Keys, clock: Clock): Ledger {
  return {
    home,
    keys,
    releases: new Releases(home, clock, keys.chain),
    vault: new FileVault(home, keys),
    backups: new FileBackups(home, clock),
  }
}
