import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Sealed, Vault } from '../core/contract.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import { remember } from '../core/secret.ts'
import { namesIn, writeWhole } from './files.ts'
import { identitiesIn, type Keys, macWith } from './keys.ts'

/** Encrypted content, one file each, named by its keyed hash: equal content is kept once. */
export class FileVault implements Vault {
  readonly #folder: string
  #keys: Keys

  constructor(home: string, keys: Keys) {
    this.#folder = join(home, 'vault')
    this.#keys = keys
  }

  mac(content: Uint8Array): string {
    return macWith(this.#keys.chain, content)
  }

  async seal(content: Uint8Array, _about: string): Promise<Sealed> {
    const mac = this.mac(content)
    const sealed = { id: mac.slice(0, 32), mac }
    // What is there already is kept only where it can be opened: a damaged one would be relied on.
    const known = await this.#read(sealed.id).catch(() => null)
    if (known === null || this.mac(known) !== mac) await this.#put(sealed.id, content)
    return sealed
  }

  async #put(id: string, content: Uint8Array): Promise<void> {
    for (;;) {
      const [newest = ''] = this.#keys.identities
      await writeWhole(this.#path(id), await encrypt(content, newest))
      // Another process may have rotated the keys meanwhile, and forgotten this one.
      await this.#reload()
      if (this.#keys.identities[0] === newest) return
    }
  }

  async #read(id: string): Promise<Uint8Array> {
    const sealed = await readFile(this.#path(id))
    try {
      return await decrypt(sealed, this.#keys.identities)
    } catch (error) {
      if (!(await this.#reload())) throw error
      return decrypt(sealed, this.#keys.identities)
    }
  }

  /** Takes over the keys that are in the key file now. False: they are those that are known. */
  async #reload(): Promise<boolean> {
    const { vaultFile, identities } = this.#keys
    const text = vaultFile === null ? null : await readFile(vaultFile, 'utf8').catch(() => null)
    const now = text === null ? [] : identitiesIn(text)
    if (now.length === 0 || now.join() === identities.join()) return false
    for (const identity of now) remember(identity)
    this.#keys = { ...this.#keys, identities: now }
    return true
  }

  async open(sealed: Sealed): Promise<Uint8Array> {
    let content: Uint8Array
    try {
      content = await this.#read(sealed.id)
    } catch (error) {
      throw unreadable(sealed.id, error)
    }
    if (this.mac(content) === sealed.mac) return content
    throw new BackoutError({
      code: 'vault_altered',
      what: `The sealed content ${sealed.id} is not what was sealed`,
      next: 'bring back the vault folder of the home from a copy',
      exit: 'tampered',
    })
  }

  /**
   * Makes a new key, seals everything again with it, and only then forgets the old ones. Answers how many. Where the
   * configuration brings the keys, its newest one takes the place of the new one, and nothing is forgotten.
   */
  async rotate(): Promise<number> {
    const { vaultFile, identities } = this.#keys
    if (vaultFile === null && identities.length < 2) {
      throw new BackoutError({
        code: 'key_elsewhere',
        what: 'The vault key comes from `keys.vault` of backout.yaml, so Backout cannot replace it',
        next: 'put the new identity as the first line where it comes from, keep the old one below, then rotate again with both',
        exit: 'usage',
      })
    }
    if (vaultFile === null) return this.#sealAgain(identities)
    await this.#reload()
    const fresh = await (await age()).generateIdentity()
    remember(fresh)
    this.#keys = { ...this.#keys, identities: [fresh, ...this.#keys.identities] }
    await writeWhole(vaultFile, `${this.#keys.identities.join('\n')}\n`)
    const count = await this.#sealAgain(this.#keys.identities)
    await writeWhole(vaultFile, `${fresh}\n`)
    this.#keys = { ...this.#keys, identities: [fresh] }
    return count
  }

  /** Seals with the newest key what that one cannot open, until there is nothing of the kind. Answers how many. */
  async #sealAgain(identities: readonly string[]): Promise<number> {
    const [newest = ''] = identities
    const done = new Set<string>()
    for (let before = -1; before !== done.size; ) {
      before = done.size
      for (const name of await namesIn(this.#folder)) {
        if (!name.endsWith('.age')) continue
        const sealed = await readFile(join(this.#folder, name))
        if (await decrypt(sealed, [newest]).then(Boolean, () => false)) continue
        const content = await decrypt(sealed, identities).catch((error: unknown) => {
          throw unreadable(name.replace(/\.age$/, ''), error)
        })
        await writeWhole(join(this.#folder, name), await encrypt(content, newest))
        done.add(name)
      }
    }
    return done.size
  }

  #path(id: string): string {
    return join(this.#folder, `${id}.age`)
  }
}

function unreadable(id: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'vault_unreadable',
    what: `The sealed content ${id} cannot be opened`,
    cause: messageOf(error),
    next: 'bring back the vault folder of the home, or the key it was sealed with (docs/security.md)',
    exit: 'blocked',
    from: error,
  })
}

/** Loaded when something is sealed or opened: most commands do neither. */
function age() {
  return import('age-encryption')
}

/** Loads it already while others are waited for. Who then seals or opens is told where it cannot be loaded. */
export function warmVault(): void {
  age().catch(() => {})
}

async function encrypt(content: Uint8Array, identity: string): Promise<Uint8Array> {
  const { Encrypter, identityToRecipient } = await age()
  const encrypter = new Encrypter()
  encrypter.addRecipient(await identityToRecipient(identity))
  return bytesOf(await encrypter.encrypt(ReadableStream.from([content])))
}

async function decrypt(content: Uint8Array, identities: readonly string[]): Promise<Uint8Array> {
  const { Decrypter } = await age()
  const decrypter = new Decrypter()
  for (const identity of identities) decrypter.addIdentity(identity)
  return bytesOf(await decrypter.decrypt(ReadableStream.from([content])))
}

/** As streams: what is given as bytes goes through a Response, with which all of Node's `fetch` is loaded (30 ms). */
async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}
