/** One thing that was seen, and what became of it. */
export interface Seen {
  readonly what: string
  /** "component db", "no adapter yet: left as a comment". */
  readonly then: string
}

/** A component that may be written. */
export interface Candidate {
  readonly id: string
  readonly adapter: string
  /** What was found, in a few words. */
  readonly what: string
  /** Comment above it. */
  readonly about: readonly string[]
  readonly settings: Readonly<Record<string, unknown>>
  /** Values of the placeholders in `settings`, for a trial; they are written nowhere. */
  readonly secrets?: Readonly<Record<string, string>>
  /** Commented-out lines of YAML below its settings. */
  readonly hints: readonly string[]
  /** The place in the environment: what stands further right depends on what stands left. */
  readonly layer: 'data' | 'app' | 'traffic'
  /** Why it is written as a comment only; null: it is live. */
  readonly held: string | null
}

/** What no adapter takes back. */
export interface Paragraph {
  readonly title: string
  readonly lines: readonly string[]
}

export interface Finds {
  readonly seen: readonly Seen[]
  readonly candidates: readonly Candidate[]
  readonly paragraphs: readonly Paragraph[]
}

export const NOTHING_FOUND: Finds = { seen: [], candidates: [], paragraphs: [] }

export function join(all: readonly Finds[]): Finds {
  return {
    seen: all.flatMap(f => f.seen),
    candidates: all.flatMap(f => f.candidates),
    paragraphs: all.flatMap(f => f.paragraphs),
  }
}

export const COMMENTED = 'left as a comment'

/** Letters, digits, "." "_" and "-", as names in backout.yaml are. */
export function nameFrom(text: string, otherwise: string): string {
  const name = text
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replaceAll(/-{2,}/g, '-')
    .replaceAll(/^[^A-Za-z0-9]+|-+$/g, '')
    .slice(0, 63)
  return name === '' ? otherwise : name
}
