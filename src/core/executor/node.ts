import type { GateNode, Node, ParNode, SeqNode, Step } from '../contract.ts'
import { CONTROL, type Ctx } from '../engine.ts'
import { type Json, toJson } from '../json.ts'
import type { Phase } from '../words.ts'
import { executeGate } from './gate.ts'
import { cancelled, type Failure, NodeFailed, type NodeResult, OK } from './result.ts'
import { executeStep, fence, type Place } from './step.ts'
import { onlyIn, stepsIn, undoneOf } from './still.ts'

export const NODE_WORKFLOW = 'rollback-node'

/** The input of a child run: one item of a `par`. */
export interface NodeInput {
  readonly plan: string
  readonly phase: Phase
  readonly runId: string
  readonly node: Node
  readonly key: string
  readonly again: boolean
  readonly sideBySide: boolean
  readonly accepted: Place['accepted']
  readonly skips: Place['skips']
  /**
   * The gate that let the run come here: a child that is resumed asks it again before its next step. Users are sent away
   * only by whom the gate belongs to.
   */
  readonly gate: GateNode | null
  readonly fenced?: readonly Step[]
}

/** Executes a part of a plan to its end. */
export async function executeNode(place: Place, node: Node): Promise<NodeResult> {
  if ('step' in node) return stepOf(place, node.step)
  if ('gate' in node) return executeGate(place, node)
  if ('seq' in node) return sequence(place, node)
  return parallel(place, node)
}

async function stepOf(place: Place, id: string): Promise<NodeResult> {
  const step = place.plan.steps[id]
  if (step === undefined) {
    return { ok: false, kind: 'step', what: id, component: null, why: 'the plan has no such step', then: 'stop' }
  }
  if (place.skips.includes(id)) return OK
  const held = await hold({ ...place, key: `${place.key}/${id}` })
  if (held !== null) return held
  if (step.destructive === true && place.phase === 'data') {
    const away = await stillAway({ ...place, key: `${place.key}/${id}` }, false)
    if (!away.ok) return away
  }
  const result = await executeStep(place, step)
  return result.ok && place.phase === 'return' ? ((await keepFenced(place, id)) ?? result) : result
}

/** Who lets users back may have let them back to what was fenced, by the same balancer. Null: all of it is kept away. */
async function keepFenced(place: Place, after: string): Promise<Failure | null> {
  for (const step of place.fenced ?? []) {
    const why = 'users come back, and it is not on the release'
    const kept = await fence(place, `${place.key}/${after}/${step.id}`, step, why)
    if (kept.loose === 'refused') return kept
  }
  return null
}

/**
 * Right before data is saved or replaced: users and writers that are back by now, because a host was switched on again or a
 * balancer read its configuration anew, are sent away and stopped once more. `doubts`: of what cannot tell, a person is asked.
 */
export async function stillAway(place: Place, doubts: boolean): Promise<NodeResult> {
  const { plan, ctx, skips } = place
  const phases = plan.phases.filter(({ phase }) => phase === 'drain' || phase === 'stop')
  const ids = phases.flatMap(({ node }) => stepsIn(node)).filter(id => !skips.includes(id))
  const steps = ids.flatMap(id => plan.steps[id] ?? [])
  if (steps.length === 0) return OK
  const undone = (await undoneOf(place, steps)).filter(({ is }) => doubts || is !== 'unknown')
  for (const { step, is, why } of undone) {
    const { title, component } = plan.steps[step] ?? { title: step, component: null }
    const text = `"${title}" ${is === 'unknown' ? 'may not hold' : 'does not hold'} any more: ${why}; it is seen to again`
    ctx.tell(`${place.key}/still/${step}`, 'fact', { step, component, kind: 'side-effect', text })
  }
  const again = new Set(undone.map(({ step }) => step))
  for (const { phase, node } of phases) {
    const some = onlyIn(node, again)
    if (some === null) continue
    const result = await executeNode({ ...place, phase, key: `${place.key}/still/${phase}`, again: true }, some)
    if (!result.ok) return result
  }
  return OK
}

/**
 * Where a run may be paused or aborted. A resumed one first asks the last gate again, until it passes: what it let
 * through may be wrong by now. Null: go on.
 */
export async function hold(place: Place): Promise<Failure | null> {
  const { ctx, key, last } = place
  const control = await checkpoint(ctx, key)
  if (control === 'cancel') return cancelled()
  if (control === 'resumed') last.stale = true
  if (!last.stale || last.gate === null) return null
  const still = await executeGate({ ...place, key: `${key}/again` }, { ...last.gate, forMs: 0 })
  if (!still.ok) return still
  last.stale = false
  return null
}

async function sequence(place: Place, { seq, maxFailures = Infinity }: SeqNode): Promise<NodeResult> {
  const tolerated: Failure[] = []
  const most = Math.min(maxFailures, place.mayFail ?? Infinity)
  const skipped: string[] = []
  let someDone = false
  let unproven = false
  for (const [i, node] of seq.entries()) {
    const here = { ...place, key: `${place.key}/${i}`, mayFail: Math.max(0, most - tolerated.length) }
    const result: NodeResult = await ('gate' in node ? executeGate(here, node, unproven) : executeNode(here, node))
    if (!result.ok) return result.kind === 'cancelled' ? result : several(result, [...tolerated, result])
    tolerated.push(...result.tolerated)
    skipped.push(...(result.skipped ?? []))
    // What ran side by side inside of it could not count what the others tolerated.
    if (tolerated[0] !== undefined && tolerated.length > most) return several(tolerated[0], tolerated)
    if ('gate' in node) continue
    // One alone that failed after others were done is what is tolerated; of many, somebody has to be there to be measured.
    unproven = result.nobody !== undefined && (result.nobody > 1 || !someDone)
    someDone ||= result.nobody === undefined
  }
  return { ok: true, tolerated, ...(skipped.length === 0 ? {} : { skipped }) }
}

async function parallel(place: Place, node: ParNode): Promise<NodeResult> {
  const [only] = node.par
  const maxFailures = Math.min(node.maxFailures, place.mayFail ?? Infinity)
  if (node.par.length === 1 && only !== undefined && maxFailures === 0) {
    return executeNode({ ...place, key: `${place.key}/${only.id}` }, only.node)
  }
  const held = place.last.gate === null ? null : await hold({ ...place, key: `${place.key}/par` })
  if (held !== null) return held
  const tolerated: Failure[] = []
  const notBegun: Failure[] = []
  const skipped: string[] = []
  const { gate: passed } = place.last
  const gate = passed === null ? null : { ...passed, onFail: { ...passed.onFail, apply: [] } }
  const items = node.par.map(({ id, after, node: inner }) => {
    const key = `${place.key}/${id}`
    const { plan, phase, runId, again, accepted, skips, sideBySide = false, fenced = [] } = place
    const where = { plan: plan.hash, phase, runId, key, again, sideBySide, ...(fenced.length > 0 ? { fenced } : {}) }
    const input: NodeInput = { ...where, node: inner, accepted, skips, gate }
    return { id, after, input: toJson(input) }
  })
  const outcomes = await place.ctx.map(`${place.key}/par`, NODE_WORKFLOW, items, {
    concurrency: node.limit,
    maxFailures,
    stopsAll: error => NodeFailed.read(error).kind === 'gate',
  })
  const failures: Failure[] = []
  let done = 0
  for (const [id, outcome] of Object.entries(outcomes)) {
    if (outcome.ok === false) failures.push(NodeFailed.read(outcome.error))
    if (outcome.ok === null) notBegun.push(neverBegun(id))
    if (outcome.ok !== true) continue
    const ended = outcome.value as unknown as ChildOutput | null
    tolerated.push(...(ended?.tolerated ?? []))
    skipped.push(...(ended?.skipped ?? []))
    if (ended?.nobody === undefined) done++
  }
  // What is tolerated are targets that fail. A gate speaks of the release, and nobody is fenced for it.
  const shut = failures.find(f => f.kind === 'gate')
  if (shut !== undefined) return several(shut, failures)
  const loose = failures.find(f => f.loose === 'refused')
  if (loose !== undefined) return several(loose, failures)
  const [first] = failures.filter(f => f.kind !== 'cancelled')
  if (first !== undefined && failures.length > maxFailures) return several(first, failures)
  if (failures.some(f => f.kind === 'cancelled')) return cancelled()
  if (notBegun.length > 0 && (await place.ctx.wait(`${place.key}/stopped`, ['$cancel'], 0)) !== null) return cancelled()
  // What comes after something that failed is not on the release either.
  const all = [...failures, ...notBegun]
  if (all[0] !== undefined && all.length > maxFailures) return several(all[0], all)
  const kept = await keptAway(place, all)
  const refused = kept.find(f => f.loose === 'refused')
  if (refused !== undefined) return several(refused, kept)
  const left = [...tolerated, ...kept]
  const without = skipped.length === 0 ? {} : { skipped }
  return { ok: true, tolerated: left, ...(done > 0 ? {} : { nobody: node.par.length }), ...without }
}

/**
 * What is gone on without may serve users the release that is left: it is fenced like what does not answer. Only here, for
 * what is not gone on without may be all there is.
 */
async function keptAway(place: Place, failures: readonly Failure[]): Promise<Failure[]> {
  const kept: Failure[] = []
  for (const failure of failures) {
    const step = failure.kind === 'step' ? place.plan.steps[failure.what] : undefined
    const key = `${place.key}/par/${failure.what}`
    kept.push(step?.onUnknown === 'fence' ? await fence(place, key, step, failure.why) : failure)
  }
  return kept
}

function neverBegun(id: string): Failure {
  const why = 'it was not begun, because what it comes after was not done'
  return { ok: false, kind: 'step', what: id, component: null, why, then: null }
}

/** Whoever says it says what failed first. */
function several(first: Failure, all: readonly Failure[]): Failure {
  const others = all.filter(f => f !== first && f.kind !== 'cancelled')
  if (others.length === 0) return first
  const said = [first, ...others].map(f => f.then)
  const then = said.includes('stop') ? 'stop' : said.includes('ask') ? 'ask' : first.then
  const why = [first.why, ...others.map(f => `${f.what}: ${f.why}`)].join('; ')
  const next = [...new Set([first, ...others].flatMap(f => f.next ?? []))].join('; ')
  return { ...first, then, why, ...(next === '' ? {} : { next }) }
}

type ChildOutput = Omit<NodeResult & { ok: true }, 'ok'>

/** The body of a child run. */
export async function executeChild(place: Place, node: Node): Promise<Json> {
  const result = await executeNode(place, node)
  if (!result.ok) throw new NodeFailed(result)
  const { ok: _, ...output } = result
  return toJson(output satisfies ChildOutput)
}

/** Looks whether the run is to pause or end here; waits while it is paused. */
export async function checkpoint(ctx: Ctx, key: string): Promise<'go' | 'resumed' | 'cancel'> {
  const control = await ctx.wait(`${key}/look`, CONTROL, 0)
  if (control === null || control.name === '$resume') return 'go'
  if (control.name === '$resumed') return 'resumed'
  if (control.name === '$cancel') return 'cancel'
  const said = await ctx.wait(`${key}/paused`, ['$resume', '$cancel'], Infinity)
  return said?.name === '$cancel' ? 'cancel' : 'resumed'
}
