import { join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { BackupStorage } from './backup-storage.ts'
import { FileBackups } from './backups.ts'
import type { Keys } from './keys.ts'
import type { RemoteFiles } from './remote-files.ts'
import { Releases } from './releases.ts'
import { SealedFiles } from './sealed-file.ts'
import { FileVault } from './vault.ts'

/** What a home keeps of one environment besides the journal. */
export interface Ledger {
  readonly home: string
  /** What is this environment's alone: releases, upgrades, backups, the components' own folders. Absolute. */
  readonly folder: string
  readonly keys: Keys
  readonly releases: Releases
  /** Of the whole home: equal content is kept once, whatever environment it is of. */
  readonly vault: FileVault
  readonly backups: FileBackups
}

/** Several environments can share a home: what has the same name in two of them is kept apart. */
export function openLedger(
  home: string,
  environment: string,
  keys: Keys,
  clock: Clock,
  /** Where backups lie besides, and how many of a component's newest stay in the home too. */
  elsewhere: { readonly remote: RemoteFiles; readonly keepLocal: number } | null = null,
): Ledger {
  const folder = join(home, 'environments', environment)
  const sealed = new SealedFiles(keys.chain)
  const storage = elsewhere === null ? null : new BackupStorage(elsewhere.remote, environment, elsewhere.keepLocal)
  return {
    home,
    folder,
    keys,
    releases: new Releases(folder, environment, clock, keys.chain),
    vault: new FileVault(home, keys),
    backups: new FileBackups(folder, environment, clock, sealed, storage),
  }
}
