import type { Out } from '../out.ts'
import { paint } from '../out.ts'
import { wrap } from '../text.ts'
import { AREAS, type Area, type Check, type Level, plural } from './check.ts'

const TITLES: Readonly<Record<Area, string>> = {
  machine: 'This machine',
  configuration: 'The configuration',
  home: 'Where it lives',
  components: 'Components',
  releases: 'Releases, and the way back',
  probes: 'Probes, asked once',
  runs: 'Journal and runs',
}

const STYLE = { ok: 'green', note: 'dim', warning: 'yellow', problem: 'red' } as const
const GAP = ' '.repeat(11)

/** The list for people, area by area, and what to do next. */
export function show(out: Out, environment: string, checks: readonly Check[], next: readonly string[]): void {
  for (const area of AREAS) {
    const own = checks.filter(c => c.area === area)
    if (own.length === 0) continue
    out.line(paint('bold', TITLES[area]))
    for (const check of own) showCheck(out, check)
    out.line()
  }
  for (const line of wrap(verdict(environment, checks), out.width)) out.line(line)
  for (const line of next) out.line(`Next: ${line}`)
}

function showCheck(out: Out, { level, code, what, remedy }: Check): void {
  const [first = '', ...rest] = wrap(what, out.width - GAP.length)
  out.line(`  ${paint(STYLE[level], level.padEnd(7))}  ${first}`)
  for (const line of rest) out.line(GAP + line)
  if (remedy === '' || code === 'way_back') return
  const [arrow = '', ...more] = wrap(remedy, out.width - GAP.length - 3)
  out.line(`${GAP}-> ${arrow}`)
  for (const line of more) out.line(`${GAP}   ${line}`)
}

function verdict(environment: string, checks: readonly Check[]): string {
  const problems = count(checks, 'problem')
  const warnings = count(checks, 'warning')
  const rest = warnings === 0 ? '' : `; ${plural(warnings, 'warning')}`
  if (problems === 0 && checks.some(c => c.code === 'never_captured')) {
    return `Nothing is wrong, but nothing was captured yet, and ${environment} cannot be taken back before that${rest}.`
  }
  if (problems === 0) return `Nothing stands in the way of taking ${environment} back${rest}.`
  const verb = problems === 1 ? 'stands' : 'stand'
  return `${plural(problems, 'problem')} ${verb} in the way of taking ${environment} back${rest}.`
}

export function count(checks: readonly Check[], level: Level): number {
  return checks.filter(c => c.level === level).length
}

/** What to type now. */
export function nextOf(checks: readonly Check[]): string[] {
  const has = (code: string) => checks.some(c => c.code === code)
  if (has('run_interrupted')) return ['backout resume']
  if (count(checks, 'problem') > 0) return ['mend these, then: backout doctor']
  if (has('never_captured')) return ['backout capture RELEASE']
  const way = checks.find(c => c.code === 'way_back')
  return way === undefined ? [] : [way.remedy]
}
