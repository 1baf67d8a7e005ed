import type { Event } from '../core/engine.ts'
import { supersededBy } from '../core/executor/gate.ts'
import { span } from '../core/impact-text.ts'
import { list, num, type Obj, obj, str, strs } from './read.ts'

export interface TimelineRow {
  readonly seq: number
  /** ISO time. */
  readonly at: string
  /** Milliseconds since the run was started; negative for what came before. */
  readonly offsetMs: number
  readonly type: string
  readonly text: string
}

/** Every event in words, in the order in which it was journalled. */
export function timelineOf(events: readonly Event[], startedMs: number): TimelineRow[] {
  return events
    .toSorted((a, b) => a.seq - b.seq)
    .map(e => ({ seq: e.seq, at: e.at, offsetMs: Date.parse(e.at) - startedMs, type: e.type, text: wordsOf(e) }))
}

/** Longest text of an event that is shown as it is. */
const RAW = 400

function wordsOf(event: Event): string {
  const data = obj(event.data)
  const words = WORDS[event.type]?.(data)
  if (words !== undefined) return words
  const raw = JSON.stringify(event.data)
  return `${event.type} ${raw.length > RAW ? `${raw.slice(0, RAW)}…` : raw}`
}

const say = (value: Obj[string] | undefined): string => str(value) ?? '?'
const because = (value: Obj[string] | undefined): string => (str(value) === null ? '' : `: ${str(value)}`)
const took = (value: Obj[string] | undefined): string => (num(value) === null ? '' : ` in ${span(num(value) ?? 0)}`)

const WORDS: Readonly<Record<string, (d: Obj) => string>> = {
  'run-started': d => `run started (process ${num(d['pid']) ?? '?'})`,
  'run-resumed': d => `run taken up again (process ${num(d['pid']) ?? '?'})`,
  'run-state': d => `run is ${say(d['state'])}`,
  'run-ended': d => `run ended: ${say(d['state'])}${because(d['error'])}`,
  signal: d => signalText(say(d['name']), obj(d['value'])),
  departure: d => `where it started is kept as release ${say(d['release'])}`,
  'plan-moved': d => `the world had moved since the plan: ${strs(d['differences']).join('; ')}`,
  'plan-successor': d => `planned again without ${excluded(d)}`,
  'phase-begun': d => `phase ${say(d['phase'])} begun${about(d['estimateMs'])}`,
  'phase-ended': d => `phase ${say(d['phase'])} ended`,
  'phase-failed': d => `phase ${say(d['phase'])} failed at ${say(d['what'])}${because(d['why'])}`,
  'step-begun': d => `${say(d['step'])} begun: ${say(d['title'])}${about(d['estimateMs'])}`,
  'step-done': d =>
    `${say(d['step'])} ${d['found'] === true ? 'was done already' : `done${took(d['ms'])}`}${because(d['why'])}`,
  'step-failed': d =>
    `${say(d['step'])} failed${because(d['why'])}${str(d['next']) === null ? '' : ` (next: ${say(d['next'])})`}`,
  'step-retry': d => `${say(d['step'])} is tried again after attempt ${num(d['attempt']) ?? '?'}${because(d['why'])}`,
  'step-skipped': d => `${say(d['step'])} skipped${because(d['why'])}`,
  asked: d => `asked about ${str(d['step']) ?? say(d['about'])}${because(d['why'])} (${strs(d['answers']).join(', ')})`,
  answered: d => `${str(d['by']) ?? 'nobody'} said "${str(d['do']) ?? 'nothing'}"${because(d['reason'])}`,
  fenced: fencedText,
  tolerated: d => `${say(d['what'])} failed, within what is tolerated${because(d['why'])}`,
  fact: d => `${say(d['kind'])} (${say(d['step'])})${because(d['text'])}`,
  'gate-begun': d =>
    `gate ${say(d['gate'])} asked${(num(d['forMs']) ?? 0) > 0 ? ` for ${span(num(d['forMs']) ?? 0)}` : ''}`,
  gate: gateText,
  'end-look': d => `all of it is looked at once more, whether it is on ${say(d['release'])}`,
  'end-found': d => `not all of it is there: ${strs(d['found']).join('; ')}; it is looked at again`,
  'watch-superseded': d => `the watch ended: ${supersededBy(d)}`,
  assessment: assessmentText,
  captured: d => `release ${say(d['release'])} captured by ${say(d['by'])}`,
  marked: d => `release ${say(d['release'])} marked as ${say(d['state'])} by ${say(d['by'])}${because(d['why'])}`,
  'upgrade-begun': d => `upgrade from ${say(d['from'])} to ${say(d['to'])} begun`,
  'upgrade-migrated': d => `migrations to ${say(d['to'])} done`,
  'upgrade-ended': d => `upgrade from ${say(d['from'])} to ${say(d['to'])} ended`,
}

function about(estimate: Obj[string] | undefined): string {
  const ms = num(estimate) ?? 0
  return ms > 0 ? `, about ${span(ms)}` : ''
}

function signalText(name: string, value: Obj): string {
  const by = str(value['by'])
  const who = by === null ? '' : ` by ${by}`
  const plain = {
    $pause: 'pause asked',
    $resume: 'going on asked',
    $cancel: 'abort asked',
    $supersede: str(value['upgrade']) === null ? 'new run announced' : `upgrade to ${str(value['upgrade'])} announced`,
  }
  const known = Object.entries(plain).find(([key]) => key === name)?.[1]
  if (known !== undefined) return `${known}${who}${because(value['reason'])}`
  return name.startsWith('answer:') ? `answer given${who}: ${say(value['do'])}` : `signal ${name}${who}`
}

function excluded(d: Obj): string {
  const all = list(d['exclude']).map(e => `"${say(obj(e)['rung'])}" of ${say(obj(e)['component'])}`)
  const beyond = strs(d['outside'])
  const blocked = strs(d['blockers'])
  const more = [
    ...(blocked.length > 0 ? [`blocked: ${blocked.join('; ')}`] : []),
    ...(beyond.length > 0 ? [`beyond what was approved: ${beyond.join('; ')}`] : []),
  ]
  return `${all.join(', ')}${more.map(m => `; ${m}`).join('')}`
}

function fencedText(d: Obj): string {
  const fenced =
    d['fenced'] === true ? 'kept away from users' : `could NOT be kept away from users (${say(d['fence'])})`
  return `${say(d['step'])} came to nothing that could be trusted; its target was ${fenced}${because(d['why'])}`
}

function gateText(d: Obj): string {
  const bad = Object.entries(obj(d['samples'])).filter(([, s]) => obj(s)['ok'] !== true)
  const why = bad.map(([probe, s]) => `${probe}: ${say(obj(s)['text'])}`).join('; ')
  const outcome = { pass: 'passed', fail: 'failed' }[say(d['outcome'])] ?? 'was inconclusive'
  const tries = num(d['attempts']) ?? 1
  return `gate ${say(d['gate'])} ${outcome}${tries > 1 ? ` after ${tries} attempts` : ''}${why === '' ? '' : `: ${why}`}`
}

function assessmentText(d: Obj): string {
  const { answer, then } = obj(d['decision'])
  const overruled = obj(d['overruled'])
  const says = `${say(answer)}${str(then) === null ? '' : `, then ${str(then)}`}`
  const other = str(overruled['answer'])
  const over = other === null ? '' : `; overruled by ${say(overruled['by'])}: ${other}`
  return `${say(d['by'])} assessed it as ${say(d['severity'])}, data impact ${say(d['dataImpact'])}: ${says}${over}`
}
