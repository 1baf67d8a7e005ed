import { span } from '../core/impact-text.ts'
import type { Report } from './model.ts'
import { bullets, inline, md, table, time, took } from './text.ts'

export function effects({ sideEffects }: Report): string[] {
  return sideEffects.length === 0 ? [] : bullets(sideEffects.map(s => `${md(s.text)}: ${md(s.means)} (${s.from})`))
}

export function phases({ phases: all }: Report): string[] {
  if (all.length === 0) return []
  const rows = all.map(p => [
    md(p.phase),
    p.state,
    took(p.tookMs, 'not ended'),
    p.estimateMs === 0 ? 'no step' : took(p.estimateMs, 'not known'),
    p.idleMs > 0 ? span(p.idleMs) : '',
    p.failures.map(f => `${md(f.what)}: ${md(f.why)}`).join('; '),
  ])
  return table(['phase', 'is', 'took', 'estimated', 'of it idle', 'failures on the way'], rows)
}

export function steps({ steps: all }: Report): string[] {
  if (all.length === 0) return []
  const rows = all.map(s => [
    md(s.id),
    s.found && s.state === 'done' ? 'was done already' : s.state,
    took(s.tookMs, 'not ended'),
    took(s.estimateMs, 'not known'),
    s.retries === 0 ? '' : String(s.retries),
    md(s.title),
    stepNote(s),
  ])
  return table(['step', 'is', 'took', 'estimated', 'retries', 'title', 'note'], rows)
}

/** What the target, or a person in its place, said. */
function stepNote({ said, why, state }: Report['steps'][number]): string {
  if (said !== null) return `${md(said.by)} said "${md(said.did)}"${said.why === null ? '' : `: ${md(said.why)}`}`
  return state === 'done' || why === null ? '' : md(why)
}

export function components({ components: all }: Report): string[] {
  if (all.length === 0) return []
  const rows = all.map(c => [
    inline(c.component),
    inline(c.from),
    c.to === null ? 'stays' : inline(c.to),
    inline(c.rung),
    c.is,
  ])
  return table(['component', 'was', 'to', 'way back', 'is'], rows)
}

export function gates({ gates: all }: Report): string[] {
  if (all.length === 0) return ['not measured: no gate was asked']
  const rows = all.map(g => [
    md(g.gate),
    md(g.phase ?? ''),
    g.skipped === null ? g.outcome : `${g.outcome}, skipped by ${md(g.skipped.by)}`,
    time(g.last, ''),
    g.measured === 1 ? 'once' : `${g.measured} times`,
    g.forMs > 0 ? span(g.forMs) : '',
    g.samples
      .filter(s => s.ok !== true)
      .map(sample)
      .join('; ') || wellOf(g.samples.length),
  ])
  const last = new Map(all.filter(g => g.samples.length > 0).map(g => [g.gate, g]))
  return [
    ...table(['gate', 'phase', 'outcome', 'last', 'measured', 'to hold', 'last measurement'], rows),
    ...[...last.values()].flatMap(g => [
      '',
      `Gate ${md(g.gate)}, ${time(g.last, '')}:`,
      '',
      ...bullets(g.samples.map(sample)),
    ]),
  ]
}

function sample({ probe, ok, text }: Report['gates'][number]['samples'][number]): string {
  return `${md(probe)}: ${ok === null ? 'inconclusive, ' : ''}${inline(text)}`
}

function wellOf(probes: number): string {
  if (probes === 0) return ''
  return probes === 1 ? 'its probe is well' : `all ${probes} probes are well`
}

export function falls({ falls: all }: Report): string[] {
  if (all.length === 0) return []
  const rows = all.map(f => [
    time(f.at),
    md(f.component),
    `${md(f.from)} → ${md(f.to ?? 'nothing')}`,
    f.taken ? 'taken' : 'not taken',
    `${md(f.by)}${f.approvedBy === null ? '' : `, approved by ${md(f.approvedBy)}`}`,
    [
      md(f.why ?? ''),
      ...(f.beyond.length === 0 ? [] : [`beyond what was approved: ${md(f.beyond.join('; '))}`]),
      ...(f.blockers.length === 0 ? [] : [`blocked: ${md(f.blockers.join('; '))}`]),
    ].join('; '),
  ])
  return table(['time', 'component', 'way back', 'is', 'decided by', 'why'], rows)
}

export function interruptions({ pauses, resumes, idle }: Report): string[] {
  const paused = pauses.map(p => {
    const on = p.resumed === null ? 'not let go on' : `let go on by ${md(p.resumedBy ?? '?')} after ${took(p.ms)}`
    const stood = p.stood === null ? 'it did not come to a stand' : `it stood from ${time(p.stood)}`
    return { at: p.asked, text: `paused by ${md(p.by)}; ${stood}; ${on}` }
  })
  const resumed = resumes.map(r => {
    const gone = took(r.goneMs)
    const crash = `taken up again after its process was gone, for ${gone} at most`
    return { at: r.at, text: r.after === 'interrupted' ? crash : `taken up again, having been ${r.after} for ${gone}` }
  })
  const all = [...paused, ...resumed].toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at))
  const waits = idle.filter(s => s.kind === 'waiting' && s.untilMs !== null)
  const waited = waits.reduce((sum, s) => sum + (s.untilMs ?? 0) - s.fromMs, 0)
  const total = waited > 0 ? [`in all it waited ${span(waited)} for people's answers`] : []
  return bullets([...all.map(({ at, text }) => `${time(at)}: ${text}`), ...total])
}
