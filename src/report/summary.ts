import { span } from '../core/impact-text.ts'
import type { Report } from './model.ts'
import { md, time, took } from './text.ts'

/** The run in five lines, for those who read no further. */
export function summaryOf(report: Report): string[] {
  return [outcome(report), times(report), users(report), data(report), people(report)]
}

function outcome(report: Report): string {
  const name = md(report.environment ?? report.run)
  const way = `from ${md(report.from ?? 'a release that is not known')} to ${md(report.to ?? 'a release that is not known')}`
  const why = report.why === null ? '' : `: ${md(report.why)}`
  const names = report.left.slice(0, 3).map(l => `${md(l.what)} ${l.is}`)
  const more = report.left.length > 3 ? `, and ${report.left.length - 3} more` : ''
  const left = names.length === 0 ? '' : ` Not as planned: ${names.join(', ')}${more}.`
  if (report.moved.length > 0) return `**${name} was not touched**: the world had moved since the plan was made.`
  if (report.state === 'succeeded') {
    if (report.steps.length === 0) return `**${name} was left as it is**${why}.`
    return `**${name} was taken back** ${way}.${left}`
  }
  if (report.state === 'failed') return `**${name} was NOT taken back** ${way}${why}.${left}`
  if (report.state === 'aborted') return `**Taking ${name} back** ${way} **was aborted**${why}.${left}`
  return `**${name} is being taken back** ${way}: the run is ${report.state}.${left}`
}

function times({ started, ended, durationMs, estimateMs }: Report): string {
  const until =
    ended === null ? `not ended, ${span(durationMs)} so far` : `ended ${time(ended)}, took ${span(durationMs)}`
  return `Started ${time(started)}, ${until} (estimated ${took(estimateMs, 'not known')}).`
}

function users({ downtime }: Report): string {
  const { plannedMs, traffic, gates } = downtime
  const away = traffic.from !== null && traffic.ms === null ? `since ${time(traffic.from)}, not back` : took(traffic.ms)
  const seen =
    gates.from !== null && gates.ms === null ? `since ${time(gates.from)}, not seen well again` : took(gates.ms)
  return `Users away by the traffic steps: ${away}; failing as the gates saw it: ${seen}; planned: ${took(plannedMs, 'not known')}.`
}

function data({ facts, plans, sideEffects }: Report): string {
  const lost = facts.filter(f => f.kind === 'lost').map(f => md(f.text))
  const planned = plans.findLast(p => p.run)?.impact.loss.filter(l => l.count > 0).length ?? 0
  const told = lost.length > 0 ? `lost: ${lost.join('; ')}` : 'no step told of a loss'
  const foreseen = lost.length === 0 && planned > 0 ? `, though the plan foresaw ${planned}` : ''
  return `Data: ${told}${foreseen}; ${count(sideEffects.length, 'side effect')} to mind before the next roll-forward.`
}

function people({ startedBy, decisions, pauses, resumes, falls }: Report): string {
  const { by, confirmed, reason } = startedBy
  const why = reason === null ? ', no reason given' : `, because ${md(reason)}`
  const crashed = resumes.filter(r => r.after === 'interrupted').length
  const rest = [count(decisions.length, 'decision'), count(pauses.length, 'pause'), count(crashed, 'interruption')]
  const how = confirmed === null ? 'confirmation not recorded' : `confirmed: ${md(confirmed)}`
  return `Started by ${md(by ?? 'somebody unnamed')} (${how})${why}; ${rest.join(', ')}, ${count(falls.length, 'fall')} to another rung.`
}

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
