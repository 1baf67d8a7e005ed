import { type Moment, obj, str } from './read.ts'

/** A stretch in which the run did not go on by itself. */
export interface IdleSpan {
  /** `gone`: no process had the run; it is counted from the last thing that it journalled, so at most. */
  readonly kind: 'paused' | 'waiting' | 'gone'
  readonly from: string
  readonly fromMs: number
  readonly until: string | null
  readonly untilMs: number | null
}

/** Reads the stretches from the run's states. They never overlap. */
export function idleOf(moments: readonly Moment[]): IdleSpan[] {
  const spans: IdleSpan[] = []
  let open: { kind: 'paused' | 'waiting'; from: Moment } | null = null
  const close = (until: Moment) => {
    if (open !== null) spans.push(spanOf(open.kind, open.from, until))
    open = null
  }
  for (const [i, m] of moments.entries()) {
    if (m.type === 'run-resumed') {
      // Whoever takes the run up, or speaks to it while it is gone, journals a signal: that is no sign of life of the run's.
      const before = moments.slice(0, i).findLast(n => n.type !== 'signal')
      if (open === null && before !== undefined) spans.push(spanOf('gone', before, m))
      close(m)
    }
    if (m.type === 'run-ended') close(m)
    if (m.type !== 'run-state') continue
    close(m)
    const state = str(m.data['state'])
    if (state === 'paused' || state === 'waiting') open = { kind: state, from: m }
  }
  // Read anew: assigned in a closure, which the compiler does not follow.
  const last = open as { kind: 'paused' | 'waiting'; from: Moment } | null
  return last === null ? spans : [...spans, spanOf(last.kind, last.from, null)]
}

function spanOf(kind: IdleSpan['kind'], from: Moment, until: Moment | null): IdleSpan {
  return { kind, from: from.at, fromMs: from.ms, until: until?.at ?? null, untilMs: until?.ms ?? null }
}

/** A pause that a person asked for. */
export interface PauseRow {
  readonly asked: string
  readonly by: string
  /** When the run stood still; null: it ended, or went on, before it came to that. */
  readonly stood: string | null
  readonly resumed: string | null
  readonly resumedBy: string | null
  /** Milliseconds between asking and going on; null: not gone on. */
  readonly ms: number | null
}

export function pausesOf(moments: readonly Moment[]): PauseRow[] {
  const rows: PauseRow[] = []
  for (const [i, m] of moments.entries()) {
    if (signal(m) !== '$pause') continue
    const rest = moments.slice(i + 1)
    const end = rest.findIndex(
      n => ['$resume', '$cancel', '$pause'].includes(signal(n) ?? '') || n.type === 'run-ended',
    )
    const during = end < 0 ? rest : rest.slice(0, end)
    const on = rest[end]
    const resumed = on !== undefined && signal(on) === '$resume' ? on : null
    rows.push({
      asked: m.at,
      by: whose(m),
      stood: during.find(n => n.type === 'run-state' && n.data['state'] === 'paused')?.at ?? null,
      resumed: resumed?.at ?? null,
      resumedBy: resumed === null ? null : whose(resumed),
      ms: resumed === null ? null : resumed.ms - m.ms,
    })
  }
  return rows
}

export function signal(moment: Moment): string | null {
  return moment.type === 'signal' ? str(moment.data['name']) : null
}

/** Who sent a signal. */
export function whose(moment: Moment): string {
  return str(obj(moment.data['value'])['by']) ?? 'somebody unnamed'
}

/** The run was taken up by another process. */
export interface ResumeRow {
  readonly at: string
  /** `interrupted`: nobody had asked it to stop: its process died or was ended. */
  readonly after: 'interrupted' | 'paused' | 'waiting'
  /** Milliseconds since the last thing that was journalled, or since it began to wait. */
  readonly goneMs: number | null
}

export function resumesOf(moments: readonly Moment[], idle: readonly IdleSpan[]): ResumeRow[] {
  return moments
    .filter(m => m.type === 'run-resumed')
    .map(m => {
      const before = idle.findLast(s => s.until === m.at && s.untilMs === m.ms)
      const after = before === undefined || before.kind === 'gone' ? 'interrupted' : before.kind
      return { at: m.at, after, goneMs: before === undefined ? null : m.ms - before.fromMs }
    })
}
