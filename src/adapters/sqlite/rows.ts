import { quoted } from './database.ts'

/** Compares a value here (`l`) with one of the copy (`b`). NULL, type and letter case count, whatever the collation. */
export function same(here: string, there: string = here): string {
  const [l, b] = [`l.${quoted(here)}`, `b.${quoted(there)}`]
  return `(${l} COLLATE BINARY IS ${b} AND typeof(${l}) = typeof(${b}))`
}
