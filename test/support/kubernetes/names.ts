import { createHash, randomBytes } from 'node:crypto'

/** Alphabet of generated names: no vowels, nothing that is read as something else (apimachinery, util/rand). */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789'

export function suffix(length: number): string {
  return [...randomBytes(length)].map(byte => LETTERS[byte % LETTERS.length]).join('')
}

/** A hash as short as the controllers' own, from the same content always. */
export function shortHash(content: unknown): string {
  const bytes = createHash('sha256').update(JSON.stringify(content)).digest()
  return [...bytes.subarray(0, 10)].map(byte => LETTERS[byte % LETTERS.length]).join('')
}
