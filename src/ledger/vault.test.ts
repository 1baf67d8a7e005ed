import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateIdentity } from 'age-encryption'
import { describe, expect, it } from 'vitest'
import { folder, keysIn } from '../../test/support/ledger.ts'
import { redact } from '../core/secret.ts'
import { identitiesIn, type Keys } from './keys.ts'
import { FileVault } from './vault.ts'

const bytes = (text: string) => Buffer.from(text)
const SECRET = 'DB_PASSWORD=hunter2hunter2'

async function vault() {
  const home = folder()
  const keys = await keysIn(home)
  const files = () => readdirSync(join(home, 'vault')).toSorted()
  const path = (id: string) => join(home, 'vault', `${id}.age`)
  return { home, keys, vault: new FileVault(home, keys), files, path }
}

/** What another process has that began now: the keys as they are in the file. */
function reopened(home: string, keys: Keys): FileVault {
  return new FileVault(home, { ...keys, identities: identitiesIn(readFileSync(keys.vaultFile ?? '', 'utf8')) })
}

describe('A3: the vault', () => {
  it('gives back what was sealed, and keeps nothing of it in the clear', async () => {
    const v = await vault()
    const sealed = await v.vault.seal(bytes(SECRET), 'env')
    expect(Buffer.from(await v.vault.open(sealed)).toString()).toBe(SECRET)
    expect(readFileSync(v.path(sealed.id)).toString('latin1')).not.toContain('hunter2')
    expect(JSON.stringify(sealed)).not.toContain('hunter2')
    expect(await v.vault.open(await v.vault.seal(new Uint8Array(), 'empty'))).toHaveLength(0)
  })

  it('keeps equal content once, and tells different content apart without saying what it is', async () => {
    const v = await vault()
    const [a, b] = [await v.vault.seal(bytes(SECRET), 'a'), await v.vault.seal(bytes(SECRET), 'b')]
    expect(a).toEqual(b)
    expect(v.files()).toHaveLength(1)
    expect((await v.vault.seal(bytes('1'), 'c')).mac).not.toBe(a.mac)
    const other = new FileVault(folder(), { ...v.keys, chain: Buffer.alloc(32, 1) })
    expect(other.mac(bytes(SECRET))).not.toBe(a.mac)
  })

  it('seals twice at once and is whole', async () => {
    const v = await vault()
    const sealed = await Promise.all(Array.from({ length: 8 }, () => v.vault.seal(bytes(SECRET), 'x')))
    expect(new Set(sealed.map(s => s.id)).size).toBe(1)
    expect(v.files()).toHaveLength(1)
    expect(Buffer.from(await v.vault.open(sealed[0] ?? { id: '', mac: '' })).toString()).toBe(SECRET)
  })

  it.each<[string, (v: Awaited<ReturnType<typeof vault>>, id: string, other: string) => void, string]>([
    ['is gone', (v, id) => rmSync(v.path(id)), 'vault_unreadable'],
    ['was cut', (v, id) => writeFileSync(v.path(id), readFileSync(v.path(id)).subarray(0, 150)), 'vault_unreadable'],
    ['has one bit turned', (v, id) => flip(v.path(id)), 'vault_unreadable'],
    ['is another content', (v, id, other) => renameSync(v.path(other), v.path(id)), 'vault_altered'],
  ])('does not open what %s, and seals it anew when it has it', async (_, harm, code) => {
    const v = await vault()
    const sealed = await v.vault.seal(bytes(SECRET), 'env')
    const other = await v.vault.seal(bytes('another'), 'env')
    harm(v, sealed.id, other.id)
    await expect(v.vault.open(sealed)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(sealed.id) as string,
    })
    await v.vault.seal(bytes(SECRET), 'env')
    expect(Buffer.from(await v.vault.open(sealed)).toString()).toBe(SECRET)
  })

  it('opens nothing with another key', async () => {
    const v = await vault()
    const sealed = await v.vault.seal(bytes(SECRET), 'env')
    const stranger = new FileVault(v.home, { ...v.keys, vaultFile: null, identities: [await generateIdentity()] })
    await expect(stranger.open(sealed)).rejects.toMatchObject({ code: 'vault_unreadable', exit: 'blocked' })
  })
})

describe('A3: rotation', () => {
  it('seals everything with a new key and forgets the old one', async () => {
    const v = await vault()
    const sealed = await Promise.all(['one', 'two', 'three'].map(text => v.vault.seal(bytes(text), text)))
    expect(await v.vault.rotate()).toBe(3)
    const now = identitiesIn(readFileSync(v.keys.vaultFile, 'utf8'))
    expect(now).toHaveLength(1)
    expect(now).not.toEqual(v.keys.identities)
    expect(redact(now[0] ?? '')).not.toContain('AGE-SECRET-KEY')
    for (const one of [v.vault, reopened(v.home, v.keys)]) {
      const opened = await Promise.all(sealed.map(async s => Buffer.from(await one.open(s)).toString()))
      expect(opened).toEqual(['one', 'two', 'three'])
    }
    const old = new FileVault(v.home, { ...v.keys, vaultFile: null })
    for (const one of sealed) await expect(old.open(one)).rejects.toMatchObject({ code: 'vault_unreadable' })
    expect(v.files()).toHaveLength(3)
  })

  it('is gone on with after a process died in the middle, whatever was done by then', async () => {
    for (let done = 0; done <= 3; done++) {
      const v = await vault()
      const sealed = await Promise.all(['one', 'two', 'three'].map(text => v.vault.seal(bytes(text), text)))
      const fresh = await generateIdentity()
      const both = [fresh, ...v.keys.identities]
      writeFileSync(v.keys.vaultFile, `${both.join('\n')}\n`)
      // So many were sealed again; beside them lies the half of a file that the process died over.
      const newest = new FileVault(v.home, { ...v.keys, identities: [fresh] })
      for (const name of v.files().slice(0, done)) {
        const content = await v.vault.open(sealed.find(s => name.startsWith(s.id)) ?? { id: '', mac: '' })
        rmSync(join(v.home, 'vault', name))
        await newest.seal(content, 'again')
      }
      writeFileSync(join(v.home, 'vault', `${sealed[0]?.id}.age.1234.new`), 'half')
      const next = reopened(v.home, v.keys)
      const opened = async () => Promise.all(sealed.map(async s => Buffer.from(await next.open(s)).toString()))
      expect(await opened()).toEqual(['one', 'two', 'three'])
      await next.rotate()
      expect(await opened()).toEqual(['one', 'two', 'three'])
      expect(identitiesIn(readFileSync(v.keys.vaultFile, 'utf8'))).toHaveLength(1)
    }
  })

  it('keeps both keys where something cannot be opened, and names it', async () => {
    const v = await vault()
    const sealed = await v.vault.seal(bytes(SECRET), 'env')
    const bad = await v.vault.seal(bytes('bad'), 'env')
    writeFileSync(v.path(bad.id), 'nonsense')
    await expect(v.vault.rotate()).rejects.toMatchObject({
      code: 'vault_unreadable',
      message: expect.stringContaining(bad.id) as string,
    })
    expect(identitiesIn(readFileSync(v.keys.vaultFile, 'utf8'))).toHaveLength(2)
    expect(Buffer.from(await reopened(v.home, v.keys).open(sealed)).toString()).toBe(SECRET)
  })

  it('is seen by a process that read the old key before: it opens, and what it seals can be opened', async () => {
    const v = await vault()
    const sealed = await v.vault.seal(bytes(SECRET), 'env')
    const other = reopened(v.home, v.keys)
    await v.vault.rotate()
    const late = await new FileVault(v.home, v.keys).seal(bytes('late'), 'env')
    expect(Buffer.from(await v.vault.open(late)).toString()).toBe('late')
    expect(Buffer.from(await other.open(sealed)).toString()).toBe(SECRET)
  })

  it('with keys from elsewhere seals with the newest of them, and needs two', async () => {
    const v = await vault()
    const sealed = await v.vault.seal(bytes(SECRET), 'env')
    const from = (identities: string[]) => new FileVault(v.home, { ...v.keys, vaultFile: null, identities })
    await expect(from([...v.keys.identities]).rotate()).rejects.toMatchObject({ code: 'key_elsewhere', exit: 'usage' })
    const fresh = await generateIdentity()
    expect(await from([fresh, ...v.keys.identities]).rotate()).toBe(1)
    expect(Buffer.from(await from([fresh]).open(sealed)).toString()).toBe(SECRET)
    expect(await from([fresh, ...v.keys.identities]).rotate()).toBe(0)
  })

  it('of an empty vault is a new key', async () => {
    const v = await vault()
    expect(await v.vault.rotate()).toBe(0)
    expect(identitiesIn(readFileSync(v.keys.vaultFile, 'utf8'))).toHaveLength(1)
  })
})

function flip(path: string): void {
  const content = readFileSync(path)
  content[content.length - 3] = (content.at(-3) ?? 0) ^ 1
  writeFileSync(path, content)
}
