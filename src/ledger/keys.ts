import { createHash, createHmac, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { BackoutError, messageOf } from '../core/errors.ts'
import { remember, reveal, type Text } from '../core/secret.ts'
import { writeNew } from './files.ts'
import { bringKeys, KEY_ID } from './moved-keys.ts'

export interface Keys {
  /** age identities, the newest first: it encrypts, all decrypt. */
  readonly identities: readonly string[]
  /** Key of the event chain and of keyed hashes. 32 bytes. */
  readonly chain: Uint8Array
  /** Where the identities are kept, or null where the configuration brings them. */
  readonly vaultFile: string | null
  /** Folder beside the keys, outside the home: announced heads of the journal are kept here too. */
  readonly folder: string
  /** Where they were just copied from, for the home was moved or copied; left out: they were there. */
  readonly broughtFrom?: string
}

/** The user's own folder for keys of one home: outside the store, so that a copied or rewritten home carries no key. */
export function keyFolder(home: string): string {
  const base =
    process.env['BACKOUT_KEYS'] || join(process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'backout')
  return join(base, createHash('sha256').update(home).digest('hex').slice(0, 16))
}

/** Reads the keys of a home, or makes them where there are none yet. */
export async function openKeys(
  home: string,
  said: { vault?: Text | undefined; chain?: Text | undefined },
): Promise<Keys> {
  const folder = keyFolder(home)
  const broughtFrom = said.chain === undefined ? await brought(home, folder) : null
  const vaultFile = said.vault === undefined ? join(folder, 'vault.key') : null
  const chain = said.chain === undefined ? await chainIn(home, folder) : reveal(said.chain)
  const vault = said.vault === undefined ? await readOrMake(join(folder, 'vault.key'), newIdentity) : reveal(said.vault)
  const identities = identitiesIn(vault)
  for (const secret of [...identities, chain.trim()]) remember(secret)
  if (identities.length === 0 || !identities.every(line => line.startsWith('AGE-SECRET-KEY-'))) {
    throw badKey('the vault key', 'expected age identities, one a line: AGE-SECRET-KEY-…')
  }
  if (!/^[0-9a-f]{64}$/i.test(chain.trim())) throw badKey('the chain key', 'expected 64 hex digits')
  const key = Buffer.from(chain.trim(), 'hex')
  await sameKey(home, key, folder)
  return { identities, chain: key, vaultFile, folder, ...(broughtFrom === null ? {} : { broughtFrom }) }
}

async function brought(home: string, folder: string): Promise<string | null> {
  try {
    return await bringKeys(home, folder, idOf)
  } catch (error) {
    throw error instanceof BackoutError ? error : unusable(folder, 'made', error)
  }
}

/** A home that was written with a key gets no other one: it would only lie there. Looked at first, for keys are made before. */
async function chainIn(home: string, folder: string): Promise<string> {
  const file = join(folder, 'chain.key')
  if (!existsSync(join(home, KEY_ID))) return readOrMake(file, async () => randomBytes(32).toString('hex'))
  return readOrMake(file, async () => {
    throw otherKey(home, folder)
  })
}

/** The identities of a key file, the newest first. */
export function identitiesIn(text: string): string[] {
  const lines = text.split('\n').map(line => line.trim())
  return lines.filter(line => line !== '' && !line.startsWith('#'))
}

function idOf(chain: Uint8Array): string {
  return macWith(chain, Buffer.from('chain key id')).slice(0, 32)
}

/** Everything in a home is checked with one chain key: another one would call all of it altered. */
async function sameKey(home: string, chain: Uint8Array, folder: string): Promise<void> {
  const file = join(home, KEY_ID)
  const id = idOf(chain)
  const known = await readOrMake(file, async () => id, homeUnusable(home))
  if (known.trim() !== id) throw otherKey(home, folder)
}

function otherKey(home: string, folder: string): BackoutError {
  return new BackoutError({
    code: 'other_chain_key',
    what: `${home} was written with another chain key than the one found here`,
    cause: `looked for it in ${folder}, or in keys.chain of backout.yaml`,
    next: 'run as the user who owns the key, set BACKOUT_KEYS or keys.chain to it (docs/security.md)',
    exit: 'blocked',
  })
}

function badKey(what: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'key_invalid',
    what: `${what} cannot be used`,
    cause,
    next: 'see docs/security.md',
    exit: 'usage',
  })
}

/** age is loaded when it is needed: most commands only read the journal. */
async function newIdentity(): Promise<string> {
  const { generateIdentity } = await import('age-encryption')
  return generateIdentity()
}

type Unusable = (path: string, not: 'read' | 'made', error: unknown) => BackoutError

async function readOrMake(path: string, make: () => Promise<string>, unusableBy: Unusable = unusable): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusableBy(path, 'read', error)
  }
  const made = await make()
  try {
    // Of two processes that begin at once, both use the key of the one that was first.
    await writeNew(path, `${made}\n`)
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unusableBy(path, 'made', error)
  }
}

function unusable(path: string, not: 'read' | 'made', error: unknown): BackoutError {
  return new BackoutError({
    code: 'keys_unusable',
    what: `${path} cannot be ${not}, and nothing is done without the keys of the home`,
    cause: messageOf(error),
    next: 'run as the user who owns the home and its keys; or name a folder that this user may write to: BACKOUT_KEYS (docs/security.md)',
    exit: 'failed',
    from: error,
  })
}

/** Which key the home was written with is kept in the home itself: another folder for keys changes nothing. */
function homeUnusable(home: string): Unusable {
  return (path, not, error) =>
    new BackoutError({
      code: 'home_unusable',
      what: `The home ${home} cannot be ${not === 'read' ? 'read' : 'made or written'} by this user: ${path} cannot be ${not}`,
      cause: messageOf(error),
      next: 'give this user the right to it (chown), or set another folder: home: in backout.yaml, or BACKOUT_HOME',
      exit: 'failed',
      from: error,
    })
}

/** Keyed hash: equal content has an equal mac, and nobody without the key can try guesses. */
export function macWith(chain: Uint8Array, content: Uint8Array): string {
  return createHmac('sha256', chain).update('backout vault\0').update(content).digest('hex')
}
