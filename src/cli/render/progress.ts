import type { Engine, Event, RunInfo } from '../../core/engine.ts'
import type { RunInput } from '../../core/executor/world.ts'
import { amount, span } from '../../core/impact-text.ts'
import { isEmpty, type Plan } from '../../core/plan.ts'
import { spare } from '../../core/secret.ts'
import { table, wrap } from '../text.ts'
import { planLines } from './plan.ts'

/** Where a run stands, worked out from its events alone. */
export interface Standing {
  readonly phase: string | null
  readonly phaseAt: number
  readonly phases: number
  readonly next: string | null
  readonly steps: { readonly done: number; readonly all: number }
  readonly running: readonly { readonly step: string; readonly title: string; readonly since: string }[]
  readonly begunAt: string | null
  readonly estimateMs: number
  /** The newest of the questions. */
  readonly asked: Asked | null
  /** All that the run waits for a word on, oldest first: steps side by side may each have one. */
  readonly questions: readonly Asked[]
}

export interface Asked {
  readonly token: string
  readonly about: 'step' | 'failure' | 'gate' | 'approval'
  readonly step: string | null
  readonly title: string | null
  readonly why: string
  /** What the error that led here says is to be done. */
  readonly next?: string
  readonly answers: readonly string[]
}

/** That a run is to be aborted: who said so first, and when. */
export interface Abort {
  readonly by: string
  readonly at: string
  readonly reason: string | null
}

/** Follows the events of one run. */
export class Progress {
  #plan: Plan
  #phase: string | null = null
  #begunAt: string | null = null
  readonly #done = new Set<string>()
  readonly #running = new Map<string, { title: string; since: string }>()
  readonly #asked = new Map<string, Asked>()
  #abort: Abort | null = null

  constructor(plan: Plan) {
    this.#plan = plan
    spare(Object.keys(plan.steps), true)
  }

  see(event: Event): void {
    this.#begunAt ??= event.at
    const data = (event.data ?? {}) as Record<string, never>
    const step: string = data['step'] ?? ''
    if (event.type === 'phase-begun') this.#phase = data['phase'] ?? null
    if (event.type === 'plan-successor' && data['next'] !== undefined) {
      this.#plan = data['next'] as Plan
      spare(Object.keys(this.#plan.steps), true)
    }
    if (event.type === 'step-begun') this.#running.set(step, { title: data['title'] ?? step, since: event.at })
    if (event.type === 'gate-begun')
      this.#running.set(`gate ${data['gate']}`, { title: `gate ${data['gate']}`, since: event.at })
    if (event.type === 'end-look')
      this.#running.set('end', { title: 'looking at all of it once more', since: event.at })
    if (event.type === 'end-found') {
      const found = (data['found'] as string[] | undefined)?.join('; ') ?? ''
      const title = `looking at all of it once more, for it is not all there: ${found}`
      this.#running.set('end', { title, since: this.#running.get('end')?.since ?? event.at })
    }
    if (event.type === 'gate') this.#running.delete(`gate ${data['gate']}`)
    if (['step-done', 'step-failed', 'step-skipped', 'fenced'].includes(event.type)) this.#running.delete(step)
    if (event.type === 'step-done' || event.type === 'step-skipped') this.#done.add(step)
    if (event.type === 'asked') {
      spare([data['token'] ?? ''])
      this.#asked.set(data['token'] ?? '', event.data as unknown as Asked)
    }
    if (event.type === 'answered') this.#asked.delete(data['token'] ?? '')
    // Answered by a signal that the run has not come to yet, for no process is at work on it.
    if (event.type === 'signal') this.#asked.delete(String(data['name']).replace(/^answer:/, ''))
    if (event.type === 'signal' && data['name'] === '$cancel') {
      const { by, reason } = (data['value'] ?? {}) as Partial<Abort>
      this.#abort ??= { by: by ?? 'somebody', at: event.at, reason: reason ?? null }
      this.#asked.clear()
    }
    if (event.type === 'run-ended') {
      this.#asked.clear()
      this.#running.clear()
    }
  }

  /** Somebody has asked to abort; what is asked after that is how to leave users safe. */
  get abort(): Abort | null {
    return this.#abort
  }

  /** The plan that is followed, or waits for an approval. */
  get plan(): Plan {
    return this.#plan
  }

  get standing(): Standing {
    const phases = isEmpty(this.#plan) ? [] : this.#plan.phases
    const at = phases.findIndex(p => p.phase === this.#phase)
    const inPhases = Object.keys(this.#plan.steps).filter(id => !this.#plan.safe.includes(id))
    return {
      phase: this.#phase,
      phaseAt: at + 1,
      phases: phases.length,
      next: phases[at + 1]?.phase ?? null,
      steps: { done: inPhases.filter(id => this.#done.has(id)).length, all: inPhases.length },
      running: [...this.#running].map(([step, { title, since }]) => ({ step, title, since })),
      begunAt: this.#begunAt,
      estimateMs: this.#plan.estimateMs,
      asked: [...this.#asked.values()].at(-1) ?? null,
      questions: [...this.#asked.values()],
    }
  }
}

/** What the journal has of a run so far. */
export async function progressOf(engine: Engine, run: RunInfo): Promise<Progress> {
  const progress = new Progress((run.input as unknown as RunInput).plan)
  for await (const event of engine.events(run.id)) progress.see(event)
  return progress
}

/** "told to abort at 2026-03-01T00:00:00Z by jo (the wrong release)". */
export function toldToAbort({ by, at, reason }: Abort): string {
  return `told to abort at ${at} by ${by}${reason === null ? '' : ` (${reason})`}`
}

/** "phase code 6 of 9 · 14 of 20 steps · 12 s of about 40 s · next: flags". */
export function standingLine(s: Standing, nowMs: number): string {
  const parts = [
    s.phase === null ? 'getting ready' : `${s.phase} (${s.phaseAt} of ${s.phases})`,
    `${s.steps.done} of ${amount(s.steps.all, 'steps')}`,
    s.begunAt === null ? '' : `${span(Math.max(0, nowMs - Date.parse(s.begunAt)))} of about ${span(s.estimateMs)}`,
    s.next === null ? '' : `next: ${s.next}`,
  ]
  return parts.filter(p => p !== '').join(' · ')
}

interface Choice {
  /** What is sent. */
  readonly answer: string
  /** What is typed at the question itself. */
  readonly word: string
  /** What is typed anywhere else. */
  readonly command: string
  readonly effect: string
}

/** What can be answered; to stop is always among it. */
export function choices(asked: Asked): Choice[] {
  const subject = asked.step ?? 'this'
  const without = asked.about === 'gate' ? 'go on without it, here only' : 'go on without it'
  const all: Choice[] = [
    { answer: 'done', word: 'done', command: `backout resolve ${subject} --done`, effect: 'it took effect' },
    {
      answer: 'not-done',
      word: 'not-done',
      command: `backout resolve ${subject} --not-done`,
      effect: 'it did not; apply it again',
    },
    { answer: 'look', word: 'look', command: `backout resolve ${subject} --look`, effect: 'ask the target again' },
    { answer: 'retry', word: 'retry', command: 'backout resume', effect: 'try again' },
    {
      answer: 'next-rung',
      word: 'next-rung',
      command: 'backout resume --next-rung',
      effect: 'take the next way back',
    },
    { answer: 'approve', word: 'approve', command: 'backout approve', effect: 'allow it' },
    { answer: 'accept', word: 'accept', command: 'backout approve', effect: 'accept this loss' },
    { answer: 'skip', word: 'skip', command: `backout skip ${subject} --reason "…"`, effect: without },
    { answer: 'stop', word: 'abort', command: 'backout abort', effect: 'stop here, users left served or told' },
  ]
  return all.filter(c => c.answer === 'stop' || asked.answers.includes(c.answer))
}

/**
 * What the run waits for, and the commands that answer. A plan that wants an approval is shown whole: nobody approves what
 * was not seen. `typed`: with the words for those who sit at the question.
 */
export function askedLines(asked: Asked, plan: Plan, width: number, typed = false): string[] {
  const unclear = asked.about === 'step' && asked.answers.includes('done')
  const rows = choices(asked).map(c => [...(typed ? [c.word] : []), c.command, c.effect])
  return [
    ...(asked.about === 'approval' ? [...planLines(plan, width), ''] : []),
    ...(unclear ? wrap('It was begun, and nothing can tell whether it took effect.', width) : []),
    ...(asked.next === undefined ? [] : wrap(`To be done first: ${asked.next}`, width)),
    ...table(rows, width, '  '),
  ]
}

/** All that the run waits for, each with the commands that answer it. */
export function questionLines(questions: readonly Asked[], plan: Plan, width: number): string[] {
  const named = (asked: Asked) => (questions.length > 1 ? wrap(`${subjectOf(asked)}: ${asked.why}`, width) : [])
  return questions.flatMap(asked => [...named(asked), ...askedLines(asked, plan, width)])
}

/** What a question is about, for people. */
export function subjectOf(asked: Asked): string {
  return asked.step ?? 'a plan'
}
