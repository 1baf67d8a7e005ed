import { type Moment, num, obj, type Question, str } from './read.ts'
import { type StepRow, saidBy } from './steps.ts'

/** One asking of a gate: once, or for as long as it had to hold. */
export interface GateRow {
  readonly gate: string
  readonly phase: string | null
  /** ISO times of its first and last measurement; null: none was journalled. */
  readonly first: string | null
  readonly last: string | null
  /** Milliseconds that it had to hold; 0 = pass once. */
  readonly forMs: number
  /** What the last measurement said. */
  readonly outcome: 'pass' | 'fail' | 'inconclusive' | 'not measured'
  readonly measured: number
  readonly attempts: number
  /** Of the last measurement. */
  readonly samples: readonly ProbeRow[]
  readonly skipped: StepRow['said']
}

interface ProbeRow {
  readonly probe: string
  readonly ok: boolean | null
  readonly value: number | string | null
  readonly ms: number | null
  readonly text: string
}

export function gatesOf(moments: readonly Moment[], questions: readonly Question[]): GateRow[] {
  const groups: { begun: Moment | null; gate: string; results: Moment[]; skipped: StepRow['said'] }[] = []
  const open = new Map<string, (typeof groups)[number]>()
  const answers = new Map(questions.flatMap(q => (q.answer === null ? [] : [[q.answer.moment.seq, q] as const])))
  for (const m of moments) {
    const question = answers.get(m.seq)
    const gate = question?.of ?? str(m.data['gate'])
    if (gate === null) continue
    let group = open.get(gate)
    if (m.type === 'gate-begun' || (m.type === 'gate' && group === undefined)) {
      group = { begun: m.type === 'gate-begun' ? m : null, gate, results: [], skipped: null }
      groups.push(group)
      open.set(gate, group)
    }
    if (group === undefined) continue
    if (m.type === 'gate') group.results.push(m)
    const answer = question?.about === 'gate' ? question.answer : null
    if (answer !== null && answer.did === 'skip') group.skipped = saidBy(answer)
  }
  return groups.map(({ begun, gate, results, skipped }) => ({
    gate,
    phase: (begun ?? results[0])?.phase ?? null,
    first: results[0]?.at ?? null,
    last: results.at(-1)?.at ?? null,
    forMs: num(begun?.data['forMs']) ?? 0,
    outcome: outcomeOf(results.at(-1)),
    measured: results.length,
    attempts: results.reduce((sum, r) => sum + (num(r.data['attempts']) ?? 0), 0),
    samples: samplesOf(results.at(-1)),
    skipped,
  }))
}

export function outcomeOf(result: Moment | undefined): GateRow['outcome'] {
  const said = result?.data['outcome']
  if (said === 'pass' || said === 'fail') return said
  return result === undefined ? 'not measured' : 'inconclusive'
}

function samplesOf(result: Moment | undefined): ProbeRow[] {
  return Object.entries(obj(result?.data['samples'])).map(([probe, raw]) => {
    const { ok, value, ms, text } = obj(raw)
    const known = typeof value === 'number' || typeof value === 'string' ? value : null
    return { probe, ok: typeof ok === 'boolean' ? ok : null, value: known, ms: num(ms), text: str(text) ?? '' }
  })
}
