import type { Capture } from './releases.ts'

/** Those of the components that a capture has no pin of. */
export function lackedBy({ components: pins }: Pick<Capture, 'components'>, components: readonly string[]): string[] {
  return components.filter(id => pins[id] === undefined)
}

/** The one that lacks least of the components, of those one of which nothing was left out when it was made, of those the first. */
export function wholest(captures: readonly Capture[], components: readonly string[]): Capture | undefined {
  const partial = (c: Capture) => Number(components.some(id => c.missing?.[id] !== undefined))
  const rank = (c: Capture) => lackedBy(c, components).length * 2 + partial(c)
  const least = Math.min(...captures.map(rank))
  return captures.find(c => rank(c) === least)
}

/** The pins of a release, of each component the newest that there is: what a capture in part lacks, the one before it had. */
export function newestPins(captures: readonly Capture[]): Capture['components'] {
  return Object.assign({}, ...captures.map(c => c.components).toReversed()) as Capture['components']
}
