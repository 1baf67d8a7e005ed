import type { MatrixRow } from '../config/schema.ts'
import { iso } from '../core/clock.ts'
import type { Loss } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import type { GateResult } from '../core/gate.ts'
import { blockersOf, type Plan } from '../core/plan.ts'
import { ANSWERS, type Answer, type Decision, decide, type Situation, situationText, type Weights } from './matrix.ts'

/** What somebody judged and what was measured, with the decision that follows. Journalled as event `assessment`. */
export interface Assessment extends Situation {
  readonly format: 1
  readonly id: string | null
  /** ISO time. */
  readonly at: string
  /** Who judged. */
  readonly by: string
  readonly affected: Affected
  readonly note: string | null
  readonly evidence: readonly Evidence[]
  readonly migrationsBetween: number | null
  /** How long going back would take, by the plan that was made. Milliseconds; null: no plan. */
  readonly rollbackMs: number | null
  /** What going back would lose, by that plan; null: no plan. */
  readonly loss: readonly Loss[] | null
  readonly blockers: readonly string[]
  readonly decision: Decision
  readonly overruled: Overruling | null
}

interface Affected {
  readonly systems: readonly string[]
  readonly users: readonly string[]
  /** Business functions: "pay", "register". */
  readonly functions: readonly string[]
}

/** One thing that was measured, or seen by a person, at one time. */
export interface Evidence {
  /** ISO time. */
  readonly at: string
  /** "gate healthy", "probe healthy/api", or in a person's words. */
  readonly what: string
  /** Null: inconclusive, which is never well. */
  readonly ok: boolean | null
  readonly text: string
  /** Who saw it; null: it was measured. */
  readonly by: string | null
}

export interface Overruling {
  readonly at: string
  readonly by: string
  readonly why: string
  readonly answer: Answer
}

/** What `assess` is given: everything but what it works out. */
export type Judgement = Omit<Assessment, 'format' | 'decision' | 'overruled'>

/** Decides on what was judged. `matrix` null: the shipped one. Throws `assessment_invalid`. */
export function assess(judgement: Judgement, matrix: readonly MatrixRow[] | null): Assessment {
  if (judgement.by.trim() === '')
    throw invalid('An assessment needs somebody who made it', 'say who: BACKOUT_USER=NAME')
  for (const [name, value] of Object.entries({
    'time to fix': judgement.timeToFixMs,
    'rollback time': judgement.rollbackMs,
  })) {
    if (value !== null && !(Number.isFinite(value) && value >= 0)) {
      throw invalid(`The ${name} is ${value}`, 'give a duration such as 45m, or leave it out where nobody can say')
    }
  }
  const decision = decide(judgement, matrix, weightsOf(judgement))
  return { format: 1, ...judgement, decision, overruled: null }
}

function weightsOf({ rollbackMs, migrationsBetween, loss, blockers, evidence }: Judgement): Weights {
  const bad = evidence.filter(e => e.ok !== true)
  const failing = bad.map(
    e => `${e.what}: ${e.ok === null ? 'inconclusive, ' : ''}${e.text} (${e.by ?? 'measured'}, ${e.at})`,
  )
  return { rollbackMs, migrationsBetween, loss, blockers, failing }
}

/** What a plan says to the one who decides. */
export function weighedBy(plan: Plan): Pick<Judgement, 'rollbackMs' | 'loss' | 'blockers'> {
  return { rollbackMs: plan.estimateMs, loss: plan.impact.loss, blockers: blockersOf(plan).map(b => b.what) }
}

/** A measured gate as evidence: itself, then each of its probes. */
export function evidenceOf(result: GateResult): Evidence[] {
  const at = iso(result.at)
  const ok = { pass: true, fail: false, inconclusive: null }[result.outcome]
  const tries = result.attempts === 1 ? '' : ` after ${result.attempts} attempts`
  const samples = Object.entries(result.samples).map(([probe, sample]): Evidence => {
    return { at, what: `probe ${result.gate}/${probe}`, ok: sample.ok, text: sample.text, by: null }
  })
  return [{ at, what: `gate ${result.gate}`, ok, text: `${result.outcome}${tries}`, by: null }, ...samples]
}

/** Puts another answer in place of the matrix's; who and why stay with it. Throws `overrule_invalid`. */
export function overrule(assessment: Assessment, overruling: Overruling): Assessment {
  const { by, why, answer } = overruling
  if (by.trim() === '' || why.trim() === '') {
    const what = 'The decision can be overruled only by somebody, for a reason'
    throw invalid(what, 'say why: --why "…"; and who: BACKOUT_USER=NAME', 'overrule_invalid')
  }
  if (answer === answerOf(assessment)) {
    throw invalid(`The decision is "${ANSWERS[answer]}" already`, 'leave --overrule out', 'overrule_invalid')
  }
  return { ...assessment, overruled: overruling }
}

/** What counts: the overruling where there is one. */
export function answerOf({ decision, overruled }: Pick<Assessment, 'decision' | 'overruled'>): Answer {
  return overruled?.answer ?? decision.answer
}

/** The assessment for people, as plain lines. */
export function assessmentLines(assessment: Assessment): string[] {
  const { decision, overruled, affected } = assessment
  const then = decision.then === null ? '' : `, then ${ANSWERS[decision.then]}`
  const who = (name: string, list: readonly string[]) => (list.length === 0 ? [] : [`${name}: ${list.join(', ')}`])
  return [
    `Assessed: ${situationText(assessment)} (${assessment.by}, ${assessment.at})`,
    ...who('Systems', affected.systems),
    ...who('Users', affected.users),
    ...who('Functions', affected.functions),
    ...(assessment.note === null ? [] : [`Note: ${assessment.note}`]),
    ...assessment.evidence.map(evidenceLine),
    `The matrix says: ${ANSWERS[decision.answer]}${then}`,
    ...decision.reasons.map(reason => `  - ${reason}`),
    ...(overruled === null ? [] : [overruledLine(overruled)]),
  ]
}

function evidenceLine({ what, ok, text, at, by }: Evidence): string {
  const is = ok === null ? 'inconclusive' : ok ? 'well' : 'not well'
  return `Evidence: ${what}: ${is}: ${text} (${by ?? 'measured'}, ${at})`
}

function overruledLine({ by, why, answer, at }: Overruling): string {
  return `Overruled by ${by} (${at}): ${ANSWERS[answer]}, because ${why}`
}

function invalid(what: string, next: string, code = 'assessment_invalid'): BackoutError {
  return new BackoutError({ code, what, next, exit: 'usage' })
}
