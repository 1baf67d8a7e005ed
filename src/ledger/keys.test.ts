import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { generateIdentity } from 'age-encryption'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { folder } from '../../test/support/ledger.ts'
import type { BackoutError } from '../core/errors.ts'
import { HIDDEN, redact, Secret } from '../core/secret.ts'
import { announcedHeads, announceHead, parseHead } from './heads.ts'
import { keyFolder, openKeys } from './keys.ts'

const before = process.env['BACKOUT_KEYS']
let home = ''
beforeEach(() => {
  home = join(folder(), 'home')
  process.env['BACKOUT_KEYS'] = folder()
})
afterEach(() => {
  if (before === undefined) delete process.env['BACKOUT_KEYS']
  else process.env['BACKOUT_KEYS'] = before
})

const places = (at: string) => ({ folder: keyFolder(at), vaultFile: join(keyFolder(at), 'vault.key') })

describe('the keys of a home', () => {
  it('are made once, outside of it, for their owner only, and hidden from then on', async () => {
    const made = await openKeys(home, {})
    const again = await openKeys(home, {})
    expect(again).toEqual(made)
    expect(made.chain).toHaveLength(32)
    expect(keyFolder(home).startsWith(home)).toBe(false)
    for (const name of ['vault.key', 'chain.key']) expect(statSync(join(made.folder, name)).mode & 0o777).toBe(0o600)
    expect(statSync(made.folder).mode & 0o077).toBe(0)
    const text = `${made.identities[0]} ${Buffer.from(made.chain).toString('hex')}`
    expect(redact(text)).toBe(`${HIDDEN} ${HIDDEN}`)
    expect(readdirSync(home)).toEqual(['chain-key-id'])
    expect(readFileSync(join(home, 'chain-key-id'), 'utf8')).not.toContain(Buffer.from(made.chain).toString('hex'))
  })

  it('that cannot be read or made are said with what to do', async () => {
    const file = join(folder(), 'file')
    writeFileSync(file, '')
    process.env['BACKOUT_KEYS'] = file
    const unusable = {
      code: 'home_unusable',
      exit: 'failed',
      next: expect.stringMatching(/home: in backout.yaml, or BACKOUT_HOME/),
    }
    process.env['BACKOUT_KEYS'] = folder()
    await expect(openKeys(file, {})).rejects.toMatchObject(unusable)
    await expect(openKeys(join(file, 'below'), {})).rejects.toMatchObject(unusable)
    process.env['BACKOUT_KEYS'] = file
    const error = { code: 'keys_unusable', exit: 'failed', next: expect.stringContaining('BACKOUT_KEYS') }
    await expect(openKeys(home, {})).rejects.toMatchObject(error)
  })

  it('of another home are other keys', async () => {
    expect((await openKeys(home, {})).chain).not.toEqual((await openKeys(`${home}2`, {})).chain)
  })

  it('are the same for all who begin at once', async () => {
    const script = `
      import { openKeys } from '${join(import.meta.dirname, 'keys.ts')}'
      const keys = await openKeys(process.argv[1], {})
      process.stdout.write(Buffer.from(keys.chain).toString('hex') + keys.identities.join())`
    const all = Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, home], {
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let said = ''
      child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
      child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
      await once(child, 'close')
      return said
    })
    const said = await Promise.all(all)
    expect(new Set(said).size).toBe(1)
    expect(said[0]).toMatch(/^[0-9a-f]{64}AGE-SECRET-KEY-/)
    expect(readdirSync(keyFolder(home)).toSorted()).toEqual(['chain.key', 'vault.key'])
  })

  it('come from the configuration where it brings them: several identities, the newest first', async () => {
    const [one, two] = [await generateIdentity(), await generateIdentity()]
    const chain = 'AB'.repeat(32)
    const vault = new Secret('${env:KEYS}', `# ours\n${two}\n\n  ${one}  \n`)
    const keys = await openKeys(home, { vault, chain: `${chain}\n` })
    expect(keys).toMatchObject({ identities: [two, one], vaultFile: null })
    expect(Buffer.from(keys.chain).toString('hex').toUpperCase()).toBe(chain)
    expect(existsSync(keys.folder)).toBe(false)
  })

  it.each([
    ['no identity', { vault: '# nothing\n' }],
    ['something else', { vault: 'hunter2hunter2' }],
    ['a chain key that is too short', { chain: 'ab'.repeat(31) }],
    ['a chain key of words', { chain: 'z'.repeat(64) }],
  ])('are refused where they are %s, without showing them', async (_, said) => {
    const error = (await openKeys(home, said).catch((e: unknown) => e)) as { code: string; format(): string }
    expect(error.code).toBe('key_invalid')
    expect(error.format()).not.toContain('hunter2')
    expect(existsSync(join(home, 'chain-key-id'))).toBe(false)
  })

  it('must be those that the home was written with: another chain key is refused', async () => {
    const made = await openKeys(home, {})
    await expect(openKeys(home, { chain: 'ab'.repeat(32) })).rejects.toMatchObject({
      code: 'other_chain_key',
      exit: 'blocked',
    })
    rmSync(made.folder, { recursive: true })
    await expect(openKeys(home, {})).rejects.toMatchObject({ code: 'other_chain_key' })
    // None is made that would only lie there.
    expect(existsSync(made.folder)).toBe(false)
    mkdirSync(made.folder)
    writeFileSync(join(made.folder, 'chain.key'), Buffer.from(made.chain).toString('hex'))
    expect((await openKeys(home, {})).chain).toEqual(made.chain)
  })

  it('of a home that was moved or copied are brought from the folder beside, with the heads', async () => {
    const made = await openKeys(home, {})
    writeFileSync(join(made.folder, 'heads'), 'heads')
    await openKeys(`${home}-other`, {})
    cpSync(home, `${home}2`, { recursive: true })
    const brought = await openKeys(`${home}2`, {})
    expect(brought).toEqual({ ...made, ...places(`${home}2`), broughtFrom: made.folder })
    expect(readFileSync(join(brought.folder, 'heads'), 'utf8')).toBe('heads')
    expect((await openKeys(`${home}2`, {})).broughtFrom).toBeUndefined()
    expect((await openKeys(home, {})).chain).toEqual(made.chain)
  })

  it('that lie where a home was moved to are not overwritten', async () => {
    const made = await openKeys(home, {})
    const there = await openKeys(`${home}2`, {})
    cpSync(home, `${home}2`, { recursive: true })
    const error = await openKeys(`${home}2`, {}).catch((e: unknown) => e as BackoutError)
    expect(error).toMatchObject({ code: 'other_chain_key', why: expect.stringContaining(made.folder) })
    renameSync(there.folder, `${there.folder}.aside`)
    expect((await openKeys(`${home}2`, {})).chain).toEqual(made.chain)
  })

  it('that cannot be read are said, not made anew', async () => {
    const made = await openKeys(home, {})
    rmSync(join(made.folder, 'chain.key'))
    mkdirSync(join(made.folder, 'chain.key'))
    await expect(openKeys(home, {})).rejects.toMatchObject({ why: expect.stringContaining('EISDIR') })
  })
})

describe('E7: the heads that were announced', () => {
  const head = (length: number) => ({ length, mac: String(length % 10).repeat(64) })

  it('are read back in order, without lines that a crash left half', async () => {
    const dir = join(folder(), 'keys')
    expect(await announcedHeads(dir)).toEqual([])
    await announceHead(dir, head(3))
    await announceHead(dir, head(12))
    writeFileSync(join(dir, 'heads'), `${readFileSync(join(dir, 'heads'), 'utf8')}17:abc`)
    expect(await announcedHeads(dir)).toEqual([head(3), head(12)])
    expect(parseHead(' 7:' + 'a'.repeat(64) + '\n')).toEqual({ length: 7, mac: 'a'.repeat(64) })
    for (const text of ['', '7', '-7:' + 'a'.repeat(64), '7:' + 'g'.repeat(64)]) expect(parseHead(text)).toBeNull()
  })
})
