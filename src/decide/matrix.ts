import type { MatrixRow } from '../config/schema.ts'
import type { Loss } from '../core/contract.ts'
import { amount, span } from '../core/impact-text.ts'

export type Severity = MatrixRow['severity']
/** `corruption` is one that goes on: data is still being damaged. One that has stopped is `major`. */
export type DataImpact = NonNullable<MatrixRow['dataImpact']>[number]
export type Answer = MatrixRow['answer'] | 'offline-first'

const MINUTE = 60_000

/** The decision matrix that is used where `policy.matrix` gives no other. The first row that fits answers. */
export const SHIPPED: readonly MatrixRow[] = [
  { severity: 'critical', dataImpact: ['none'], fixLongerThan: 30 * MINUTE, answer: 'roll-back' },
  { severity: 'high', dataImpact: ['minor'], fixLongerThan: 60 * MINUTE, answer: 'roll-back' },
  { severity: 'medium', dataImpact: ['none'], fixLongerThan: 120 * MINUTE, answer: 'consider' },
  { severity: 'low', dataImpact: ['none'], fixLongerThan: 0, answer: 'fix-forward' },
]

/** What somebody judged, as far as the matrix asks for it. */
export interface Situation {
  readonly severity: Severity
  readonly dataImpact: DataImpact
  /** Milliseconds; null: nobody can say, which counts as longer than everything. */
  readonly timeToFixMs: number | null
}

/** What is weighed beside the matrix. Null wherever it is not known. */
export interface Weights {
  /** How long going back would take, by a plan. Milliseconds. */
  readonly rollbackMs: number | null
  readonly migrationsBetween: number | null
  readonly loss: readonly Loss[] | null
  /** What keeps the plan from being run. */
  readonly blockers: readonly string[]
  /** Gates and probes that were measured and are not well. */
  readonly failing: readonly string[]
}

export const NOTHING_KNOWN: Weights = {
  rollbackMs: null,
  migrationsBetween: null,
  loss: null,
  blockers: [],
  failing: [],
}

export interface Decision {
  readonly answer: Answer
  /** After `offline-first`: the smaller of the two, null where it cannot be told. Null for every other answer. */
  readonly then: 'roll-back' | 'fix-forward' | null
  /** Each names the row or the evidence that it comes from. */
  readonly reasons: readonly string[]
  /** Null: no row fits. */
  readonly row: FittingRow | null
}

interface FittingRow {
  /** Counts from 1. */
  readonly number: number
  readonly matrix: 'shipped' | 'policy.matrix'
  readonly rule: MatrixRow
}

/** The answer of the matrix and its reasons. Pure. `matrix` null: the shipped one. */
export function decide(situation: Situation, matrix: readonly MatrixRow[] | null, weights: Weights): Decision {
  const row = fitting(situation, matrix)
  if (situation.dataImpact === 'corruption') return offlineFirst(situation, row, weights)
  if (row === null) {
    const reasons = [...unfit(situation, matrix), lastResort(weights), ...evidence(weights)]
    return { answer: 'fix-forward', then: null, reasons, row }
  }
  const why = `${rowText(row)}; it is ${situationText(situation)}`
  const reasons = [why, ...unknownFix(situation), ...weighed(row.rule.answer, situation, weights)]
  return { answer: row.rule.answer, then: null, reasons, row }
}

function fitting(situation: Situation, given: readonly MatrixRow[] | null): FittingRow | null {
  const rows = given ?? SHIPPED
  const at = rows.findIndex(rule => misfits(rule, situation).length === 0)
  const rule = rows[at]
  return rule === undefined ? null : { number: at + 1, matrix: given === null ? 'shipped' : 'policy.matrix', rule }
}

/** Why a row does not fit; empty where it does. A row without data impacts stands for all, one without a time for any. */
function misfits(rule: MatrixRow, { severity, dataImpact, timeToFixMs }: Situation): string[] {
  const out: string[] = []
  if (rule.severity !== severity) out.push(`the severity is ${severity}`)
  if (rule.dataImpact !== undefined && !rule.dataImpact.includes(dataImpact)) {
    out.push(`the data impact is ${dataImpact}`)
  }
  if (rule.fixLongerThan > 0 && timeToFixMs !== null && timeToFixMs <= rule.fixLongerThan) {
    out.push(`a fix takes ${span(timeToFixMs)}, which is not longer than ${span(rule.fixLongerThan)}`)
  }
  return out
}

function rowText({ number, matrix, rule }: FittingRow): string {
  const impact = rule.dataImpact === undefined ? 'any data impact' : `data impact ${rule.dataImpact.join(' or ')}`
  const fix = rule.fixLongerThan > 0 ? `fix longer than ${span(rule.fixLongerThan)}` : 'any time to fix'
  const name = matrix === 'shipped' ? `row ${number} of the shipped matrix` : `row ${number} of policy.matrix`
  return `${name} (${rule.severity}, ${impact}, ${fix}) says ${ANSWERS[rule.answer]}`
}

export const ANSWERS: Readonly<Record<Answer, string>> = {
  'roll-back': 'roll back',
  consider: 'consider rolling back',
  'fix-forward': 'fix forward',
  'offline-first': 'take it offline at once',
}

export function situationText({ severity, dataImpact, timeToFixMs }: Situation): string {
  const fix = timeToFixMs === null ? 'time to fix unknown' : `a fix takes ${span(timeToFixMs)}`
  return `${severity}, data impact ${dataImpact}, ${fix}`
}

function unknownFix({ timeToFixMs }: Situation): string[] {
  return timeToFixMs === null ? ['the time to fix is not known: it counts as longer than every limit'] : []
}

/** No row fits: says of those for this severity what keeps them from it. */
function unfit(situation: Situation, given: readonly MatrixRow[] | null): string[] {
  const matrix = given === null ? 'shipped' : 'policy.matrix'
  const name = given === null ? 'the shipped matrix' : 'policy.matrix'
  const near = (given ?? SHIPPED).flatMap((rule, i) => {
    if (rule.severity !== situation.severity) return []
    return [`${rowText({ number: i + 1, matrix, rule })}, but ${misfits(rule, situation).join(' and ')}`]
  })
  return [`no row of ${name} fits: ${situationText(situation)}`, ...near, ...unknownFix(situation)]
}

function lastResort({ migrationsBetween }: Weights): string {
  const base = 'where no row fits, fixing forward comes first and going back is the last resort'
  if (migrationsBetween === null) return `${base}; how many migrations lie between is not known`
  if (migrationsBetween === 0) return base
  return `${base}, the more so as ${amount(migrationsBetween, 'migrations')} ${lie(migrationsBetween)} between the releases`
}

function lie(count: number): string {
  return count === 1 ? 'lies' : 'lie'
}

/** What speaks for and against going back, whatever the row says. */
function weighed(answer: MatrixRow['answer'], situation: Situation, weights: Weights): string[] {
  if (answer === 'fix-forward') return evidence(weights)
  return [...evidence(weights), ...faster(situation, weights), ...against(weights)]
}

function evidence({ failing }: Weights): string[] {
  return failing.map(f => `measured and not well: ${f}`)
}

function faster({ timeToFixMs }: Situation, { rollbackMs }: Weights): string[] {
  if (rollbackMs === null) return ['no plan says how long going back would take']
  if (timeToFixMs === null) return [`going back takes about ${span(rollbackMs)} by the plan`]
  const less = rollbackMs < timeToFixMs
  const is = less ? 'for going back: it takes' : 'against going back: it takes'
  return [`${is} about ${span(rollbackMs)} by the plan, a fix ${span(timeToFixMs)}`]
}

function against({ migrationsBetween, loss, blockers }: Weights): string[] {
  const out = blockers.map(b => `against going back: the plan is blocked now: ${b}`)
  if (migrationsBetween === null) out.push('how many migrations lie between the releases is not known')
  else if (migrationsBetween === 0) out.push('for going back: no migration lies between the releases')
  else {
    const n = amount(migrationsBetween, 'migrations')
    out.push(`against going back: ${n} ${lie(migrationsBetween)} between the releases`)
  }
  if (loss === null) return [...out, 'no plan says what data going back would lose']
  const lost = loss.filter(l => l.count > 0)
  if (lost.length === 0) return [...out, 'for going back: by the plan no data is lost']
  const what = lost.map(l => `${amount(l.count, l.unit)} of ${l.what}`).join(', ')
  return [...out, `against going back: by the plan ${what} would be lost`]
}

/**
 * Data is still being damaged: that is stopped first, whatever the matrix says. A row that fits decides what comes then,
 * otherwise the smaller of the two.
 */
function offlineFirst(situation: Situation, row: FittingRow | null, weights: Weights): Decision {
  const first = 'data is being corrupted and it goes on: offline at once, before anything else'
  const said = row?.rule.answer
  const rest = [...evidence(weights), ...against(weights)]
  if (row !== null && (said === 'roll-back' || said === 'fix-forward')) {
    const reasons = [first, `then: ${rowText(row)}`, ...unknownFix(situation), ...rest]
    return { answer: 'offline-first', then: said, reasons, row }
  }
  const { then, why } = smaller(situation, weights)
  const consider = row === null ? [] : [`${rowText(row)}: the smaller of the two is taken`]
  return { answer: 'offline-first', then, reasons: [first, ...consider, `then: ${why}`, ...rest], row }
}

function smaller({ timeToFixMs: fix }: Situation, { rollbackMs: back, blockers }: Weights) {
  if (blockers.length > 0)
    return { then: 'fix-forward', why: 'fix forward, for the plan to go back is blocked' } as const
  if (back === null) {
    const known = fix === null ? 'neither time is known' : `a fix takes ${span(fix)}, going back is not known`
    return {
      then: null,
      why: `the smaller of roll back and fix cannot be told: ${known}; \`backout plan\` estimates it`,
    }
  }
  const going = `going back takes about ${span(back)} by the plan`
  if (fix === null)
    return { then: 'roll-back', why: `roll back, for ${going} and the time to fix is not known` } as const
  const both = `${going}, a fix ${span(fix)}`
  if (back < fix) return { then: 'roll-back', why: `roll back, the smaller: ${both}` } as const
  return {
    then: 'fix-forward',
    why: `fix forward, ${back === fix ? 'for neither is smaller' : 'the smaller'}: ${both}`,
  } as const
}
