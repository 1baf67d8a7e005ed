import { distance } from 'fastest-levenshtein'

/** The right name that was probably meant; null where none has enough in common with the wrong one. */
export function nearestOf({ wrong, among }: { wrong: string; among: readonly string[] }): string | null {
  const said = wrong.toLowerCase()
  const ranked = among.map(name => ({ name, far: apart(said, name.toLowerCase()) }))
  const best = ranked.toSorted((a, b) => a.far - b.far)[0]
  const near = best !== undefined && best.far < said.length && best.far <= Math.max(2, said.length / 3)
  return near ? best.name : null
}

/** How many letters are wrong; two that changed places count as one. */
function apart(a: string, b: string): number {
  const swapped = a.length === b.length && distance(a, b) === 2 && sorted(a) === sorted(b)
  return swapped ? 1 : distance(a, b)
}

function sorted(text: string): string {
  return text.split('').toSorted().join('')
}
