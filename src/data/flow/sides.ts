import type { Both, Image, Reader } from '../engine.ts'
import type { Base } from './site.ts'

/** The live database and one that it is compared with, each at one instant. */
export interface Sides {
  readonly now: Reader
  /** null: there is nothing to compare with but a fingerprint. */
  readonly base: Reader | null
  /** The same as `now`, where SQL reaches both. */
  readonly both: Both | null
}

export function withSides<T>(
  engine: Base,
  image: Image | null,
  signal: AbortSignal,
  work: (sides: Sides) => Promise<T>,
): Promise<T> {
  if (image === null) return engine.reading(signal, now => work({ now, base: null, both: null }))
  return image.reading(signal, base =>
    engine.both === undefined
      ? engine.reading(signal, now => work({ now, base, both: null }))
      : engine.both(image, signal, both => work({ now: both, base, both })),
  )
}
