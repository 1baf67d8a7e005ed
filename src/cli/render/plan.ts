import type { Finding, Node } from '../../core/contract.ts'
import { type ImpactPoint, impactPoints, span } from '../../core/impact-text.ts'
import { blockersOf, isEmpty, type Plan, uncapturedIn } from '../../core/plan.ts'
import { spare } from '../../core/secret.ts'
import { paint } from '../out.ts'
import { table, wrap } from '../text.ts'

/** The plan as it is shown before anything is touched. */
export function planLines(plan: Plan, width: number): string[] {
  spare(Object.keys(plan.steps), true)
  const title = `Plan for ${plan.environment}: ${plan.from ?? 'what runs'} -> ${plan.to.release}${plan.mode === 'emergency' ? ', emergency' : ''}`
  const lines = [paint('bold', title), ...changes(plan, width)]
  const blockers = blockersOf(plan)
  if (isEmpty(plan) && blockers.length === 0) {
    const left = uncapturedIn(plan)
    const but = left.length === 0 ? '' : `, but for ${left.join(', ')}, which was not captured with it`
    const nothing = `Nothing to do: ${plan.environment} is already as ${plan.to.release} was captured${but}.`
    // What is as it was captured may be unwell all the same.
    const own = plan.findings.filter(f => f.level === 'warning' && f.component !== null)
    return [...lines, ...findings(own, width), '', ...wrap(nothing, width)]
  }
  if (!isEmpty(plan)) lines.push('', ...steps(plan, width), '', ...impact(plan, width))
  lines.push(...findings(plan.findings, width), '', ...foot(plan, width))
  return lines
}

function changes(plan: Plan, width: number): string[] {
  const left = uncapturedIn(plan)
  const rows = plan.components.map(c => {
    const stays = left.includes(c.id) ? 'is left' : 'stays'
    const does = c.change === null ? `${stays}: ${c.observed.summary}` : `${c.change.from} -> ${c.change.to}`
    return [c.id, c.change === null ? '' : c.rung, does]
  })
  const lines = table(rows, width, '  ')
  for (const c of plan.components) {
    for (const r of c.rejected) lines.push(...wrap(`${c.id}: not by "${r.rung}": ${r.why}`, width, '    '))
  }
  return lines
}

function steps(plan: Plan, width: number): string[] {
  const lines = [paint('bold', `Steps, about ${span(plan.estimateMs)}`)]
  for (const { phase, node, estimateMs } of plan.phases) {
    lines.push(`  ${phase.padEnd(10)} ${estimateMs > 0 ? `~${span(estimateMs)}` : ''}`.trimEnd())
    for (const text of nodeLines(plan, node)) lines.push(...wrap(text, width, '    ', '  '))
  }
  return [...lines, ...wrap(timesFrom(plan), width, '  ')]
}

/** Where the times come from: what was measured is worth more than what is usual. */
function timesFrom({ steps: all, measured = {} }: Plan): string {
  const [count, of] = [Object.keys(measured).length, Object.keys(all).length]
  if (count === 0) return 'Times are typical values: none of these steps was run here before.'
  const rest = count === of ? '' : ', the others are typical values'
  return `Times of ${count} of ${of} steps are medians of earlier runs${rest}.`
}

function nodeLines(plan: Plan, node: Node, indent = ''): string[] {
  if ('step' in node) {
    const step = plan.steps[node.step]
    const mark = step?.destructive ? ' (cannot be undone)' : ''
    return [`${indent}${step?.title ?? node.step}${mark}`]
  }
  if ('gate' in node) {
    const how = node.forMs > 0 ? ` for ${span(node.forMs)}` : ''
    const back = node.onFail.apply.length > 0 ? '; if it fails, users are taken away again' : ''
    return [`${indent}gate ${[node.gate, ...(node.with ?? [])].join(' and ')} must pass${how}${back}`]
  }
  if ('seq' in node) return node.seq.flatMap(n => nodeLines(plan, n, indent))
  const inner = node.par.flatMap(item => nodeLines(plan, item.node, indent))
  const many = node.par.length > 1 && node.par.every(item => item.after.length === 0)
  return many && node.limit > 1
    ? [`${indent}${Math.min(node.limit, node.par.length)} at a time:`, ...inner.map(l => `  ${l}`)]
    : inner
}

function impact(plan: Plan, width: number): string[] {
  const lines = [paint('bold', 'What it costs')]
  const points: ImpactPoint[] = impactPoints(plan)
  if (plan.mode === 'emergency' && plan.omitted.length === 0) points.push({ topic: 'Left out', text: 'nothing' })
  for (const { topic, text } of points) {
    const [first = '', ...rest] = wrap(text, width - 19)
    const grave = topic === 'Data lost' && text !== 'none'
    lines.push(`  ${grave ? paint('yellow', topic.padEnd(16)) : topic.padEnd(16)} ${first}`)
    for (const line of rest) lines.push(' '.repeat(19) + line)
  }
  return lines
}

const ORDER = { blocker: 0, warning: 1, note: 2 } as const

export function findings(all: readonly Finding[], width: number): string[] {
  if (all.length === 0) return []
  const lines = ['', paint('bold', 'Findings')]
  for (const f of all.toSorted((a, b) => ORDER[a.level] - ORDER[b.level])) {
    const style = f.level === 'blocker' ? 'red' : f.level === 'warning' ? 'yellow' : 'dim'
    const [first = '', ...rest] = wrap(f.what, width - 12)
    lines.push(`  ${paint(style, f.level.padEnd(8))}  ${first}`, ...rest.map(l => `            ${l}`))
    if (f.remedy !== '') lines.push(...wrap(`-> ${f.remedy}`, width, '            '))
  }
  return lines
}

function foot(plan: Plan, width: number): string[] {
  const touched = Object.entries(plan.envelope.rungs).map(([id, rungs]) => `${id} (${rungs.join(', ')})`)
  const lines = touched.length === 0 ? [] : wrap(`Approving it allows: ${touched.join(', ')}`, width)
  return [...lines, `Hash ${plan.hash.slice(0, 16)}`]
}
