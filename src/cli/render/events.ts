import { stripVTControlCharacters } from 'node:util'
import type { Event } from '../../core/engine.ts'
import { supersededBy } from '../../core/executor/gate.ts'
import { span } from '../../core/impact-text.ts'

export type Mark = 'phase' | 'good' | 'bad' | 'ask' | 'note'

interface Data {
  readonly [key: string]: unknown
}

/** What an event says to a person who watches, or null where it says nothing new. */
export function tell(event: Event): { mark: Mark; text: string } | null {
  const data = (event.data ?? {}) as Data
  const told = TELL[event.type]?.(data) ?? null
  return told === null ? null : { ...told, text: harmless(told.text) }
}

/** Texts of other systems move no cursor and colour nothing. */
function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return stripVTControlCharacters(text).replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}

const str = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? ''))
const ms = (value: unknown): string => (typeof value === 'number' ? span(value) : '')

const next = (d: Data): string => (d['next'] === undefined ? '' : ` (next: ${str(d['next'])})`)

const TELL: Record<string, (d: Data) => { mark: Mark; text: string } | null> = {
  'run-resumed': () => ({ mark: 'note', text: 'going on from where the journal ends' }),
  departure: d => ({ mark: 'note', text: `where it started is kept as ${str(d['release'])}` }),
  'plan-moved': d => ({ mark: 'bad', text: `the world has moved since the plan: ${list(d['differences'])}` }),
  'plan-successor': d => ({ mark: 'note', text: `planned again without ${excluded(d['exclude'])}` }),
  'phase-begun': d => ({
    mark: 'phase',
    text: `${str(d['phase'])}${Number(d['estimateMs']) > 0 ? `, about ${ms(d['estimateMs'])}` : ''}`,
  }),
  'step-done': d => ({
    mark: 'good',
    text: `${str(d['step'])} ${d['found'] === true ? 'was done already' : ms(d['ms'])}`.trimEnd(),
  }),
  'step-retry': d => ({ mark: 'note', text: `${str(d['step'])}: once more, for ${str(d['why'])}` }),
  'step-failed': d => ({ mark: 'bad', text: `${str(d['step'])}: ${str(d['why'])}${next(d)}` }),
  'step-skipped': d => ({ mark: 'note', text: `${str(d['step'])} skipped: ${str(d['why'])}` }),
  fenced: d => ({
    mark: 'bad',
    text: `${str(d['step'])}: ${str(d['why'])}${d['fenced'] === true ? ' (fenced)' : ' (NOT fenced)'}`,
  }),
  tolerated: d => ({ mark: 'bad', text: `${str(d['what'])} failed, within what is tolerated: ${str(d['why'])}` }),
  fact: d => ({ mark: 'note', text: `${str(d['kind'])}: ${str(d['text'])}` }),
  gate: d => gate(d),
  'end-look': d => ({ mark: 'note', text: `is everything on ${str(d['release'])}? All of it is looked at once more` }),
  'end-found': d => ({
    mark: 'note',
    text: `not all of it: ${[d['found']].flat().map(str).join('; ')}; looked at again`,
  }),
  'watch-superseded': d => ({ mark: 'note', text: `the watch ends here: ${supersededBy(d)}` }),
  asked: d => ({ mark: 'ask', text: `${str(d['step'] ?? d['about'])}: ${str(d['why'])}` }),
  answered: d => ({
    mark: 'note',
    text: `${str(d['by'])} says: ${str(d['do'])}${d['reason'] ? ` (${str(d['reason'])})` : ''}`,
  }),
  signal: d => {
    const asked = ASKED.get(str(d['name']))
    return asked === undefined ? null : { mark: 'note', text: `${askedBy(d['value'])} asked ${asked}` }
  },
  'run-state': d => (d['state'] === 'paused' ? { mark: 'note', text: 'paused' } : null),
  'run-ended': d => ended(d),
}

/** What may come from another terminal, and takes effect only after the step in progress. */
const ASKED = new Map([
  ['$pause', 'for a pause'],
  ['$cancel', 'to abort'],
])

function askedBy(value: unknown): string {
  const by = (value as Data | null)?.['by']
  return typeof by === 'string' ? by : 'somebody'
}

function ended(d: Data): { mark: Mark; text: string } {
  const state = str(d['state'])
  return { mark: state === 'succeeded' ? 'good' : 'bad', text: d['error'] ? `${state}: ${str(d['error'])}` : state }
}

function gate(d: Data): { mark: Mark; text: string } {
  const samples = Object.entries((d['samples'] ?? {}) as Record<string, { ok: boolean | null; text: string }>)
  const bad = samples.filter(([, s]) => s.ok !== true).map(([name, s]) => `${name}: ${s.text}`)
  const outcome = str(d['outcome'])
  const text = `gate ${str(d['gate'])} ${outcome === 'pass' ? 'passes' : outcome === 'fail' ? 'fails' : 'is inconclusive'}`
  return { mark: outcome === 'pass' ? 'good' : 'bad', text: bad.length > 0 ? `${text}: ${bad.join('; ')}` : text }
}

function list(value: unknown): string {
  return Array.isArray(value) ? value.map(str).join('; ') : str(value)
}

function excluded(value: unknown): string {
  const all = Array.isArray(value) ? (value as { component: string; rung: string }[]) : []
  return all.map(e => `"${e.rung}" of ${e.component}`).join(', ')
}
