import { amount } from '../core/impact-text.ts'
import type { Report } from './model.ts'
import { answerText } from './people.ts'
import { components, effects, falls, gates, interruptions, phases, steps } from './sections.ts'
import { count, summaryOf } from './summary.ts'
import { bullets, inline, md, offset, table, time, took } from './text.ts'

/** The report for people, as Markdown that reads well in a terminal too. Ends with a line break. */
export function markdownOf(report: Report): string {
  const { environment, from, to, run, mode } = report
  const way = from === null ? `to ${inline(to ?? '?')}` : `${inline(from)} → ${inline(to ?? '?')}`
  const title = `# Rollback of ${md(environment ?? run)}: ${way}${mode === 'emergency' ? ' (emergency)' : ''}`
  const sections = [
    section('What was taken back', components(report)),
    section('What it cost', cost(report)),
    section('Not as planned', left(report)),
    section('What stays, and what it means for the next roll-forward', effects(report)),
    section('Decisions', decisions(report)),
    section('Assessment', assessments(report)),
    section('Phases', phases(report)),
    section('Steps', steps(report)),
    section('Gates', gates(report)),
    section('Other ways back', falls(report)),
    section('Pauses and interruptions', interruptions(report)),
    section('Findings of the plan', findings(report)),
    section('Going back to where it started', departure(report)),
    section('Root cause', ['not recorded']),
    section('Lessons', ['not recorded']),
    section('Timeline', timeline(report)),
    section('Journal', journal(report)),
  ]
  const about = [`Run ${md(run)}, report made ${time(report.made)}. All times are UTC.`]
  return `${[title, '', ...bullets(summaryOf(report)), '', ...about, ...sections.flat()].join('\n')}\n`
}

function section(title: string, lines: readonly string[]): string[] {
  return ['', `## ${title}`, '', ...(lines.length === 0 ? ['none'] : lines)]
}

function cost(report: Report): string[] {
  const { plans, downtime, facts, moved, steps: all } = report
  const followed = plans.findLast(p => p.run) ?? plans[0]
  const points = followed?.points ?? []
  const planned = (topic: string) => points.filter(p => p.topic === topic).map(p => md(p.text))
  const lost = facts.filter(f => f.kind === 'lost').map(f => md(f.text))
  const back = facts.some(f => f.back)
  const final = [...new Set(all.filter(s => s.destructive && s.state === 'done').map(s => md(s.title)))]
  const happened: Record<string, string> = {
    Downtime: `traffic steps: ${took(downtime.traffic.ms)}; gates: ${took(downtime.gates.ms)}`,
    'Cannot be undone': final.length > 0 ? `done: ${final.join('; ')}` : 'not done',
    'Left out': 'left out',
    'Data lost': lost.length > 0 ? lost.join('; ') : back ? 'none: it was carried forward' : 'no step told of a loss',
  }
  const topics = [...new Set(points.map(p => p.topic))]
  const rows = topics.map(topic => [topic, happened[topic] ?? 'not measured', planned(topic).join('; ')])
  const how = [
    `Downtime by the traffic steps: ${md(downtime.traffic.how)}.`,
    `Downtime as the gates saw it: ${md(downtime.gates.how)}.`,
  ]
  const untouched =
    moved.length === 0
      ? []
      : ['Nothing was touched. What had changed since the plan:', '', ...bullets(moved.map(md)), '']
  return [
    ...untouched,
    ...(rows.length === 0
      ? ['The plan is not known.']
      : table(['', 'happened', planName(report)], [...rows, ...skippedBy(report)])),
    '',
    ...bullets(how),
  ]
}

function planName({ plans }: Report): string {
  return plans.filter(p => p.run).length > 1 ? 'planned at last' : 'planned'
}

/** What an emergency leaves out is told, nothing included. */
function skippedBy({ mode, omitted }: Report): string[][] {
  if (mode !== 'emergency' || omitted.length > 0) return []
  return [['Left out', 'nothing', 'nothing']]
}

function left(report: Report): string[] {
  const fell = report.falls.filter(f => f.taken)
  const rows = [
    ...fell.map(f => [md(f.component), `fell to ${md(f.to ?? '?')}`, md(f.by), md(f.why ?? '')]),
    ...report.left.map(l => [md(l.what), l.is, md(l.by ?? ''), md(l.why ?? '')]),
  ]
  return rows.length === 0 ? [] : table(['step or gate', 'is', 'by', 'why'], rows)
}

function decisions(report: Report): string[] {
  const rows = report.decisions.map(d => [time(d.at), inline(d.who), inline(d.why ?? ''), inline(d.what)])
  return rows.length === 0 ? [] : table(['time', 'who', 'why', 'what'], rows)
}

function assessments(report: Report): string[] {
  if (report.assessments.length === 0) return ['none was recorded']
  return report.assessments.flatMap((a, i) => {
    const who = (name: string, texts: readonly string[]) =>
      texts.length === 0 ? [] : [`${name}: ${md(texts.join(', '))}`]
    const fix = took(a.timeToFixMs, 'unknown')
    const over =
      a.overruled === null
        ? []
        : [`Overruled by ${md(a.overruled.by)}: ${md(a.overruled.answer)}, because ${md(a.overruled.why)}`]
    const evidence = a.evidence.map(e => {
      const is = e.ok === null ? 'inconclusive' : e.ok ? 'well' : 'not well'
      return [time(e.at), md(e.what), is, md(e.by ?? 'measured'), md(e.text)]
    })
    return [
      ...(i === 0 ? [] : ['']),
      `${time(a.at)}, ${md(a.by)}: ${md(a.severity)}, data impact ${md(a.dataImpact)}, time to fix ${fix}; the answer: ${md(answerText(a))}`,
      '',
      ...bullets([
        ...who('Systems', a.affected.systems),
        ...who('Users', a.affected.users),
        ...who('Functions', a.affected.functions),
        ...who('Note', a.note === null ? [] : [a.note]),
        ...over,
      ]),
      ...(a.reasons.length === 0 ? [] : ['', 'Reasons:', '', ...bullets(a.reasons.map(md))]),
      ...(evidence.length === 0 ? [] : ['', ...table(['time', 'evidence', 'is', 'by', 'text'], evidence)]),
    ]
  })
}

function findings({ plans }: Report): string[] {
  const seen = new Set<string>()
  const rows = plans
    .flatMap(p => p.findings)
    .flatMap(f => {
      const row = [f.level, md(f.code), md(f.component ?? ''), md(f.what), md(f.remedy)]
      const key = row.join('\n')
      if (seen.has(key)) return []
      seen.add(key)
      return [row]
    })
  return rows.length === 0 ? [] : table(['level', 'finding', 'component', 'what', 'remedy'], rows)
}

function departure({ departure: d, ended }: Report): string[] {
  if (d === null && ended === null) return ['Not captured yet: nothing was touched so far.']
  if (d === null) return ['No departure release was captured: the run ended before it touched anything.']
  const when = ended === null ? 'Once the run has ended' : 'If this rollback was a mistake'
  return [
    `Where the run started is kept as release ${md(d.release)}. ${when}: \`${d.revert}\` plans the way back there; it has an impact and an approval of its own.`,
  ]
}

function timeline(report: Report): string[] {
  const rows: { cells: string[]; key: string; again: number }[] = []
  for (const { at, offsetMs, type, text } of report.timeline) {
    const key = `${type} ${text}`
    const last = rows.at(-1)
    if (last?.key === key) last.again++
    else rows.push({ cells: [time(at), offset(offsetMs), md(text)], key, again: 0 })
  }
  const cells = rows.map(({ cells: [at = '', plus = '', text = ''], again }) => {
    return [at, plus, again === 0 ? text : `${text} (and ${count(again, 'more time')})`]
  })
  return table(['time', 'offset', 'what'], cells)
}

function journal({ chain, plans }: Report): string[] {
  const { length, mac, events, first, last } = chain
  const own =
    first === null ? 'none of this run' : `${amount(events, 'events')} of this run, number ${first} to ${last}`
  return [
    `When this report was made the journal held ${amount(length, 'events')}: ${own}. Its head was`,
    '',
    `    ${length}:${mac}`,
    '',
    `\`backout audit verify --head ${length}:${mac}\` tells whether the journal was cut or rewritten since.`,
    ...plans.map((p, i) => `${i === 0 ? '\nPlan' : 'then'} ${p.hash}${p.run ? '' : ' (not run)'}`),
  ]
}
