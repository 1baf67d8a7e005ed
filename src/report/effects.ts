import type { Plan } from '../core/plan.ts'
import type { AssessmentRow } from './people.ts'
import { type Moment, num, obj, str } from './read.ts'

/** What a step told while it acted. */
export interface FactRow {
  readonly at: string
  readonly step: string | null
  readonly component: string | null
  readonly kind: string
  readonly text: string
  /** It says that what went with a restore was brought back, proven. */
  readonly back: boolean
}

/** What a step tells again when it is tried again counts once. */
export function factsOf(moments: readonly Moment[]): FactRow[] {
  const rows = new Map<string, FactRow & { returns: boolean }>()
  for (const { type, at, data } of moments) {
    if (type !== 'fact') continue
    const kind = str(data['kind']) ?? 'note'
    const text = str(data['text']) ?? ''
    const { proven, carried, returns } = obj(data['data'])
    const back = proven === true && (num(carried) ?? 0) > 0
    const row = { at, step: str(data['step']), component: str(data['component']), kind, text, back }
    const key = JSON.stringify([row.step, kind, text])
    if (!rows.has(key)) rows.set(key, { ...row, returns: returns === true })
  }
  const all = [...rows.values()]
  return all.map(({ returns, ...row }, i) => (returns && isBack(row, all.slice(i)) ? carried(row) : row))
}

function isBack({ component }: FactRow, later: readonly FactRow[]): boolean {
  return later.some(row => row.back && row.component === component)
}

/** What could not be brought back is told by itself. */
function carried(row: FactRow): FactRow {
  return { ...row, kind: 'note', text: `${row.text}, and came back as far as it is not listed` }
}

/** What this rollback leaves behind, and what that means for the next release. */
export interface SideEffect {
  readonly text: string
  /** `plan`: it was foreseen. `fact`: a step told it. `assessment`: somebody judged so. */
  readonly from: 'plan' | 'fact' | 'assessment'
  readonly means: string
}

const MEANS: Readonly<Record<string, string>> = {
  lost: 'it is gone from the running system; what refers to it may need repair before the next roll-forward',
  kept: 'nothing brings it back by itself; decide about it before the next roll-forward',
  'side-effect': 'look at it before the next roll-forward',
}

export function sideEffectsOf(
  plan: Plan | null,
  facts: readonly FactRow[],
  assessment: AssessmentRow | undefined,
): SideEffect[] {
  const stays = (plan?.impact.staysBehind ?? []).map((text): SideEffect => {
    const means = 'no step of the plan removes it: the next release that adds it must find it there already'
    return { text, from: 'plan', means }
  })
  const told = facts.flatMap(({ kind, text }): SideEffect[] => {
    const means = MEANS[kind]
    return means === undefined ? [] : [{ text, from: 'fact', means }]
  })
  return [...stays, ...told, ...damage(assessment)]
}

function damage(assessment: AssessmentRow | undefined): SideEffect[] {
  const impact = assessment?.dataImpact
  if (impact === undefined || impact === 'none' || impact === 'not said') return []
  const text = `the data impact was assessed as ${impact}`
  return [{ text, from: 'assessment', means: 'whether the data was repaired is not recorded in this run' }]
}
