import type { Step } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { span } from '../core/impact-text.ts'
import { type Plan, rewindsOf } from '../core/plan.ts'
import { parseDuration } from '../config/fields.ts'
import { typed } from './prompt.ts'
import type { Session } from './session.ts'

export interface Confirming {
  readonly yes: boolean
  readonly emergency: boolean
  /** How old a backup may be that takes the place of data; `unknown`: however old, for nobody can tell. */
  readonly lossWindow?: string
}

/** Said for a window of a length that nobody can tell: what is unknown is never taken for short. */
const UNKNOWN = 'unknown'

/**
 * The name of the environment, typed, says that somebody knows what is about to be taken back. A restore takes a word of its
 * own, which `--yes` is not: everything written since the backup goes with it. Null: they did not.
 */
export async function confirm(session: Session, made: Plan, options: Confirming): Promise<string | null> {
  const { out, environment } = session
  const open = windows(made, environment.clock.now())
  const within = allowed(options, open)
  const left = within === null ? open : []
  if (!out.asks && !options.yes) throw notConfirmed(left)
  if (!out.asks && left.length > 0) throw restoreNotConfirmed(left)
  const said: string[] = []
  // In an emergency one word is enough: that of the graver question.
  if (options.yes) said.push('--yes')
  else if (!options.emergency || left.length === 0) {
    if ((await typed(`\nType ${made.environment} to go back: `)) !== made.environment) return refused(session)
    said.push("typed the environment's name")
  }
  if (within !== null) said.push(`--loss-window ${within}`)
  if (within === UNKNOWN) said.push(...open.map(w => w.text))
  if (left.length > 0) {
    for (const { text } of left) out.line(`\n${text}`)
    const word = `restore ${left.map(w => w.component).join(' ')}`
    if ((await typed(`Type "${word}" to let it go: `)) !== word) return refused(session)
    said.push(`typed "${word}": ${left.map(w => w.text).join(' ')}`)
  }
  return said.join('; ')
}

function refused({ out }: Session): null {
  out.line('Not confirmed; nothing was touched.')
  return null
}

interface Window {
  readonly component: string
  readonly ms: number
  /** For people: what goes, and since when. */
  readonly text: string
}

function windows(made: Plan, now: number): Window[] {
  return rewindsOf(made).map(step => {
    const { what, since } = step.rewinds
    const ms = now - Date.parse(since)
    const long =
      ms >= 0 ? span(ms) : 'how long that is, nobody can tell: it is no time that has passed by the clock here'
    const text = `Restoring ${what} takes with it what was written since ${since} (${long})${carried(made, step)}.`
    return { component: step.component, ms, text }
  })
}

function carried({ steps }: Plan, { component }: Step): string {
  return steps[`${component}/restore/carry`] === undefined ? '' : '; what fits is brought back afterwards'
}

/** The window that was said on the command line, where all of it lies within; null: none was said. */
function allowed({ lossWindow }: Confirming, open: readonly Window[]): string | null {
  if (lossWindow === undefined || lossWindow === UNKNOWN) return lossWindow ?? null
  const ms = parseDuration(lossWindow)
  if (ms === null) {
    throw new BackoutError({
      code: 'option_invalid',
      what: `--loss-window ${lossWindow} is no duration`,
      next: 'write it like "30m" or "2h"; or "unknown", where nobody can tell how long it is and all of it may go',
      exit: 'usage',
    })
  }
  const unclear = open.find(isUnclear)
  if (unclear !== undefined) throw lengthUnknown(unclear)
  const [over] = open.filter(w => w.ms > ms)
  if (over === undefined) return lossWindow
  throw new BackoutError({
    code: 'loss_window_exceeded',
    what: `The data-loss window is longer than the ${lossWindow} that --loss-window allows`,
    cause: over.text,
    next: 'look at the plan again; then allow as much, or take another way back',
    exit: 'blocked',
  })
}

/** The clock here is behind the backup, or its time cannot be read. */
function isUnclear({ ms }: Window): boolean {
  return !(ms >= 0)
}

function lengthUnknown({ component, text }: Window): BackoutError {
  return new BackoutError({
    code: 'loss_window_unknown',
    what: `How long the data-loss window of ${component} is cannot be told, so --loss-window allows nothing`,
    cause: text,
    next: `look at this machine's clock and at the time of the backup, then plan again; or let all of it go, however long: --loss-window ${UNKNOWN}, or at a terminal without it`,
    exit: 'blocked',
  })
}

function notConfirmed(left: readonly Window[]): BackoutError {
  const more = left.length === 0 ? '' : `, and --loss-window ${atLeast(left)}`
  return new BackoutError({
    code: 'not_confirmed',
    what: 'Nobody is there to confirm: this is no terminal',
    next: `read the plan, then run it with --yes${more}`,
    exit: 'usage',
  })
}

function restoreNotConfirmed(left: readonly Window[]): BackoutError {
  return new BackoutError({
    code: 'restore_not_confirmed',
    what: 'The plan restores a backup, which --yes does not confirm',
    cause: left.map(w => w.text).join('\n'),
    next: `say how much may go: --yes --loss-window ${atLeast(left)}`,
    exit: 'usage',
  })
}

/** A window that is long enough, in whole minutes, and leaves some to get going; there is none where one is unclear. */
function atLeast(open: readonly Window[]): string {
  if (open.some(isUnclear)) return UNKNOWN
  return `${Math.ceil(Math.max(...open.map(w => w.ms)) / 60_000) + 5}m`
}
