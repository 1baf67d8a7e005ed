import type { Downtime } from './downtime.ts'
import type { Report } from './model.ts'
import { inline, md, time, took } from './text.ts'

/** The run in five lines, for those who read no further. */
export function summaryOf(report: Report): string[] {
  return [outcome(report), times(report), users(report), data(report), people(report)]
}

function outcome(report: Report): string {
  const name = md(report.environment ?? report.run)
  const from = report.from === null ? '' : `from ${inline(report.from)} `
  const hurry = report.mode === 'emergency' ? ' as an emergency' : ''
  const way = `${from}to ${destination(report.to)}${hurry}`
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
  if (report.state === 'aborted') return `**Taking ${name} back** ${way} **was aborted**${aborted(report)}.${left}`
  return `**${name} is being taken back** ${way}: the run is ${report.state}.${left}`
}

/** A departure is named after its run, which people know by what it did. */
function destination(to: string | null): string {
  if (to === null) return 'a release that is not known'
  const run = /^departure-(.+)$/.exec(to)?.[1]
  return run === undefined ? inline(to) : `where run ${inline(run)} had begun (${inline(to)})`
}

function aborted({ why, decisions }: Report): string {
  const by = decisions.findLast(d => d.kind === 'abort')
  const said = by?.why ?? (why === 'it was aborted' ? null : why)
  return `${by === undefined ? '' : ` by ${inline(by.who)}`}${said === null ? '' : `: ${inline(said)}`}`
}

function times({ started, ended, durationMs, estimateMs }: Report): string {
  const until =
    ended === null ? `not ended, ${took(durationMs)} so far` : `ended ${time(ended)}, took ${took(durationMs)}`
  return `Started ${time(started)}, ${until} (estimated ${took(estimateMs, 'not known')}).`
}

function users({ downtime }: Report): string {
  const { plannedMs, traffic, gates } = downtime
  const away = stretch(traffic, 'not back')
  const seen = stretch(gates, 'not seen well again')
  return `Users away by the traffic steps: ${away}; failing as the gates saw it: ${seen}; planned: ${took(plannedMs, 'not known')}.`
}

function stretch({ from, ms, how }: Downtime, open: string): string {
  if (ms !== null) return took(ms)
  return from === null ? how.replace(/^not measured: (.*)$/, 'not measured ($1)') : `since ${time(from)}, ${open}`
}

function data({ facts, plans, sideEffects }: Report): string {
  const lost = facts.filter(f => f.kind === 'lost').map(f => md(f.text))
  const back = facts.filter(f => f.back).map(f => md(f.text))
  const planned = plans.findLast(p => p.run)?.impact.loss.filter(l => l.count > 0).length ?? 0
  const gone =
    lost.length > 0 ? `lost: ${lost.join('; ')}` : back.length > 0 ? 'nothing lost' : 'no step told of a loss'
  const told = [gone, ...back].join('; ')
  const foreseen = lost.length + back.length === 0 && planned > 0 ? `, though the plan foresaw ${planned}` : ''
  return `Data: ${told}${foreseen}; ${count(sideEffects.length, 'side effect')} to mind before the next roll-forward.`
}

function people({ startedBy, decisions, pauses, resumes, falls }: Report): string {
  const { by, confirmed, reason } = startedBy
  const why = reason === null ? ', no reason given' : `, because ${md(reason)}`
  const crashed = resumes.filter(r => r.after === 'interrupted').length
  const rest = [count(decisions.length, 'decision'), count(pauses.length, 'pause'), count(crashed, 'interruption')]
  const how = confirmed === null ? 'confirmation not recorded' : `confirmed: ${inline(confirmed)}`
  return `Started by ${md(by ?? 'somebody unnamed')} (${how})${why}; ${rest.join(', ')}, ${count(falls.length, 'fall')} to another rung.`
}

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
