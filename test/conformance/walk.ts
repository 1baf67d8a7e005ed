import { randomBytes } from 'node:crypto'
import type { Node, Proposal, Step, StepAct, Target } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import { PHASES } from '../../src/core/words.ts'
import { memoryBackups, memoryVault } from './stores.ts'

const shared = { backups: memoryBackups(), vault: memoryVault() }

/** What the executor would hand to a step, without a journal. */
export function stepAct(step?: Step, run = 'r1', handles = new Map<string, Json>()): StepAct {
  const id = step?.id ?? 'none'
  return {
    idem: `${run}.${id.replaceAll(/[^A-Za-z0-9._-]/g, '.')}`,
    attempt: 1,
    signal: new AbortController().signal,
    ...shared,
    release: 'v1',
    guard: () => {},
    handle: handles.get(id) ?? null,
    earlier: false,
    note: async handle => void handles.set(id, handle),
    preRollback: async () => null,
    accepts: () => true,
    tell: async () => {},
    progress: () => {},
    exec: async () => {
      throw new Error('no other component in this test')
    },
    execLeft: async () => null,
  }
}

/** The steps of a node, in an order that respects it. */
function flatten(node: Node): string[] {
  if ('step' in node) return [node.step]
  if ('gate' in node) return []
  if ('seq' in node) return node.seq.flatMap(flatten)
  const left = [...node.par]
  const out: string[] = []
  const done = new Set<string>()
  while (left.length > 0) {
    const next = left.findIndex(item => item.after.every(id => done.has(id)))
    if (next < 0) throw new Error(`cycle among ${left.map(i => i.id).join(', ')}`)
    const [item] = left.splice(next, 1)
    if (item === undefined) break
    done.add(item.id)
    out.push(...flatten(item.node))
  }
  return out
}

/** A proposal's steps in the order of the phases. */
export function ordered(proposal: Proposal): Step[] {
  const byId = new Map(proposal.steps.map(step => [step.id, step]))
  return PHASES.flatMap(phase => (proposal.phases[phase] ? flatten(proposal.phases[phase]) : [])).map(id => {
    const step = byId.get(id)
    if (step === undefined) throw new Error(`phase names the step ${id}, which the proposal does not have`)
    return step
  })
}

/** Applies a whole proposal, each step by a target opened afresh, verifying before and after. */
export async function walk(proposal: Proposal, open: () => Promise<Target>, pass = '1') {
  const run = `r${pass}-${randomBytes(3).toString('hex')}`
  const handles = new Map<string, Json>()
  const verdicts: { step: string; before: string; after: string }[] = []
  for (const step of ordered(proposal)) {
    await using target = await open()
    const before = await target.verify(step, stepAct(step, run, handles))
    await target.apply(step, stepAct(step, run, handles))
    await using fresh = await open()
    const after = await fresh.verify(step, stepAct(step, run, handles))
    verdicts.push({ step: step.id, before: before.is, after: after.is })
  }
  return verdicts
}
