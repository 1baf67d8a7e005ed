import type { GateNode } from '../contract.ts'
import { CONTROL } from '../engine.ts'
import { messageOf } from '../errors.ts'
import { askGate, type GateResult, whyNot } from '../gate.ts'
import { toJson } from '../json.ts'
import { cancelled, type Failure, type NodeResult, OK } from './result.ts'
import { bringToSafety } from './safe.ts'
import type { Place } from './step.ts'

/**
 * Asks the gates of a node until they have gone on passing for as long as it says; what fails takes users to safety.
 * `unproven`: of the batch before nobody is on the release, so that whatever they measure says nothing of it.
 */
export async function executeGate(place: Place, node: GateNode, unproven = false): Promise<NodeResult> {
  const at = standsAt(place.key)
  const skipped = (name: string) => place.skips.includes(name) || place.skips.includes(`${name}@${at}`)
  const names = [node.gate, ...(node.with ?? [])].filter(name => !skipped(name))
  const [first] = names
  if (first === undefined) return OK
  const key = (name: string) => `${place.key}/gate:${name}`
  for (const gate of names) place.ctx.tell(`${key(gate)}/begun`, 'gate-begun', { gate, forMs: node.forMs })
  // Only time in which somebody looked is counted: not that of a pause or a crash, nor what a clock jumped over.
  let watched = 0
  for (let i = 0; ; i++) {
    for (const gate of names) {
      const result = await measure(place, gate, `${key(gate)}/${i}`, unproven)
      if (result.outcome !== 'pass') return gateFailed(place, { ...node, gate }, `${key(gate)}/${i}`, result)
      watched += result.ms
    }
    const ms = Math.min(node.forMs - watched, watchEvery(node.forMs))
    if (node.forMs === 0 || ms <= 0) break
    const control = await watchPause(place, `${key(first)}/${i}`, ms)
    if (control === 'cancel') return cancelled()
    if (control === 'superseded') {
      break
    }
    if (control === 'waited') watched += ms
  }
  place.last.gate = node
  place.last.stale = false
  return OK
}

/** The same in every pass: what follows plan, phase and pass. A gate that is asked once more after a pause is one of its own. */
function standsAt(key: string): string {
  return key.endsWith('/again') ? 'again' : key.split('/').slice(3).join('/')
}

/** Often enough to notice, seldom enough not to be a load of its own. Milliseconds. */
function watchEvery(forMs: number): number {
  return Math.max(500, Math.min(30_000, forMs / 20))
}

async function watchPause(place: Place, key: string, ms: number): Promise<'waited' | 'go' | 'cancel' | 'superseded'> {
  const { ctx, phase } = place
  const names = phase === 'watch' ? [...CONTROL, '$supersede'] : CONTROL
  const said = await ctx.wait(`${key}/between`, names, ms)
  if (said === null) return 'waited'
  if (said.name === '$resume' || said.name === '$resumed') return 'go'
  if (said.name === '$cancel') return 'cancel'
  if (said.name === '$supersede') {
    place.last.superseded = supersededBy(said.value)
    ctx.tell(`${key}/superseded`, 'watch-superseded', said.value)
    return 'superseded'
  }
  const then = await ctx.wait(`${key}/paused`, ['$resume', '$cancel'], Infinity)
  return then?.name === '$cancel' ? 'cancel' : 'go'
}

/** What cut a watch short, in words: the value of `$supersede` names an upgrade where one began. */
export function supersededBy(value: unknown): string {
  const upgrade = (value as { upgrade?: unknown } | null)?.upgrade
  return typeof upgrade === 'string' ? `the upgrade to ${upgrade} began` : 'a new run took over'
}

async function measure(place: Place, gate: string, key: string, unproven: boolean): Promise<GateResult> {
  const { ctx, world } = place
  const result = (await ctx.run(key, async act => {
    if (unproven) return toJson(notAsked(gate, world.clock.now(), 'nobody of the batch before it is on the release'))
    try {
      const { rule, probes } = await world.gate(gate)
      return toJson(await askGate(rule, probes, world.clock, act.signal))
    } catch (error) {
      act.signal.throwIfAborted()
      return toJson(notAsked(gate, world.clock.now(), messageOf(error)))
    }
  })) as unknown as GateResult
  ctx.tell(`${key}/told`, 'gate', toJson(result))
  return result
}

/** A gate that could not even be asked says nothing, and nothing is never a pass. */
function notAsked(gate: string, at: number, text: string): GateResult {
  const samples = { [gate]: { ok: null, value: null, ms: 0, text } }
  return { gate, outcome: 'inconclusive', attempts: 0, ms: 0, at, samples }
}

async function gateFailed(place: Place, node: GateNode, key: string, result: GateResult): Promise<Failure> {
  // Whatever came of it, the gate has failed: what cannot be brought to safety is told with the step's own events.
  const safe = await bringToSafety({ ...place, key: `${key}/safe`, again: true }, node.onFail.apply)
  const aborted = safe.some(({ result }) => !result.ok && result.kind === 'cancelled')
  const why = `${result.outcome === 'fail' ? 'failed' : 'inconclusive'}: ${whyNot(result)}`
  const at = standsAt(place.key)
  const failure: Failure = {
    ok: false,
    kind: 'gate',
    what: node.gate,
    at,
    component: null,
    why,
    then: node.onFail.then,
  }
  return aborted ? { ...failure, aborted } : failure
}
