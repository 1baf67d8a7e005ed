/**
 * How a command ended, as its exit code. Scripts rely on these: never renumber.
 * Documented in docs/cli.md.
 */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  blocked: 3,
  moved: 4,
  waiting: 5,
  paused: 6,
  aborted: 7,
  busy: 8,
  failed: 9,
  gate: 10,
  tampered: 11,
} as const

export type ExitName = keyof typeof EXIT

interface ErrorParts {
  /** Stable name in snake_case, shown in brackets: scripts and documentation refer to it. */
  code: string
  /** What went wrong, with the name of the thing. */
  what: string
  /** Why, in the words of the system that said so. */
  cause?: string | undefined
  /** What to do now, ideally a command to type. */
  next?: string | undefined
  exit?: ExitName | undefined
  /** The error that led here, for `--debug`. */
  from?: unknown
}

/** An error written for the person who reads it: names the thing, the cause and the next action. */
export class BackoutError extends Error {
  readonly code: string
  readonly why: string | undefined
  readonly next: string | undefined
  readonly exit: ExitName

  constructor(parts: ErrorParts) {
    super(parts.what, parts.from === undefined ? undefined : { cause: parts.from })
    this.name = 'BackoutError'
    this.code = parts.code
    this.why = parts.cause
    this.next = parts.next
    this.exit = parts.exit ?? 'internal'
  }

  /** The three lines of an error, without colour. */
  format(): string {
    const lines = [`error [${this.code}]: ${this.message}`]
    if (this.why !== undefined) lines.push(`cause: ${indent(this.why)}`)
    if (this.next !== undefined) lines.push(`next:  ${indent(this.next)}`)
    return lines.join('\n')
  }
}

/**
 * What to do where something was changed while a run is at it: its steps wait for what was there then, so that trying again,
 * or another plan beside it, leads nowhere.
 */
export const PLAN_ANEW = 'end this run and plan again: `backout abort`, then `backout run`'

function indent(text: string): string {
  return text.trimEnd().replaceAll('\n', '\n       ')
}

/**
 * What was thrown first, where closing what it left open threw again: of a connection that broke that is the one that says
 * why.
 */
export function first(error: unknown): unknown {
  const suppressed = error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error
  return suppressed ? first(error.suppressed) : error
}

/** The message of anything that was thrown, with the messages of its causes behind it. */
export function messageOf(thrown: unknown): string {
  const error = first(thrown)
  if (error instanceof BackoutError) return error.why ? `${error.message}: ${error.why}` : error.message
  if (!(error instanceof Error)) return String(error)
  const own = error.message || error.name
  const inner = error instanceof AggregateError ? error.errors.map(messageOf).join('; ') : ''
  const cause = error.cause === undefined ? '' : messageOf(error.cause)
  return [own, inner, cause].filter((part, i, all) => part !== '' && all.indexOf(part) === i).join(': ')
}
