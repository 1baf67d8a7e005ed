import type { GateNode, Node, ParNode } from '../contract.ts'
import { CONTROL, type Ctx } from '../engine.ts'
import { askGate, type GateResult, whyNot } from '../gate.ts'
import { type Json, toJson } from '../json.ts'
import { cancelled, type Failure, NodeFailed, type NodeResult, OK } from './result.ts'
import { executeStep, type Place } from './step.ts'

export const NODE_WORKFLOW = 'rollback-node'

/** The input of a child run: one item of a `par`. */
export interface NodeInput {
  readonly plan: string
  readonly runId: string
  readonly node: Node
  readonly key: string
  readonly again: boolean
  readonly accepted: Place['accepted']
  readonly skips: Place['skips']
}

/** Executes a part of a plan to its end. */
export async function executeNode(place: Place, node: Node): Promise<NodeResult> {
  if ('step' in node) return stepOf(place, node.step)
  if ('gate' in node) return gateOf(place, node)
  if ('seq' in node) return sequence(place, node.seq)
  return parallel(place, node)
}

async function stepOf(place: Place, id: string): Promise<NodeResult> {
  const step = place.plan.steps[id]
  if (step === undefined) {
    return { ok: false, kind: 'step', what: id, component: null, why: 'the plan has no such step', then: 'stop' }
  }
  if (place.skips.includes(id)) return OK
  if ((await checkpoint(place.ctx, `${place.key}/${id}`)) === 'cancel') return cancelled()
  return executeStep(place, step)
}

async function sequence(place: Place, nodes: readonly Node[]): Promise<NodeResult> {
  const tolerated: Failure[] = []
  let lastGate: GateNode | null = null
  for (const [i, node] of nodes.entries()) {
    const key = `${place.key}/${i}`
    // A resumed run first asks the last gate again: what it let through may be wrong by now.
    const control = lastGate === null ? 'go' : await checkpoint(place.ctx, key)
    if (control === 'cancel') return cancelled()
    if (control === 'resumed' && lastGate !== null) {
      const still = await gateOf({ ...place, key: `${key}/again` }, { ...lastGate, forMs: 0 })
      if (!still.ok) return still
    }
    const result = await executeNode({ ...place, key }, node)
    if (!result.ok) return result
    tolerated.push(...result.tolerated)
    if ('gate' in node) lastGate = node
  }
  return { ok: true, tolerated }
}

async function parallel(place: Place, node: ParNode): Promise<NodeResult> {
  const [only] = node.par
  if (node.par.length === 1 && only !== undefined && node.maxFailures === 0) {
    return executeNode({ ...place, key: `${place.key}/${only.id}` }, only.node)
  }
  const tolerated: Failure[] = []
  const done = new Set<string>()
  const items = node.par.map(({ id, after, node: inner }) => {
    const key = `${place.key}/${id}`
    const { plan, runId, again, accepted, skips } = place
    const input: NodeInput = { plan: plan.hash, runId, node: inner, key, again, accepted, skips }
    return { id, after, input: toJson(input) }
  })
  const outcomes = await place.ctx.map(`${place.key}/par`, NODE_WORKFLOW, items, {
    concurrency: node.limit,
    maxFailures: node.maxFailures,
  })
  const failures: Failure[] = []
  for (const [id, outcome] of Object.entries(outcomes)) {
    if (outcome.ok === false) failures.push(NodeFailed.read(outcome.error))
    if (outcome.ok !== true) continue
    done.add(id)
    tolerated.push(...((outcome.value as unknown as { tolerated: Failure[] } | null)?.tolerated ?? []))
  }
  const [first] = failures.filter(f => f.kind !== 'cancelled')
  if (first !== undefined && failures.length > node.maxFailures) return several(first, failures)
  if (failures.some(f => f.kind === 'cancelled')) return cancelled()
  if (done.size + failures.length < node.par.length) return cancelled()
  return { ok: true, tolerated: [...tolerated, ...failures] }
}

function several(first: Failure, all: readonly Failure[]): Failure {
  const others = all.filter(f => f !== first && f.kind !== 'cancelled')
  if (others.length === 0) return first
  return { ...first, why: [first, ...others].map(f => `${f.what}: ${f.why}`).join('; ') }
}

/** The body of a child run. */
export async function executeChild(place: Place, node: Node): Promise<Json> {
  const result = await executeNode(place, node)
  if (!result.ok) throw new NodeFailed(result)
  return toJson({ tolerated: result.tolerated })
}

/** Looks whether the run is to pause or end here; waits while it is paused. */
export async function checkpoint(ctx: Ctx, key: string): Promise<'go' | 'resumed' | 'cancel'> {
  const control = await ctx.wait(`${key}/look`, CONTROL, 0)
  if (control === null || control.name === '$resume') return 'go'
  if (control.name === '$resumed') return 'resumed'
  if (control.name === '$cancel') return 'cancel'
  const said = await ctx.wait(`${key}/paused`, ['$resume', '$cancel'], Infinity, 'paused')
  return said?.name === '$cancel' ? 'cancel' : 'resumed'
}

async function gateOf(place: Place, node: GateNode): Promise<NodeResult> {
  const { ctx } = place
  if (place.skips.includes(node.gate)) return OK
  const key = `${place.key}/gate:${node.gate}`
  ctx.tell(`${key}/begun`, 'gate-begun', { gate: node.gate, forMs: node.forMs })
  let from: number | null = null
  for (let i = 0; ; i++) {
    const result = await measure(place, node, `${key}/${i}`)
    if (result.outcome !== 'pass') return gateFailed(place, node, `${key}/${i}`, result)
    from ??= result.at - result.ms
    const left = from + node.forMs - result.at
    if (node.forMs === 0 || left <= 0) break
    const control = await watchPause(place, `${key}/${i}`, Math.min(left, watchEvery(node.forMs)))
    if (control === 'cancel') return cancelled()
    if (control === 'superseded') break
  }
  return OK
}

/** Often enough to notice, seldom enough not to be a load of its own. Milliseconds. */
function watchEvery(forMs: number): number {
  return Math.max(500, Math.min(30_000, forMs / 20))
}

async function watchPause(place: Place, key: string, ms: number): Promise<'go' | 'cancel' | 'superseded'> {
  const { ctx } = place
  const said = await ctx.wait(`${key}/between`, ['$pause', '$cancel', '$supersede'], ms)
  if (said === null) return 'go'
  if (said.name === '$cancel') return 'cancel'
  if (said.name === '$supersede') {
    ctx.tell(`${key}/superseded`, 'watch-superseded', said.value)
    return 'superseded'
  }
  const then = await ctx.wait(`${key}/paused`, ['$resume', '$cancel'], Infinity, 'paused')
  return then?.name === '$cancel' ? 'cancel' : 'go'
}

async function measure(place: Place, node: GateNode, key: string): Promise<GateResult> {
  const { ctx, world } = place
  const result = (await ctx.run(key, async act => {
    const { rule, probes } = await world.gate(node.gate)
    return toJson(await askGate(rule, probes, world.clock, act.signal))
  })) as unknown as GateResult
  ctx.tell(`${key}/told`, 'gate', toJson(result))
  return result
}

async function gateFailed(place: Place, node: GateNode, key: string, result: GateResult): Promise<Failure> {
  for (const id of node.onFail.apply) {
    const step = place.plan.steps[id]
    // Whatever came of it, the gate has failed: what cannot be brought to safety is told with the step's own events.
    if (step !== undefined) await executeStep({ ...place, key: `${key}/safe`, again: true }, step)
  }
  const why = `${result.outcome === 'fail' ? 'failed' : 'inconclusive'}: ${whyNot(result)}`
  return { ok: false, kind: 'gate', what: node.gate, component: null, why, then: node.onFail.then }
}
