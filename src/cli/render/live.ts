import type { Event } from '../../core/engine.ts'
import type { Json } from '../../core/json.ts'
import type { Plan } from '../../core/plan.ts'
import { type Out, paint, shown } from '../out.ts'
import { cut, wrap } from '../text.ts'
import { type Mark, tell } from './events.ts'
import { Progress, standingLine } from './progress.ts'

/** Shows a run while it goes on. */
export interface View {
  event(event: Event): void
  progress(data: Json): void
  /** Shows nothing until `release`, so that somebody else may write: what comes meanwhile is kept. */
  hold(): void
  release(): void
  /** Clears what is redrawn, for good. */
  close(): void
  readonly standing: Progress['standing']
  readonly plan: Plan
}

/** NDJSON with --json; on a terminal finished lines above a few that are redrawn; elsewhere one line an event. */
export function openView(out: Out, plan: Plan, quietUntil = 0): View {
  const progress = new Progress(plan)
  const show = out.json ? json(out) : out.terminal ? new Screen(out, progress) : new Lines(out, progress)
  return {
    event(event) {
      progress.see(event)
      if (event.seq > quietUntil) show.event(event)
    },
    progress: data => show.progress(data),
    hold: () => show.hold(),
    release: () => show.release(),
    close: () => show.close(),
    get standing() {
      return progress.standing
    },
    get plan() {
      return progress.plan
    },
  }
}

type Show = Omit<View, 'standing' | 'plan'>

function json(out: Out): Show {
  return {
    event: ({ seq, run, at, type, data }) => out.data({ seq, run, at, type, data }),
    progress: data => out.data({ type: 'progress', data }),
    hold: () => {},
    release: () => {},
    close: () => {},
  }
}

/** After so long without a line one says that it still goes on: CI ends jobs that are silent. Milliseconds. */
const SILENCE_MS = 30_000

/** One line an event, with its time in UTC. */
class Lines implements Show {
  readonly #out: Out
  readonly #progress: Progress
  readonly #fresh = changes()
  readonly #timer: NodeJS.Timeout
  #lastMs = Date.now()

  constructor(out: Out, progress: Progress) {
    this.#out = out
    this.#progress = progress
    this.#timer = setInterval(() => this.#beat(), 1000)
    this.#timer.unref()
  }

  event(event: Event): void {
    const said = this.#fresh(tell(event))
    if (said !== null) this.#line(event.at, `${WORD[said.mark]}${said.text}`)
  }

  progress(): void {}
  hold(): void {}
  release(): void {}

  close(): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    const now = Date.now()
    const { standing } = this.#progress
    if (now - this.#lastMs < SILENCE_MS || standing.running.length === 0) return
    const names = standing.running.slice(0, MOST_RUNNING).map(r => r.title)
    const more = standing.running.length - names.length
    const running = `${names.join('; ')}${more > 0 ? `; and ${more} more` : ''}`
    this.#line(new Date(now).toISOString(), `.. ${standingLine(standing, now)} · ${running}`)
  }

  #line(at: string, text: string): void {
    this.#lastMs = Date.now()
    this.#out.line(`${at.slice(11, 19)}Z ${text}`)
  }
}

type Told = ReturnType<typeof tell>

/** Lets through what is not the same as what was told last: a gate that goes on passing says it once. */
function changes(): (said: Told) => Told {
  let last = ''
  return said => {
    if (said === null || said.text === last) return null
    last = said.text
    return said
  }
}

const WORD: Record<Mark, string> = { phase: '== ', good: 'ok ', bad: '!! ', ask: '?? ', note: '-- ' }
const SIGN: Record<Mark, string> = { phase: '▸', good: '✓', bad: '✗', ask: '?', note: '·' }
const STYLE: Record<Mark, Parameters<typeof paint>[0]> = {
  phase: 'bold',
  good: 'green',
  bad: 'red',
  ask: 'yellow',
  note: 'dim',
}
const MOST_RUNNING = 4

/** Finished lines scroll by; below them a few lines say what goes on now. */
class Screen implements Show {
  readonly #out: Out
  readonly #progress: Progress
  readonly #said = new Map<string, string>()
  readonly #fresh = changes()
  readonly #timer: NodeJS.Timeout
  #drawn = 0
  #held: Event[] | null = null

  constructor(out: Out, progress: Progress) {
    this.#out = out
    this.#progress = progress
    this.#timer = setInterval(() => this.#draw(), 200)
    this.#timer.unref()
  }

  event(event: Event): void {
    if (this.#held !== null) {
      this.#held.push(event)
      return
    }
    const said = this.#fresh(tell(event))
    if (said !== null) {
      this.#erase()
      const indent = said.mark === 'phase' ? '' : '  '
      const [first = '', ...more] = wrap(said.text.replaceAll(/\s*\n\s*/g, ' '), this.#out.width - indent.length - 2)
      this.#out.line(`${indent}${paint(STYLE[said.mark], SIGN[said.mark])} ${first}`)
      for (const line of more) this.#out.line(`${indent}  ${line}`)
    }
    this.#draw()
  }

  progress(data: Json): void {
    const { step, text, done, total } = data as { step?: string; text?: string; done?: number; total?: number }
    if (step === undefined || text === undefined) return
    this.#said.set(step, total === undefined ? text : `${text} ${done ?? 0}/${total}`)
  }

  hold(): void {
    this.#erase()
    this.#held ??= []
  }

  release(): void {
    const kept = this.#held ?? []
    this.#held = null
    for (const event of kept) this.event(event)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#erase()
  }

  #draw(): void {
    this.#erase()
    if (this.#held !== null) return
    const standing = this.#progress.standing
    const now = Date.now()
    const running = standing.running.slice(0, MOST_RUNNING).map(r => {
      const since = Math.max(0, Math.round((now - Date.parse(r.since)) / 1000))
      const text = this.#said.get(r.step)
      return `  … ${r.title}${since > 0 ? ` ${since} s` : ''}${text === undefined ? '' : ` (${text})`}`
    })
    const more = standing.running.length - running.length
    if (more > 0) running.push(`  … and ${more} more`)
    const lines = [...running, standingLine(standing, now)].map(line => cut(shown(line), this.#out.width - 1))
    process.stdout.write(lines.map(line => `${paint('dim', line)}\n`).join(''))
    this.#drawn = lines.length
  }

  #erase(): void {
    if (this.#drawn > 0) process.stdout.write(`\x1b[${this.#drawn}A\x1b[0J`)
    this.#drawn = 0
  }
}
