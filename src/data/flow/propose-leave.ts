import type { Finding, Proposal } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { between } from '../bookkeeping.ts'
import type { SchemaDifference } from '../schema.ts'
import type { Live } from './level.ts'
import type { Look } from './steps.ts'

/** The schema stays as it is: nothing is done, nothing is lost, and the old release has to live with it. */
export function proposeLeave(look: Look, live: Live, differences: readonly SchemaDifference[]): Proposal {
  const { site, question, say } = look
  const { extra, missing } = between(question.to.level.applied, live.level.applied, live.tool?.headOnly === true)
  if (differences.length + extra.length + missing.length === 0) return NOTHING
  const findings: Finding[] = []
  const bad = differences.filter(d => !d.additive)
  const { compatible } = site.settings
  if (compatible === 'never' || (compatible === 'additive' && bad.length > 0)) {
    const why = compatible === 'never' ? differences : bad
    const what = `The old release cannot be left with this schema: ${shown(why) || `migrations ${extra.join(', ')}`}`
    const remedy = 'take the rung `migrate-down`, or set `compatible: always` where you know better'
    findings.push(say('blocker', 'schema_not_compatible', what, remedy))
  }
  if (live.tool?.refusesUnknown === true && extra.length > 0) {
    const what = `${live.tool.tool} of the old release does not know ${extra.join(', ')} and refuses to migrate`
    findings.push(say('warning', 'tool_behind', what, 'let the old release start without migrating'))
  }
  const staysBehind = [...differences.map(d => d.text), ...extra.map(name => `migration ${name} stays applied`)]
  return { ...NOTHING, findings, impact: { ...NO_IMPACT, staysBehind } }
}

export function shown(differences: readonly SchemaDifference[]): string {
  return differences.map(d => d.text).join('; ')
}
