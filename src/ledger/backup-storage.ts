import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup } from '../core/contract.ts'
import { messageOf } from '../core/errors.ts'
import { type RemoteFiles, StorageGone } from './remote-files.ts'

export type BackupFile = Backup['files'][number]

/**
 * Where the files of backups lie besides the home. Manifests stay in the home, sealed: what is in the storage is believed
 * only as far as it has the checksums that they name.
 */
export class BackupStorage {
  readonly #remote: RemoteFiles
  readonly #environment: string
  /** So many of the newest backups of a component stay in the home too. */
  readonly #keepLocal: number

  constructor(remote: RemoteFiles, environment: string, keepLocal: number) {
    this.#remote = remote
    this.#environment = environment
    this.#keepLocal = keepLocal
  }

  get name(): string {
    return this.#remote.name
  }

  ready(): Promise<void> {
    return this.#remote.ready()
  }

  /** Copies all files; path -> what the storage says of each. A part of a backup is in no manifest. */
  async upload({ dir, files, ...backup }: Backup): Promise<Record<string, string>> {
    const held: Record<string, string> = {}
    for (const { path } of files) {
      held[path] = (await this.#remote.put(this.#nameOf(backup, path), join(dir, path))).etag
    }
    return held
  }

  /** Brings a file to where it is read. What is wrong with it, or null. */
  async bring(backup: Backup, file: BackupFile): Promise<string | null> {
    return this.#told(file, async () => {
      const name = this.#nameOf(backup, file.path)
      const same = await this.#remote.fetch(name, join(backup.dir, file.path), file)
      return same ? null : `${file.path} in ${this.name} is not what was backed up`
    })
  }

  /** The same without reading its content: that it is there, and that nobody wrote it anew. */
  async look(backup: Backup, file: BackupFile): Promise<string | null> {
    return this.#told(file, async () => {
      const found = await this.#remote.look(this.#nameOf(backup, file.path))
      if (found === null) return `${file.path} is gone from ${this.name}`
      const same = found.bytes === file.bytes && found.etag === backup.held?.[file.path]
      return same ? null : `${file.path} in ${this.name} is not what was backed up`
    })
  }

  async #told(file: BackupFile, work: () => Promise<string | null>): Promise<string | null> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof StorageGone) return `${file.path} is gone from ${this.name}`
      return `${file.path} cannot be fetched from ${this.name}: ${messageOf(error)}`
    }
  }

  /** Takes the files out of the home again that are in the storage. `newestFirst`: all backups of one component. */
  async makeRoom(newestFirst: readonly Backup[]): Promise<void> {
    for (const { dir, files, held } of newestFirst.slice(this.#keepLocal)) {
      for (const { path } of files) if (held?.[path] !== undefined) await rm(join(dir, path), { force: true })
      const folders = await readdir(dir, { withFileTypes: true }).catch(() => [])
      const whole = files.every(({ path }) => held?.[path] !== undefined)
      for (const f of folders) if (whole && f.isDirectory()) await rm(join(dir, f.name), { recursive: true })
    }
  }

  async remove({ held, ...backup }: Backup): Promise<void> {
    for (const path of Object.keys(held ?? {})) await this.#remote.remove(this.#nameOf(backup, path))
  }

  #nameOf({ component, id }: Pick<Backup, 'component' | 'id'>, path: string): string {
    return `${this.#environment}/${component}/${id}/${path}`
  }
}
