import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { iso } from '../core/clock.ts'
import type { Backup, BackupAbout, BackupDraft, BackupStore, Proof } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { type Json, toJson } from '../core/json.ts'
import { byText } from '../core/order.ts'
import type { BackupStorage } from './backup-storage.ts'
import { hex, namesIn, stamp, syncFolder } from './files.ts'
import type { SealedFiles } from './sealed-file.ts'

const MANIFEST = 'backup.json'
/** Beside the folder of a backup that is being made: its idem. */
const DRAFT = '.draft'

/**
 * Backups of one environment, in folders of its own. The manifest is written last: a folder without one is no backup. It
 * is sealed: one that was changed or made up makes no backup either.
 */
export class FileBackups implements BackupStore {
  readonly #root: string
  readonly #environment: string
  readonly #clock: Clock
  readonly #sealed: SealedFiles
  /** Where the files lie besides; null: nowhere. */
  readonly storage: BackupStorage | null

  constructor(
    folder: string,
    environment: string,
    clock: Clock,
    sealed: SealedFiles,
    storage: BackupStorage | null = null,
  ) {
    this.#root = join(folder, 'backups')
    this.#environment = environment
    this.#clock = clock
    this.#sealed = sealed
    this.storage = storage
  }

  async begin(about: BackupAbout): Promise<BackupDraft> {
    const now = this.#clock.now()
    const id = (await this.#begun(about)) ?? `${stamp(now)}-${about.component}-${hex(3)}`
    const dir = join(this.#root, about.component, id)
    await rm(dir, { recursive: true, force: true })
    await mkdir(dir, { recursive: true, mode: 0o700 })
    // So that the process that takes over finds the part that was written, and does not leave it there for ever.
    if (about.idem !== undefined) await writeFile(`${dir}${DRAFT}`, about.idem, { mode: 0o600 })
    return {
      id,
      dir,
      seal: facts => this.#seal({ about, id, dir, createdAt: iso(now) }, facts),
      discard: async () => {
        await rm(dir, { recursive: true, force: true })
        await rm(`${dir}${DRAFT}`, { force: true })
      },
    }
  }

  /** The backup that was begun with the same idem before, complete or not. */
  async #begun({ component, idem }: BackupAbout): Promise<string | null> {
    if (idem === undefined) return null
    const complete = (await this.list(component)).find(b => b.idem === idem)
    if (complete !== undefined) return complete.id
    const folder = join(this.#root, component)
    for (const name of (await namesIn(folder)).filter(n => n.endsWith(DRAFT))) {
      const known = await readFile(join(folder, name), 'utf8').catch(() => null)
      if (known === idem) return name.slice(0, -DRAFT.length)
    }
    return null
  }

  async #seal(draft: { about: BackupAbout; id: string; dir: string; createdAt: string }, facts: Json): Promise<Backup> {
    const { about, id, dir, createdAt } = draft
    const files: Backup['files'][number][] = []
    for (const path of await filesIn(dir)) files.push(await describeFile(dir, path))
    for (const folder of await foldersUnder(dir)) await syncFolder(folder)
    const backup: Backup = {
      id,
      dir,
      component: about.component,
      reason: about.reason,
      release: about.release,
      idem: about.idem ?? null,
      createdAt,
      bytes: files.reduce((sum, f) => sum + f.bytes, 0),
      files: files.toSorted((a, b) => byText(a.path, b.path)),
      facts,
      proof: null,
    }
    const kept = await this.#stored(backup)
    await this.#keep(kept)
    await rm(`${dir}${DRAFT}`, { force: true })
    await this.#makeRoom(about.component)
    return kept
  }

  /** With what the storage says of its copies. A rollback does not wait for a storage that fails: it is copied later. */
  async #stored(backup: Backup): Promise<Backup> {
    if (this.storage === null) return backup
    try {
      return { ...backup, held: await this.storage.upload(backup) }
    } catch (error) {
      if (backup.reason === 'pre-rollback') return backup
      throw error
    }
  }

  /** Copies what the storage lacks, and takes out of the home what it has. It is no failure of the backup that was made. */
  async #makeRoom(component: string): Promise<void> {
    if (this.storage === null) return
    for (const backup of await this.list(component)) {
      if (backup.held === undefined) await this.store(backup).catch(() => {})
    }
    await this.storage.makeRoom(await this.list(component))
  }

  /** Copies a backup that lies in the home only into the storage. Throws where that does not succeed. */
  async store(backup: Backup): Promise<void> {
    if (this.storage === null || backup.held !== undefined || (await this.check(backup.id)).length > 0) return
    await this.#keep({ ...backup, held: await this.storage.upload(backup) })
  }

  async get(id: string): Promise<Backup> {
    for (const component of await foldersIn(this.#root)) {
      const backup = await this.#read(component, id)
      if (backup !== null) return backup
    }
    throw new BackoutError({
      code: 'backup_gone',
      what: `The backup ${id} is not in ${this.#root}`,
      next: 'bring it back from where backups are copied to, or choose another release',
      exit: 'blocked',
    })
  }

  async list(component: string): Promise<Backup[]> {
    const ids = await foldersIn(join(this.#root, component))
    // A manifest that cannot be read makes no backup of its folder, and must not stop the next one from being made.
    const all = await Promise.all(ids.map(id => this.#read(component, id).catch(() => null)))
    return all.filter(b => b !== null).toSorted((a, b) => byText(b.createdAt, a.createdAt))
  }

  check(id: string, signal?: AbortSignal): Promise<string[]> {
    return this.#compare(id, 'bring', signal)
  }

  look(id: string, signal?: AbortSignal): Promise<string[]> {
    return this.#compare(id, 'look', signal)
  }

  async #compare(id: string, how: 'bring' | 'look', signal?: AbortSignal): Promise<string[]> {
    const backup = await this.get(id)
    const wrong: string[] = []
    for (const file of backup.files) {
      signal?.throwIfAborted()
      const found = await describeFile(backup.dir, file.path).catch(() => null)
      if (found?.sha256 === file.sha256) continue
      const here = found === null ? `${file.path} is gone` : `${file.path} is not what was backed up`
      const away = backup.held?.[file.path] !== undefined && this.storage !== null
      const said = away ? await this.storage[how](backup, file) : here
      if (said !== null) wrong.push(said)
    }
    return wrong
  }

  /** The manifest goes first: what is left after a crash is no backup. The storage's copies go with it. */
  async remove(id: string): Promise<void> {
    const backup = await this.get(id)
    if (backup.held !== undefined && this.storage === null) throw storageUnset(id)
    await this.storage?.remove(backup)
    await rm(join(backup.dir, MANIFEST), { force: true })
    await rm(backup.dir, { recursive: true, force: true })
  }

  async recordProof(id: string, proof: Proof): Promise<Backup> {
    const backup = { ...(await this.get(id)), proof }
    await this.#keep(backup)
    return backup
  }

  /** Takes in a backup that lies whole in another folder of the same disk, such as one of an exported release. */
  async adopt(backup: Backup): Promise<void> {
    const to = join(this.#root, backup.component, backup.id)
    await mkdir(dirname(to), { recursive: true, mode: 0o700 })
    await this.#keep(backup)
    await rename(backup.dir, to)
    await syncFolder(dirname(to))
  }

  #keep({ dir, ...backup }: Backup): Promise<void> {
    return this.#sealed.write(join(dir, MANIFEST), this.#about(backup.component, backup.id), toJson(backup))
  }

  async #read(component: string, id: string): Promise<Backup | null> {
    const dir = join(this.#root, component, id)
    const kept = await this.#sealed.read<Omit<Backup, 'dir'>>(join(dir, MANIFEST), this.#about(component, id))
    return kept === null ? null : { ...kept, dir }
  }

  #about(component: string, id: string): [string, string, string] {
    return ['backup', this.#environment, `${component}/${id}`]
  }
}

function storageUnset(id: string): BackoutError {
  return new BackoutError({
    code: 'storage_unset',
    what: `The files of the backup ${id} lie in a storage that backout.yaml does not name any more`,
    next: 'name it again under `backups.s3`, or take them away there by hand',
    exit: 'usage',
  })
}

async function foldersIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
  return entries.filter(e => e.isDirectory()).map(e => e.name)
}

async function foldersUnder(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return [...entries.filter(e => e.isDirectory()).map(e => join(e.parentPath, e.name)), dir]
}

async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const paths = entries.filter(e => e.isFile()).map(e => relative(dir, join(e.parentPath, e.name)))
  return paths.filter(path => path !== MANIFEST)
}

async function describeFile(dir: string, path: string): Promise<{ path: string; bytes: number; sha256: string }> {
  const full = join(dir, path)
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(full)) hash.update(chunk as Buffer)
  const file = await open(full, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
  return { path, bytes: (await stat(full)).size, sha256: hash.digest('hex') }
}
