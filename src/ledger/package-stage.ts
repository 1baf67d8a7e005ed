import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createZstdDecompress } from 'node:zlib'
import { Decrypter } from 'age-encryption'
import { type Header, extract as openTar } from 'tar-stream'
import type { Backup, Sealed } from '../core/contract.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import { sameJson } from '../core/json.ts'
import { syncFolder } from './files.ts'
import {
  altered,
  backupSchema,
  type Entry,
  FORMAT,
  MANIFEST,
  type Manifest,
  manifestSchema,
  RELEASE,
  type ReleaseFile,
  releaseSchema,
  sealedIn,
} from './package-format.ts'
import type { Capture } from './releases.ts'
import type { FileVault } from './vault.ts'

/** What a package may be opened with; each is tried. */
export interface Unlock {
  readonly identities: readonly string[]
  readonly passphrase: string | null
}

interface Options {
  readonly unlock: Unlock
  /** Empty; files of backups are laid here. */
  readonly folder: string
  /** Of this folder: sealed contents never lie on the disk in the clear. */
  readonly vault: FileVault
  /** Asked once the sizes are known. */
  readonly room: (manifest: Manifest) => Promise<void>
  readonly signal?: AbortSignal
}

/** A package that was read to its end and is whole. */
export interface Staged {
  readonly manifest: Manifest
  readonly release: ReleaseFile
  /** With `dir` in the staging folder. */
  readonly backups: readonly Backup[]
  /** References of this home. */
  readonly sealed: readonly Sealed[]
  /** From each id and mac of the other home to that of this one. */
  readonly fresh: ReadonlyMap<string, string>
}

type Source = AsyncIterable<Uint8Array>

/** Small entries are held in memory; a release.json or backup.json of this size is no honest one. */
const LARGEST = 256 * 1024 * 1024

export async function stage(file: string, options: Options): Promise<Staged> {
  const reader = new Reader(file, options)
  const tar = openTar()
  const read = (async () => {
    for await (const entry of tar) await reader.take(entry.header, entry as unknown as Source)
  })().catch((error: unknown) => {
    tar.destroy(error as Error)
    throw error
  })
  const plain = (chunks: Source) => decrypted(file, options.unlock, chunks)
  const steps = pipeline(
    createReadStream(file),
    plain,
    createZstdDecompress(),
    tar as unknown as NodeJS.WritableStream,
    {
      signal: options.signal,
    },
  )
  const [readEnd, stepsEnd] = await Promise.allSettled([read, steps])
  options.signal?.throwIfAborted()
  const errors = [readEnd, stepsEnd].flatMap(end => (end.status === 'rejected' ? [end.reason as unknown] : []))
  if (errors.length > 0) throw told(file, errors)
  return await reader.finish()
}

/** The error that says most: our own before those of streams, which only say that they ended. */
function told(file: string, errors: readonly unknown[]): unknown {
  const own = errors.find(error => error instanceof BackoutError)
  if (own !== undefined) return own
  const system = errors.find(e => /^E(?!RR)[A-Z]+$/.test((e as NodeJS.ErrnoException).code ?? ''))
  if (system === undefined) return altered(file, messageOf(errors.at(-1)), errors.at(-1))
  return new BackoutError({
    code: 'package_unreadable',
    what: `${file} could not be taken in; nothing of it is in the ledger`,
    cause: messageOf(system),
    next: 'look at the file, its rights and the disk',
    exit: 'failed',
    from: system,
  })
}

async function* decrypted(file: string, unlock: Unlock, chunks: Source): Source {
  const decrypter = new Decrypter()
  for (const identity of unlock.identities) decrypter.addIdentity(identity)
  if (unlock.passphrase !== null) decrypter.addPassphrase(unlock.passphrase)
  const opened = await decrypter
    .decrypt(ReadableStream.from(chunks) as ReadableStream<Uint8Array>)
    .catch((error: unknown) => {
      throw notOpened(file, error)
    })
  yield* opened
}

function notOpened(file: string, error: unknown): unknown {
  const cause = messageOf(error)
  if (/^E(?!RR)[A-Z]+$/.test((error as NodeJS.ErrnoException).code ?? '')) return error
  if (/no identity matched/.test(cause)) {
    return new BackoutError({
      code: 'package_locked',
      what: `${file} cannot be opened with this key or passphrase`,
      cause: 'it was encrypted for another one, or its first lines were altered',
      next: 'give the passphrase that it was exported with, or the key: --identity FILE',
      exit: 'blocked',
      from: error,
    })
  }
  if (/invalid version/.test(cause)) {
    const next = 'name a file that `backout release export` wrote'
    return new BackoutError({ code: 'not_a_package', what: `${file} is no exported release`, next, exit: 'usage' })
  }
  return altered(file, cause, error)
}

/** Takes entry after entry, each against the manifest that comes first. */
class Reader {
  readonly #file: string
  readonly #options: Options
  readonly #seen = new Set<string>()
  readonly #entries = new Map<string, Entry>()
  readonly #folders = new Set<string>()
  readonly #documents = new Map<string, Uint8Array>()
  readonly #references = new Map<string, Sealed>()
  #manifest: Manifest | null = null

  constructor(file: string, options: Options) {
    this.#file = file
    this.#options = options
  }

  async take(header: Header, content: Source): Promise<void> {
    if (this.#manifest === null) return this.#takeManifest(header, content)
    const { name } = header
    const entry = this.#entries.get(name)
    if (header.type !== 'file') throw this.#altered(`${name} is a ${header.type}, and only files belong there`)
    if (entry === undefined) throw this.#altered(`${name} is not in its manifest`)
    if (this.#seen.has(name)) throw this.#altered(`${name} is there twice`)
    if (header.size !== entry.bytes) throw this.#altered(`${name} is not as long as its manifest says`)
    this.#seen.add(name)
    const hash = createHash('sha256')
    if (name.startsWith('backups/') && !/^[^/]+\/[^/]+\/[^/]+\/backup\.json$/.test(name)) {
      await this.#lay(name, content, hash)
    } else await this.#hold(name, await this.#whole(header, content, hash))
    if (hash.digest('hex') !== entry.sha256) throw this.#altered(`${name} does not have the checksum of its manifest`)
  }

  async #takeManifest(header: Header, content: Source): Promise<void> {
    if (header.name !== MANIFEST || header.type !== 'file') throw this.#altered('it does not begin with its manifest')
    const said = this.#json(MANIFEST, await this.#whole(header, content)) as { format?: unknown }
    if (typeof said.format === 'number' && said.format > FORMAT) throw newer(this.#file, said.format)
    const parsed = manifestSchema.safeParse(said)
    if (!parsed.success) throw this.#altered(`its manifest is none: ${messageOf(parsed.error)}`)
    await this.#options.room(parsed.data)
    this.#manifest = parsed.data
    for (const entry of parsed.data.entries) this.#entries.set(entry.name, entry)
  }

  /** Synced at once: what is moved into place later must not turn out empty after a power cut. */
  async #lay(name: string, content: Source, hash: { update(chunk: Uint8Array): unknown }): Promise<void> {
    const path = join(this.#options.folder, name)
    for (let dir = dirname(path); dir !== this.#options.folder; dir = dirname(dir)) this.#folders.add(dir)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await using handle = await open(path, 'wx', 0o600)
    for await (const chunk of content) {
      hash.update(chunk)
      await handle.writeFile(chunk)
    }
    await handle.sync()
  }

  async #hold(name: string, content: Uint8Array): Promise<void> {
    if (!name.startsWith('vault/')) this.#documents.set(name, content)
    else this.#references.set(name.slice('vault/'.length), await this.#options.vault.seal(content, name))
  }

  async #whole(header: Header, content: Source, hash?: { update(chunk: Uint8Array): unknown }): Promise<Uint8Array> {
    if (header.size > LARGEST) throw this.#altered(`${header.name} is too large`)
    const chunks: Uint8Array[] = []
    for await (const chunk of content) {
      hash?.update(chunk)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  /** Once everything was read: nothing is missing, and the parts fit together. */
  async finish(): Promise<Staged> {
    const manifest = this.#manifest
    if (manifest === null) throw this.#altered('it is empty')
    const missing = manifest.entries.find(e => !this.#seen.has(e.name))
    if (missing !== undefined) throw this.#altered(`${missing.name} is missing`)
    const release = this.#release(manifest)
    const fresh = new Map<string, string>()
    const sealed = sealedIn(release.captures as unknown as Capture[]).map(old => {
      const mine = this.#references.get(old.id)
      if (mine === undefined) throw this.#altered(`the sealed content ${old.id} is missing`)
      fresh.set(old.id, mine.id).set(old.mac, mine.mac)
      return mine
    })
    const backups: Backup[] = []
    for (const id of new Set(release.captures.flatMap(c => c.backups))) backups.push(await this.#backup(id, manifest))
    for (const folder of this.#folders) await syncFolder(folder)
    return { manifest, release, backups, sealed, fresh }
  }

  #release(manifest: Manifest): ReleaseFile {
    const parsed = releaseSchema.safeParse(this.#json(RELEASE, this.#documents.get(RELEASE)))
    if (!parsed.success) throw this.#altered(`${RELEASE} cannot be read: ${messageOf(parsed.error)}`)
    const { captures } = parsed.data
    const fits = captures.every(c => c.release === manifest.release) && new Set(captures.map(c => c.id)).size
    if (fits !== manifest.captures.length || !captures.every(c => manifest.captures.includes(c.id))) {
      throw this.#altered('its captures are not those that its manifest names')
    }
    return parsed.data
  }

  async #backup(id: string, manifest: Manifest): Promise<Backup> {
    const own = manifest.entries.filter(e => e.name.split('/')[2] === id)
    const document = own.find(e => e.name.split('/').length === 4 && e.name.endsWith('/backup.json'))
    if (document === undefined) throw this.#altered(`the backup ${id} is missing`)
    const content = this.#documents.get(document.name)
    const parsed = backupSchema.safeParse(this.#json(document.name, content))
    if (!parsed.success) throw this.#altered(`${document.name} cannot be read: ${messageOf(parsed.error)}`)
    const { component, files } = parsed.data
    const folder = `backups/${component}/${id}`
    const wanted = files.map(f => ({ name: `${folder}/${f.path}`, bytes: f.bytes, sha256: f.sha256 }))
    const there = own.filter(e => e !== document)
    const byName = (a: Entry, b: Entry) => (a.name < b.name ? -1 : 1)
    if (parsed.data.id !== id || !sameJson(wanted.toSorted(byName), there.toSorted(byName))) {
      throw this.#altered(`the files of the backup ${id} are not those that it names`)
    }
    await this.#lay(document.name, one(content ?? new Uint8Array()), { update: () => {} })
    return { ...(parsed.data as Omit<Backup, 'dir'>), dir: join(this.#options.folder, folder) }
  }

  #json(name: string, content: Uint8Array | undefined): unknown {
    if (content === undefined) throw this.#altered(`${name} is missing`)
    try {
      return JSON.parse(Buffer.from(content).toString('utf8'))
    } catch (error) {
      throw this.#altered(`${name} cannot be read: ${messageOf(error)}`)
    }
  }

  #altered(cause: string): BackoutError {
    return altered(this.#file, cause)
  }
}

async function* one(content: Uint8Array): Source {
  yield content
}

function newer(file: string, format: number): BackoutError {
  return new BackoutError({
    code: 'package_newer',
    what: `${file} was exported by a newer Backout (format ${format}, this one knows ${FORMAT})`,
    next: 'import it with the version that exported it, or a newer one',
    exit: 'blocked',
  })
}
