import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { BackoutError } from '../core/errors.ts'
import { namesIn, writeNew } from './files.ts'

/** In the home: which chain key it was written with. */
export const KEY_ID = 'chain-key-id'

/** What belongs to a home beside it. The chain key comes last: without it the rest is looked for again. */
const FILES = ['vault.key', 'heads', 'chain.key']

/**
 * The folder of keys is named after the path of the home, and a home that was moved or copied has another path: its keys are
 * brought from the folder beside, where one has the chain key that the home was written with. Copied, for of two homes with one
 * folder each would announce heads that the other lacks. Answers where they came from; null: nothing was to be brought.
 */
export async function bringKeys(
  home: string,
  folder: string,
  idOf: (chain: Uint8Array) => string,
): Promise<string | null> {
  const known = (await contentOf(join(home, KEY_ID)))?.trim()
  const here = await contentOf(join(folder, 'chain.key'))
  const fits = (chain: string) =>
    /^[0-9a-f]{64}$/i.test(chain.trim()) && idOf(Buffer.from(chain.trim(), 'hex')) === known
  if (known === undefined || (here !== null && fits(here))) return null
  const base = dirname(folder)
  for (const name of await namesIn(base)) {
    const other = join(base, name)
    const chain = name === basename(folder) ? null : await contentOf(join(other, 'chain.key'))
    if (chain === null || !fits(chain)) continue
    if (here !== null) throw inTheWay(home, folder, other)
    for (const file of FILES) {
      const content = await contentOf(join(other, file))
      if (content !== null) await writeNew(join(folder, file), content)
    }
    return other
  }
  return null
}

/** null where it is not there; what cannot be read fits nothing, and is said where it is needed. */
async function contentOf(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null)
}

function inTheWay(home: string, folder: string, other: string): BackoutError {
  return new BackoutError({
    code: 'other_chain_key',
    what: `${home} was written with another chain key than the one in ${folder}`,
    cause: `the key that fits lies in ${other}: the home was moved or copied to where another one was`,
    next: `mv ${folder} ${folder}.aside, then try again: the keys are copied`,
    exit: 'blocked',
  })
}
