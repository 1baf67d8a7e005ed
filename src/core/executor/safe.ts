import { type Json, toJson } from '../json.ts'
import type { Phase } from '../words.ts'
import { NodeFailed, type NodeResult } from './result.ts'
import { executeStep, type Place } from './step.ts'

export const SAFE_WORKFLOW = 'rollback-safe'

/** The input of a child run: the steps that take the users of one component to safety. */
export interface SafeInput {
  readonly plan: string
  readonly phase: Phase
  readonly runId: string
  readonly steps: readonly string[]
  readonly key: string
  readonly accepted: Place['accepted']
}

interface Outcome {
  readonly step: string
  readonly result: NodeResult
}

/**
 * Takes users to safety, whatever is said meanwhile: a pause or an abort holds none of it. Side by side, for a component
 * that hangs must not keep the users of another one on a release that fails.
 */
export async function bringToSafety(place: Place, ids: readonly string[]): Promise<Outcome[]> {
  const known = ids.flatMap(id => place.plan.steps[id] ?? [])
  const parts = [...Map.groupBy(known, step => step.component)]
  if (parts.length < 2 || !place.sideBySide) return inTurn(place, ids)
  const { plan, phase, runId, key, accepted } = place
  const items = parts.map(([id, own]) => {
    const steps = own.map(step => step.id)
    const input: SafeInput = { plan: plan.hash, phase, runId, steps, key: `${key}/${id}`, accepted }
    return { id, input: toJson(input) }
  })
  const options = { concurrency: items.length, maxFailures: items.length, regardless: true }
  const ended = await place.ctx.map(`${key}/parts`, SAFE_WORKFLOW, items, options)
  return parts.flatMap(([id, own]) => {
    const outcome = ended[id]
    if (outcome?.ok === true) return outcome.value as unknown as Outcome[]
    const result = NodeFailed.read(outcome?.ok === false ? outcome.error : 'it was not begun')
    return own.map(step => ({ step: step.id, result }))
  })
}

async function inTurn(place: Place, ids: readonly string[]): Promise<Outcome[]> {
  const out: Outcome[] = []
  for (const id of ids) {
    const step = place.plan.steps[id]
    if (step !== undefined) out.push({ step: id, result: await executeStep({ ...place, regardless: true }, step) })
  }
  return out
}

/** The body of a child run. */
export async function executeSafe(place: Place, ids: readonly string[]): Promise<Json> {
  return toJson(await inTurn(place, ids))
}
