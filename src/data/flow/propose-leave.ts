import type { Finding, Proposal } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { BOOKKEEPING } from '../bookkeeping.ts'
import { reasonFor } from '../fits.ts'
import type { SchemaDifference, SchemaShape } from '../schema.ts'
import { type Say, unfinishedFindings } from './checks.ts'
import type { Live } from './level.ts'
import { type Gap, gapsBetween, keptIn, moved, nameOfBook, saidUntold } from './levels.ts'
import { rewrittenFindings, rewrittenSince } from './rewritten.ts'
import type { Look } from './steps.ts'

/** The schema stays as it is: nothing is done, nothing is lost, and the old release has to live with it. */
export async function proposeLeave(
  look: Look,
  live: Live,
  differences: readonly SchemaDifference[],
): Promise<Proposal> {
  const { site, question, say } = look
  const { gaps, untold } = gapsBetween(question.to.level, live.level)
  const between = moved(gaps)
  const extra = between.flatMap(gap => gap.extra)
  const findings: Finding[] = unfinishedFindings(live, say)
  findings.push(...rightsFindings(question.to.schema, live.schema, say))
  for (const kept of untold) {
    findings.push(say('warning', 'bookkeeping_untold', saidUntold(kept), 'capture the release again once it runs'))
  }
  const rewritten = await rewrittenSince(look, live, extra.length > 0)
  findings.push(...rewrittenFindings(look, rewritten))
  const data = (rewritten ?? []).map(r => `${r.what} as written since (at most ${r.rows} rows)`)
  if (differences.length + between.length + data.length === 0) return { ...NOTHING, findings }
  const bad = differences.filter(d => !d.additive)
  const why = (list: readonly SchemaDifference[]) => reasons(list, question.to.schema, live.schema)
  const { compatible } = site.settings
  if (compatible === 'never' || (compatible === 'additive' && bad.length > 0)) {
    const because = why(compatible === 'never' ? differences : bad) || `migrations ${extra.join(', ')}`
    const settled = compatible === 'never' && bad.length === 0
    const what = settled
      ? `\`compatible: never\` says that the old release is not left with another schema: ${because}`
      : `The old release cannot be left with this schema: ${because}`
    const other = settled
      ? 'let `compatible` be additive, where that is enough'
      : 'set `compatible: always` where you know better'
    const remedy = `take the rung \`migrate-down\`, or ${other}`
    findings.push(say('blocker', 'schema_not_compatible', what, remedy))
  }
  const fine = compatible === 'always' ? differences : differences.filter(d => d.additive)
  if (fine.length > 0) findings.push(say('note', 'schema_fits', `The old release can live with: ${why(fine)}`, ''))
  for (const gap of between.filter(g => g.extra.length > 0 && refusesUnknown(g))) {
    const what = `${gap.tool} of the old release does not know ${gap.extra.join(', ')} and refuses to migrate`
    findings.push(say('warning', 'tool_behind', what, 'let the old release start without migrating'))
  }
  const several = keptIn(live.level).length > 1
  const staysBehind = [...differences.map(d => d.text), ...data, ...between.flatMap(gap => staying(gap, several))]
  return { ...NOTHING, findings, impact: { ...NO_IMPACT, staysBehind } }
}

function refusesUnknown({ tool }: Gap): boolean {
  return BOOKKEEPING.find(b => b.tool === tool)?.refusesUnknown === true
}

function staying(gap: Gap, several: boolean): string[] {
  const of = several ? ` (${nameOfBook(gap, true)})` : ''
  return [
    ...gap.extra.map(name => `migration ${name} stays applied${of}`),
    ...gap.missing.map(name => `migration ${name} stays undone${of}`),
  ]
}

/** Whether the old release is one of those who lost it, nobody knows here. */
function rightsFindings(base: SchemaShape, now: SchemaShape, say: Say): Finding[] {
  const lost = Object.entries(base.tables).flatMap(([name, { rights: had = [] }]) => {
    const has = now.tables[name]?.rights
    return has === undefined
      ? []
      : had.filter(right => !has.includes(right)).map(right => `${right.replace(/: (?=\w+$)/, ' may not ')} ${name}`)
  })
  if (lost.length === 0) return []
  const what = `Rights of the release are gone: ${lost.join('; ')}`
  return [say('warning', 'rights_gone', what, 'GRANT them again, where the old release works as that role')]
}

/** Each difference, and what it means to code that does not know of it. */
function reasons(differences: readonly SchemaDifference[], base: SchemaShape, now: SchemaShape): string {
  return differences.map(d => `${d.text}: ${reasonFor(d, base, now)}`).join('; ')
}

export function shown(differences: readonly SchemaDifference[]): string {
  return differences.map(d => d.text).join('; ')
}
