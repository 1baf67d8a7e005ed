import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { access, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress } from 'node:zlib'
import { Encrypter } from 'age-encryption'
import { pack as openTar, type Pack } from 'tar-stream'
import { type Clock, iso } from '../core/clock.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import { hex, syncFolder } from './files.ts'
import type { Ledger } from './index.ts'
import { type Entry, FORMAT, MANIFEST, type Manifest, RELEASE, sealedIn } from './package-format.ts'
import { person, type Release } from './releases.ts'

export { type Imported, importPackage, type Unlock } from './package-import.ts'

/** What an export is encrypted with; never nothing. */
export type Sealing = { readonly recipient: string } | { readonly passphrase: string }

export interface Exported {
  readonly file: string
  readonly bytes: number
  /** Of the file: shown on both sides, so that they can be compared. */
  readonly sha256: string
  readonly captures: number
  readonly backups: number
  readonly sealed: number
}

interface Item extends Entry {
  /** The content, read when its turn comes: a backup may be larger than the memory. */
  read(): AsyncIterable<Uint8Array> | Promise<Iterable<Uint8Array>>
}

/**
 * Writes a release with its captures, sealed contents and backups as one encrypted file: written aside, synced, renamed.
 * Memory stays flat whatever the size. Throws `backup_gone`, `backup_altered`, `vault_unreadable` where the release is
 * not whole any more, `file_exists`, `recipient_invalid`; then there is no file.
 */
export async function exportPackage(
  { ledger, release, environment }: { ledger: Ledger; release: Release; environment: string },
  file: string,
  options: { sealing: Sealing; clock: Clock; signal?: AbortSignal },
): Promise<Exported> {
  await refuseExisting(file)
  const encrypter = encrypterOf(options.sealing)
  const items = await contents(ledger, release)
  const manifest: Manifest = {
    format: FORMAT,
    release: release.name,
    environment,
    exportedAt: iso(options.clock.now()),
    exportedBy: person(),
    captures: release.captures.map(c => c.id),
    entries: items.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
  }
  const all = [fixed(MANIFEST, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`)), ...items]
  const written = await writeAside(file, all, encrypter, options.signal)
  const sealed = items.filter(i => i.name.startsWith('vault/')).length
  const backups = new Set(release.captures.flatMap(c => c.backups)).size
  return { file, ...written, captures: release.captures.length, backups, sealed }
}

async function refuseExisting(file: string): Promise<void> {
  const there = await access(file).then(
    () => true,
    () => false,
  )
  if (!there) return
  const next = 'name another file, or take that one away first'
  throw new BackoutError({
    code: 'file_exists',
    what: `${file} is there already; it was left alone`,
    next,
    exit: 'usage',
  })
}

function encrypterOf(sealing: Sealing): Encrypter {
  const encrypter = new Encrypter()
  if ('passphrase' in sealing) {
    encrypter.setPassphrase(sealing.passphrase)
    return encrypter
  }
  try {
    encrypter.addRecipient(sealing.recipient)
    return encrypter
  } catch (error) {
    throw new BackoutError({
      code: 'recipient_invalid',
      what: `"${sealing.recipient}" is no age recipient`,
      cause: messageOf(error),
      next: 'where it shall be imported, `backout release recipient` says one: age1…',
      exit: 'usage',
    })
  }
}

/** What goes into the package. Everything is looked at once before a byte is written. */
async function contents(ledger: Ledger, release: Release): Promise<Item[]> {
  const { captures, marks } = release
  const items: Item[] = [fixed(RELEASE, Buffer.from(`${JSON.stringify({ captures, marks }, null, 2)}\n`))]
  for (const sealed of sealedIn(captures)) {
    const item = fixed(`vault/${sealed.id}`, await ledger.vault.open(sealed))
    items.push({ ...item, read: async () => [await ledger.vault.open(sealed)] })
  }
  for (const id of new Set(captures.flatMap(c => c.backups))) items.push(...(await backupItems(ledger, id)))
  return items
}

async function backupItems(ledger: Ledger, id: string): Promise<Item[]> {
  const { dir, held, ...backup } = await ledger.backups.get(id)
  // Those that lie elsewhere are brought here.
  const [wrong] = held === undefined ? [] : await ledger.backups.check(id)
  if (wrong !== undefined) throw backupAltered(id, wrong)
  const folder = `backups/${backup.component}/${id}`
  const items = [fixed(`${folder}/backup.json`, Buffer.from(`${JSON.stringify(backup, null, 2)}\n`))]
  for (const { path, bytes, sha256 } of backup.files) {
    const found = await stat(join(dir, path)).catch(() => null)
    if (found?.size !== bytes) throw backupAltered(id, `${path} is not as long as it was`)
    items.push({ name: `${folder}/${path}`, bytes, sha256, read: () => createReadStream(join(dir, path)) })
  }
  return items
}

function backupAltered(id: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'backup_altered',
    what: `The backup ${id} is not what was backed up, so its release is not exported`,
    cause,
    next: 'bring the backup back from where backups are copied to',
    exit: 'tampered',
  })
}

function fixed(name: string, content: Uint8Array): Item {
  const sha256 = createHash('sha256').update(content).digest('hex')
  return { name, bytes: content.length, sha256, read: async () => [content] }
}

async function writeAside(
  file: string,
  items: readonly Item[],
  encrypter: Encrypter,
  signal: AbortSignal | undefined,
): Promise<{ bytes: number; sha256: string }> {
  const aside = join(dirname(file), `.${basename(file)}.${hex(4)}.new`)
  const hash = createHash('sha256')
  let bytes = 0
  try {
    {
      await using handle = await open(aside, 'wx', 0o600)
      const tar = openTar()
      tar.on('error', seenElsewhere)
      const filled = fill(tar, items).catch((error: Error) => {
        tar.destroy(error)
        throw error
      })
      const encrypt = (plain: AsyncIterable<Uint8Array>) => encrypted(encrypter, plain)
      const write = async (chunks: AsyncIterable<Uint8Array>) => {
        for await (const chunk of chunks) {
          hash.update(chunk)
          bytes += chunk.length
          await handle.writeFile(chunk)
        }
      }
      const steps = pipeline(Readable.from(tar), createZstdCompress(), encrypt, write, { signal })
      // Where filling fails, that is the cause, and the end of the pipeline only its consequence.
      const [fillEnd, writeEnd] = await Promise.allSettled([filled, steps])
      signal?.throwIfAborted()
      if (fillEnd.status === 'rejected' && fillEnd.reason instanceof BackoutError) throw fillEnd.reason
      if (writeEnd.status === 'rejected') throw writeEnd.reason
      if (fillEnd.status === 'rejected') throw fillEnd.reason
      await handle.sync()
    }
    await rename(aside, file)
    await syncFolder(dirname(file))
    return { bytes, sha256: hash.digest('hex') }
  } catch (error) {
    await rm(aside, { force: true })
    throw error
  }
}

/** Where filling or writing fails, that says it; the streams only pass it on. */
function seenElsewhere(): void {}

async function* encrypted(encrypter: Encrypter, plain: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  yield* await encrypter.encrypt(ReadableStream.from(plain) as ReadableStream<Uint8Array>)
}

async function fill(tar: Pack, items: readonly Item[]): Promise<void> {
  for (const item of items) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const entry = tar.entry({ name: item.name, size: item.bytes, mode: 0o600 }, error =>
      error ? reject(error) : resolve(),
    )
    promise.catch(seenElsewhere)
    entry.on('error', seenElsewhere)
    const hash = createHash('sha256')
    for await (const chunk of await item.read()) {
      hash.update(chunk)
      if (!entry.write(chunk)) await Promise.race([once(entry, 'drain'), promise])
    }
    if (hash.digest('hex') !== item.sha256) throw backupAltered(item.name.split('/')[2] ?? item.name, item.name)
    entry.end(null)
    await promise
  }
  tar.finalize()
}

/** The file's own checksum, to be compared with what the export said. */
export async function checksumOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Whether a package asks for a passphrase, by its first lines; null where it is none at all. */
export async function wantsPassphrase(file: string): Promise<boolean | null> {
  const handle = await open(file, 'r').catch(() => null)
  if (handle === null) return null
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0)
    const text = buffer.subarray(0, bytesRead).toString('latin1')
    return text.startsWith('age-encryption.org/v1\n') ? text.includes('\n-> scrypt ') : null
  } finally {
    await handle.close()
  }
}
