import type { Event } from '../core/engine.ts'
import type { Json } from '../core/json.ts'

/** What an event carries is read with care: it may come from another version of Backout, or from elsewhere. */
export interface Obj {
  readonly [key: string]: Json
}

export function obj(value: Json | undefined): Obj {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {}
}

export function str(value: Json | undefined): string | null {
  return typeof value === 'string' ? value : null
}

export function num(value: Json | undefined): number | null {
  return typeof value === 'number' ? value : null
}

export function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

export function strs(value: Json | undefined): string[] {
  return list(value).filter(v => typeof v === 'string')
}

/** One event of the run, with where the run stood when it was written. */
export interface Moment {
  readonly seq: number
  readonly at: string
  /** Epoch milliseconds. */
  readonly ms: number
  readonly type: string
  readonly data: Obj
  readonly phase: string | null
}

/** The run's events in their order, each with its phase: phases of one run never overlap. */
export function momentsOf(events: readonly Event[]): Moment[] {
  let phase: string | null = null
  return events.map(({ seq, at, type, data: raw }) => {
    const data = obj(raw)
    if (type === 'phase-begun') phase = str(data['phase'])
    const moment = { seq, at, ms: Date.parse(at), type, data, phase }
    if (type === 'phase-ended') phase = null
    return moment
  })
}

/** What was asked, with the answer that a person gave to it. */
export interface Question {
  readonly asked: Moment
  readonly about: string
  /** The step or gate that it is about. */
  readonly of: string | null
  readonly why: string | null
  readonly answer: Answer | null
}

export interface Answer {
  readonly moment: Moment
  readonly did: string
  readonly by: string
  readonly why: string | null
}

export function questionsOf(moments: readonly Moment[]): Question[] {
  const answers = new Map<string, Answer>()
  for (const moment of moments) {
    const token = str(moment.data['token'])
    const did = str(moment.data['do'])
    if (moment.type !== 'answered' || token === null || did === null) continue
    const by = str(moment.data['by']) ?? 'somebody unnamed'
    answers.set(token, { moment, did, by, why: str(moment.data['reason']) })
  }
  return moments
    .filter(m => m.type === 'asked')
    .map(asked => {
      const { data } = asked
      const answer = answers.get(str(data['token']) ?? '') ?? null
      return { asked, about: str(data['about']) ?? '?', of: str(data['step']), why: str(data['why']), answer }
    })
}
