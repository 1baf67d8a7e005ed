/**
 * Compares two texts by their code units: the same order on every machine, whatever its language, and times in ISO 8601 as
 * they followed each other. (`localeCompare` also takes ten milliseconds for its first answer.)
 */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
