import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Sealed, Vault } from '../core/contract.ts'
import { BackoutError, messageOf } from '../core/errors.ts'
import { writeWhole } from './files.ts'
import { type Keys, macWith } from './keys.ts'

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
    const known = await stat(this.#path(sealed.id)).catch(() => null)
    if (known === null) await writeWhole(this.#path(sealed.id), await encrypt(content, this.#keys.identities))
    return sealed
  }

  async open(sealed: Sealed): Promise<Uint8Array> {
    let content: Uint8Array
    try {
      content = await decrypt(await readFile(this.#path(sealed.id)), this.#keys.identities)
    } catch (error) {
      throw new BackoutError({
        code: 'vault_unreadable',
        what: `The sealed content ${sealed.id} cannot be opened`,
        cause: messageOf(error),
        next: 'bring back the vault folder of the home, or the key it was sealed with (docs/security.md)',
        exit: 'blocked',
        from: error,
      })
    }
    if (this.mac(content) === sealed.mac) return content
    throw new BackoutError({
      code: 'vault_altered',
      what: `The sealed content ${sealed.id} is not what was sealed`,
      next: 'bring back the vault folder of the home from a copy',
      exit: 'tampered',
    })
  }

  /** Makes a new key, seals everything again with it, and only then forgets the old ones. Answers how many. */
  async rotate(): Promise<number> {
    if (this.#keys.vaultFile === null) {
      throw new BackoutError({
        code: 'key_elsewhere',
        what: 'The vault key comes from `keys.vault` of backout.yaml, so Backout cannot replace it',
        next: 'put the new identity as the first line where it comes from, keep the old one below, then rotate again with both',
        exit: 'usage',
      })
    }
    const fresh = await (await age()).generateIdentity()
    const both = { ...this.#keys, identities: [fresh, ...this.#keys.identities] }
    await writeWhole(this.#keys.vaultFile, `${both.identities.join('\n')}\n`)
    const names = (await readdir(this.#folder).catch(() => [])).filter(name => name.endsWith('.age'))
    for (const name of names) {
      const path = join(this.#folder, name)
      await writeWhole(path, await encrypt(await decrypt(await readFile(path), both.identities), [fresh]))
    }
    await writeWhole(this.#keys.vaultFile, `${fresh}\n`)
    this.#keys = { ...both, identities: [fresh] }
    return names.length
  }

  #path(id: string): string {
    return join(this.#folder, `${id}.age`)
  }
}

/** Loaded when something is sealed or opened: most commands do neither. */
function age() {
  return import('age-encryption')
}

async function encrypt(content: Uint8Array, identities: readonly string[]): Promise<Uint8Array> {
  const { Encrypter, identityToRecipient } = await age()
  const encrypter = new Encrypter()
  encrypter.addRecipient(await identityToRecipient(identities[0] ?? ''))
  return encrypter.encrypt(content)
}

async function decrypt(content: Uint8Array, identities: readonly string[]): Promise<Uint8Array> {
  const { Decrypter } = await age()
  const decrypter = new Decrypter()
  for (const identity of identities) decrypter.addIdentity(identity)
  return decrypter.decrypt(content)
}
