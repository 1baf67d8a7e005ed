import { mkdir, readdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup, Sealed } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { sameJson } from '../core/json.ts'
import type { ReleaseState } from '../core/words.ts'
import { hex } from './files.ts'
import type { Ledger } from './index.ts'
import { altered, type Manifest, translated } from './package-format.ts'
import { type Staged, stage, type Unlock } from './package-stage.ts'
import type { Capture } from './releases.ts'
import { FileVault } from './vault.ts'

export type { Unlock } from './package-stage.ts'

export interface Imported {
  readonly release: string
  /** Environment that it was captured in. */
  readonly environment: string
  readonly exportedAt: string
  readonly exportedBy: string
  /** Ids of captures and backups that were not here before; empty where the release was here already. */
  readonly captures: readonly string[]
  readonly backups: readonly string[]
  /** What the release is here, and was there. */
  readonly state: ReleaseState
  readonly was: ReleaseState
}

/**
 * Takes an exported release in. Everything is read, decrypted and checked in a folder aside first; only then backups are
 * moved into place, and captures last: whatever stops it, the release is whole or not there. Throws `package_altered`,
 * `package_locked`, `not_a_package`, `package_newer`, `capture_differs`, `backup_differs`, `disk_full`.
 */
export async function importPackage(
  ledger: Ledger,
  file: string,
  options: { unlock: Unlock; signal?: AbortSignal },
): Promise<Imported> {
  const folder = await freshFolder(join(ledger.home, 'incoming'))
  try {
    const vault = new FileVault(folder, ledger.keys)
    const room = (manifest: Manifest) => refuseFull(ledger.home, manifest)
    const staged = await stage(file, { ...options, folder, vault, room })
    options.signal?.throwIfAborted()
    return await place(ledger, file, staged, vault)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A folder of this process's own. Those of processes that died in the middle are taken away. */
async function freshFolder(root: string): Promise<string> {
  for (const name of await readdir(root).catch(() => [])) {
    if (!isAlive(Number(name.split('-')[0]))) await rm(join(root, name), { recursive: true, force: true })
  }
  const folder = join(root, `${process.pid}-${hex(4)}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const KEEP_FREE = 100 * 1024 * 1024

async function refuseFull(home: string, { entries, release }: Manifest): Promise<void> {
  const { bavail, bsize } = await statfs(home)
  const needed = entries.reduce((sum, e) => sum + e.bytes, KEEP_FREE)
  if (bavail * bsize >= needed) return
  const mib = (n: number) => `${Math.ceil(n / 1024 / 1024)} MiB`
  throw new BackoutError({
    code: 'disk_full',
    what: `${release} needs ${mib(needed)} where ${home} lies, and ${mib(bavail * bsize)} are free`,
    next: 'make room, then import again',
    exit: 'blocked',
  })
}

async function place(ledger: Ledger, file: string, staged: Staged, vault: FileVault): Promise<Imported> {
  const { manifest, release } = staged
  const captures = release.captures.map(c => translated(c as unknown as Capture, staged.fresh))
  const fresh = await newCaptures(ledger, captures)
  const arrived = await newBackups(ledger, staged.backups)
  for (const sealed of staged.sealed) await copySealed(ledger, vault, sealed)
  for (const backup of arrived) await placeBackup(ledger, file, backup)
  const was = release.marks.at(-1)?.state ?? 'captured'
  if (fresh.length > 0) await markFirst(ledger, manifest, was)
  for (const capture of fresh) await ledger.releases.keep(capture)
  return {
    release: manifest.release,
    environment: manifest.environment,
    exportedAt: manifest.exportedAt,
    exportedBy: manifest.exportedBy,
    captures: fresh.map(c => c.id),
    backups: arrived.map(b => b.id),
    state: (await ledger.releases.get(manifest.release)).state,
    was,
  }
}

/** Those that are not here yet. One that is here under the same id must be the same. */
async function newCaptures(ledger: Ledger, captures: readonly Capture[]): Promise<Capture[]> {
  const here = (await ledger.releases.find(captures[0]?.release ?? ''))?.captures ?? []
  return captures.filter(capture => {
    const known = here.find(c => c.id === capture.id)
    if (known === undefined) return true
    if (sameJson(known, capture)) return false
    throw new BackoutError({
      code: 'capture_differs',
      what: `The capture ${capture.id} of ${capture.release} is here already and is another one`,
      next: 'one of the two was made up: compare `backout release show` here and where it was exported',
      exit: 'tampered',
    })
  })
}

async function newBackups(ledger: Ledger, backups: readonly Backup[]): Promise<Backup[]> {
  const out: Backup[] = []
  for (const backup of backups) {
    const known = (await ledger.backups.list(backup.component)).find(b => b.id === backup.id)
    if (known === undefined) {
      out.push(backup)
      continue
    }
    const wrong = sameJson(known.files, backup.files) ? await ledger.backups.check(backup.id) : ['its files are others']
    if (wrong.length === 0) continue
    throw new BackoutError({
      code: 'backup_differs',
      what: `The backup ${backup.id} is here already and is not the one of the package`,
      cause: wrong.join('\n'),
      next: `look which one is right; to take that of the package, move ${known.dir} away and import again`,
      exit: 'tampered',
    })
  }
  return out
}

async function copySealed(ledger: Ledger, staged: FileVault, sealed: Sealed): Promise<void> {
  const content = await staged.open(sealed)
  await ledger.vault.seal(content, 'imported')
}

async function placeBackup(ledger: Ledger, file: string, backup: Backup): Promise<void> {
  await ledger.backups.adopt(backup).catch((error: Error) => {
    throw altered(file, `the backup ${backup.id} could not be put in place: ${error.message}`, error)
  })
}

/** Before the captures, so that the release is never seen without it. What is good there was not proven here. */
async function markFirst({ releases }: Ledger, manifest: Manifest, was: ReleaseState): Promise<void> {
  const { release, environment, exportedAt, exportedBy } = manifest
  const known = await releases.find(release)
  if (known?.state === 'bad') return
  const why = `imported from ${environment} (exported ${exportedAt} by ${exportedBy}), ${was} there`
  await releases.mark(release, was === 'bad' ? 'bad' : 'captured', why)
}
