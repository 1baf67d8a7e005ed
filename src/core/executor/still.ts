import type { Node, Step, StepAct, Target, Verdict } from '../contract.ts'
import type { Act } from '../engine.ts'
import { toJson } from '../json.ts'
import type { StepId } from '../words.ts'
import { makeAct } from './attempt.ts'
import type { Place } from './step.ts'
import { verdictOf } from './verdict.ts'

export interface Undone {
  readonly step: StepId
  readonly is: 'not-done' | 'running' | 'unknown'
  readonly why: string
}

const AT_ONCE = 32

/** What of the steps that sent users away and stopped writers does not hold any more. Asks all of them side by side. */
export async function undoneOf(place: Place, steps: readonly Step[]): Promise<readonly Undone[]> {
  const ask = async (act: Act) => toJson(await askAll(place, steps, act))
  return (await place.ctx.run(`${place.key}/still`, ask)) as unknown as Undone[]
}

/** Those that are not done, by what their targets say to `how`. */
export async function askAll(place: Place, steps: readonly Step[], act: Act, how: Asking = asVerified) {
  const undone: Undone[] = []
  const queue = steps.values()
  const worker = async () => {
    for (const step of queue) {
      const { is, why } = await askStep(place, step, act, how)
      if (is !== 'done') undone.push({ step: step.id, is, why })
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, steps.length) }, worker))
  return undone
}

type Asking = (target: Target, step: Step, act: StepAct) => Promise<Verdict>

const asVerified: Asking = (target, step, act) => target.verify(step, act)

async function askStep({ world, runId, accepted, plan }: Place, step: Step, act: Act, how: Asking) {
  const noted: Act = { ...act, handle: act.handleOf?.(step.id) ?? null, note: async () => {} }
  const options = { attempt: 1, verifyFirst: true, accepted, runId, release: plan.to.release }
  const stepAct = makeAct(world, step, noted, act.signal, options)
  return verdictOf(world, step, act.signal, target => how(target, step, stepAct))
}

/** The steps in a node that users hook into it are none of a component's. */
export function stepsIn(node: Node): StepId[] {
  if ('step' in node) return node.step.startsWith('$') ? [] : [node.step]
  if ('gate' in node) return []
  return 'seq' in node ? node.seq.flatMap(stepsIn) : node.par.flatMap(item => stepsIn(item.node))
}

/** The node with these steps alone, in the same order, without gates; null: it has none of them. */
export function onlyIn(node: Node, ids: ReadonlySet<StepId>): Node | null {
  if ('step' in node) return ids.has(node.step) ? node : null
  if ('gate' in node) return null
  if ('seq' in node) {
    const seq = node.seq.flatMap(inner => onlyIn(inner, ids) ?? [])
    return seq.length === 0 ? null : { ...node, seq }
  }
  const kept = node.par.flatMap(item => {
    const inner = onlyIn(item.node, ids)
    return inner === null ? [] : [{ ...item, node: inner }]
  })
  const there = new Set(kept.map(item => item.id))
  const par = kept.map(item => ({ ...item, after: item.after.filter(id => there.has(id)) }))
  return par.length === 0 ? null : { ...node, par }
}
