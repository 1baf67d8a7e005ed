import type { Step } from '../contract.ts'
import type { Act, Ctx, Engine } from '../engine.ts'
import { messageOf } from '../errors.ts'
import { type Json, toJson } from '../json.ts'
import {
  type AcceptedLoss,
  beyond,
  blockersOf,
  differencesOf,
  isEmpty,
  type Plan,
  planHash,
  spareNames,
} from '../plan.ts'
import { redact, spare } from '../secret.ts'
import type { ComponentId, Phase } from '../words.ts'
import { lookAtTheEnd } from './end.ts'
import { leftIn } from './left.ts'
import { checkpoint, executeChild, executeNode, hold, NODE_WORKFLOW, type NodeInput, stillAway } from './node.ts'
import { AS_IS, planNow, planSuccessor } from './replan.ts'
import { type Failure, type NodeResult, nextIn, unexpected } from './result.ts'
import { bringToSafety, executeSafe, SAFE_WORKFLOW, type SafeInput } from './safe.ts'
import type { LastGate, Place } from './step.ts'
import { stepsIn } from './still.ts'
import type { RunInput, RunOutput, Unproven, World } from './world.ts'

export const ROLLBACK = 'rollback'
/**
 * Raised whenever the order or the keys of the calls change: a run of another version is not resumed silently. A call that
 * is added changes neither for what was journalled without it.
 */
const VERSION = 2

/** Teaches an engine how to roll back. */
export function defineRollback(engine: Engine, world: World): void {
  const plans = new Map<string, Plan>()
  engine.define(ROLLBACK, VERSION, async (ctx, input) => {
    const run = new Rollback(ctx, world, input as unknown as RunInput, plans)
    return toJson(await run.execute())
  })
  engine.define(SAFE_WORKFLOW, VERSION, async (ctx, input) => {
    const { plan: hash, steps, ...place } = input as unknown as SafeInput
    const plan = plans.get(hash)
    if (plan === undefined) throw new Error(`plan ${hash} is not loaded`)
    const last = { gate: null, stale: false }
    return executeSafe({ ctx, world, plan, last, again: true, skips: [], ...place }, steps)
  })
  engine.define(NODE_WORKFLOW, VERSION, async (ctx, input) => {
    const { plan: hash, node, gate, ...place } = input as unknown as NodeInput
    const plan = plans.get(hash)
    if (plan === undefined) throw new Error(`plan ${hash} is not loaded`)
    return executeChild({ ctx, world, plan, last: { gate, stale: false }, ...place }, node)
  })
}

type PlanEnd =
  | { readonly is: 'done' }
  | { readonly is: 'cancelled' }
  | { readonly is: 'stopped'; readonly failure: Failure }
  | { readonly is: 'fall'; readonly failure: Failure }

interface Decision {
  readonly do: 'retry' | 'next-rung' | 'skip' | 'stop'
  readonly by: string
  readonly reason: string | null
}

class Rollback {
  readonly #ctx: Ctx
  readonly #world: World
  readonly #input: RunInput
  readonly #plans: Map<string, Plan>
  readonly #fenced: string[] = []
  /** Of the plan that is followed: what was fenced in it. */
  #kept: Step[] = []
  /** What could not be kept away from users, for nothing is there that could. */
  readonly #loose: string[] = []
  readonly #skips: string[] = []
  /** Steps that a person said to go on without, where they asked: a later pass asks again. */
  readonly #without: string[] = []
  /** Gates that were skipped in this phase: in another one the same gate is asked again. */
  #skippedGates: string[] = []
  #last: LastGate = { gate: null, stale: false }
  #departure: string | null = null
  /** Users may have been sent away, and their return has not ended. */
  #away = false
  #accepted: readonly AcceptedLoss[]

  constructor(ctx: Ctx, world: World, input: RunInput, plans: Map<string, Plan>) {
    this.#ctx = ctx
    this.#world = world
    this.#input = input
    this.#plans = plans
    this.#accepted = input.plan.envelope.loss
  }

  async execute(): Promise<RunOutput> {
    spareNames(this.#input.plan)
    const moved = await this.#stillHolds()
    if (moved !== null) return this.#output('failed', moved)
    if (isEmpty(this.#input.plan)) return this.#output('succeeded', 'there was nothing to do')
    this.#departure = await this.#ctx.run('departure', act => this.#depart(act), AS_IS)
    spare([this.#departure])
    this.#ctx.tell('departed', 'departure', { release: this.#departure })
    return (await this.#notBegun()) ?? this.#chain()
  }

  /** An emergency is not kept waiting by what cannot be captured: of that nothing can be brought back. */
  #depart(act: Act): Promise<string> {
    const { runId } = this.#ctx
    if (this.#input.plan.mode !== 'emergency') return this.#world.departure(runId, act.signal)
    return this.#world.departure(runId, act.signal, (component, why) => {
      const text = `revert cannot bring ${component} back to where this run begins, for that could not be captured: ${redact(why)}`
      return act.tell('fact', { step: 'departure', component, kind: 'note', text })
    })
  }

  /** Stopped before anything was touched, and gone on with hours later: the world may have moved in between. */
  async #notBegun(): Promise<RunOutput | null> {
    for (let look = 1; ; look++) {
      const control = await checkpoint(this.#ctx, `begin/${look}`)
      if (control === 'go') return null
      if (control === 'cancel') return this.#output('aborted', 'it was aborted')
      const moved = await this.#stillHolds(`replan/${look}`)
      if (moved !== null) return this.#output('failed', moved)
    }
  }

  /** Observes again: a plan for a world that has moved is not run, whoever said yes to it. */
  async #stillHolds(key = 'replan'): Promise<string | null> {
    const { plan } = this.#input
    if (planHash(plan) !== plan.hash)
      return 'the plan was altered since it was made: its steps are not those of its hash'
    const request = { plan, successor: false, exclude: [], accepted: this.#accepted }
    const now = await planNow(this.#ctx, this.#world, key, request)
    if (now === null) return null
    const differences = differencesOf(plan, now)
    this.#ctx.tell(`${key}/moved`, 'plan-moved', { planned: plan.hash, now: now.hash, differences })
    return `moved: ${differences.join('; ')}`
  }

  async #chain(): Promise<RunOutput> {
    let plan = this.#input.plan
    const exclude: { component: ComponentId; rung: string }[] = []
    for (let index = 0; ; index++) {
      this.#plans.set(plan.hash, plan)
      const end = await this.#planOrLeave(plan, index)
      if (end.is === 'done') return this.#ended(plan, exclude, index)
      if (end.is === 'cancelled') return this.#leave(plan, index, 'aborted', 'it was aborted')
      const why = `${end.failure.what}: ${end.failure.why}`
      if (end.is === 'stopped') return this.#leave(plan, index, 'failed', why)
      const component = end.failure.component
      const rung = plan.components.find(c => c.id === component)?.rung
      if (component === null || rung === undefined) return this.#leave(plan, index, 'failed', why)
      exclude.push({ component, rung })
      const next = await this.#successor(plan, exclude, index)
      if (next === 'cancelled') return this.#leave(plan, index, 'aborted', 'it was aborted')
      if (next === null) return this.#leave(plan, index, 'failed', `${why}; no further rung could be taken`)
      plan = next
    }
  }

  /** What is said at the end is what is there then. */
  async #ended(plan: Plan, exclude: Unproven['exclude'], index: number): Promise<RunOutput> {
    // What is there now is for that to say, and there is a reason for it.
    const { superseded } = this.#last
    if (superseded !== undefined) return this.#output('succeeded', `its watch was cut short: ${superseded}`)
    const left = leftIn([...this.#plans.values()], [...this.#fenced, ...this.#skips, ...this.#without])
    const { found, aborted } = await lookAtTheEnd(this.#place(plan, 'cleanup', 'end', true), { plan, exclude, left })
    if (found.length === 0) return this.#output('succeeded', null)
    const why = `all steps are done, but looked at once more it is not all on ${plan.to.release}: ${found.join('; ')}`
    return aborted ? this.#leave(plan, index, 'aborted', `it was aborted: ${why}`) : this.#output('failed', why)
  }

  /** An error that nobody foresaw is a failure like any other: users are left safe. */
  async #planOrLeave(plan: Plan, index: number): Promise<PlanEnd> {
    try {
      return await this.#plan(plan, index)
    } catch (error) {
      // Where this process has lost the run or its journal, what leaves users safe throws the same again.
      return { is: 'stopped', failure: unexpected(messageOf(error)) }
    }
  }

  /** Plans again without the rungs that failed, and gets an approval where that goes beyond what was approved. */
  async #successor(
    plan: Plan,
    exclude: readonly { component: ComponentId; rung: string }[],
    index: number,
  ): Promise<Plan | 'cancelled' | null> {
    const key = `fall/${index}`
    const request = { plan, successor: true, exclude, accepted: this.#accepted }
    const made = await planSuccessor(this.#ctx, this.#world, `${key}/replan`, request)
    if (made.next === null) {
      const told = { plan: null, parent: plan.hash, exclude, blockers: [made.why], outside: [] }
      this.#ctx.tell(`${key}/told`, 'plan-successor', toJson(told))
      return null
    }
    const { next } = made
    spareNames(next)
    const blockers = blockersOf(next).map(b => b.what)
    const outside = beyond(this.#input.plan.envelope, next)
    const told = { plan: next.hash, parent: plan.hash, exclude, blockers, outside }
    this.#ctx.tell(`${key}/told`, 'plan-successor', toJson({ ...told, next }), { asIs: 'next' })
    if (blockers.length > 0) return null
    if (outside.length === 0) return next
    this.#ctx.tell(`${key}/asked`, 'asked', {
      token: key,
      about: 'approval',
      why: outside.join('; '),
      answers: ['approve', 'stop'],
    })
    const said = await this.#ctx.wait(`${key}/answer`, [`answer:${key}`, '$cancel'], Infinity, 'waiting')
    if (said === null || said.name === '$cancel') return 'cancelled'
    this.#ctx.tell(`${key}/answered`, 'answered', { token: key, ...(said.value as Record<string, Json>) })
    if ((said.value as { do?: string } | null)?.do !== 'approve') return null
    this.#accepted = next.envelope.loss
    return next
  }

  async #plan(plan: Plan, index: number): Promise<PlanEnd> {
    const back = plan.phases.findIndex(p => p.phase === 'return')
    this.#last = { gate: null, stale: false }
    this.#kept = []
    for (const [i, { phase, estimateMs }] of plan.phases.entries()) {
      const key = `${index}/${phase}`
      this.#skippedGates = []
      if (phase === 'drain' || phase === 'stop') this.#away = true
      this.#ctx.tell(`${key}/begun`, 'phase-begun', { phase, estimateMs, plan: plan.hash })
      for (let pass = 1; ; pass++) {
        const result = await this.#pass(plan, i, `${key}/${pass}`, pass > 1 || index > 0)
        if (result.ok) {
          this.#keep(plan, result, `${key}/${pass}`)
          break
        }
        if (result.kind === 'cancelled') return { is: 'cancelled' }
        // A gate that fails once users are back has sent them away again.
        if (result.kind === 'gate' && back >= 0 && i > back && plan.safe.length > 0) this.#away = true
        this.#ctx.tell(`${key}/${pass}/failed`, 'phase-failed', toJson({ phase, ...result }))
        if (result.aborted) return { is: 'cancelled' }
        const decision = await this.#decide(plan, phase, `${key}/${pass}`, result)
        if (decision.do === 'skip') this.#skip(result)
        if (decision.do === 'next-rung') return { is: 'fall', failure: result }
        if (decision.do === 'stop')
          return decision.by === '$cancel' ? { is: 'cancelled' } : { is: 'stopped', failure: result }
      }
      if (phase === 'return') this.#away = false
      this.#ctx.tell(`${key}/ended`, 'phase-ended', { phase })
    }
    return { is: 'done' }
  }

  async #pass(plan: Plan, at: number, key: string, again: boolean): Promise<NodeResult> {
    const back = plan.phases.findIndex(p => p.phase === 'return')
    const current = plan.phases[at]
    const returned = plan.phases[back]
    if (current === undefined) throw new Error(`the plan has no phase ${at}`)
    const place = this.#place(plan, current.phase, key, again)
    const held = await hold(place)
    if (held !== null) return held
    if (current.phase === 'backup' || current.phase === 'data') {
      const first = plan.phases.findIndex(p => p.phase === 'backup' || p.phase === 'data') === at
      const away = await stillAway(place, first || again)
      if (!away.ok) return away
    }
    // Coming back is a new pass of its own: what the return did before was taken away.
    if (this.#away && returned !== undefined && at > back) {
      const there = this.#place(plan, returned.phase, `${key}/back`, true)
      const result = await executeNode({ ...there, skips: place.skips }, returned.node)
      if (!result.ok) return result
      this.#away = false
    }
    return executeNode(place, current.node)
  }

  #skip(failure: Failure): void {
    this.#skips.push(failure.what)
    const here = this.#input.order === 2 && failure.at !== undefined ? `@${failure.at}` : ''
    if (failure.kind === 'gate') this.#skippedGates.push(`${failure.what}${here}`)
  }

  #place(plan: Plan, phase: Phase, key: string, again: boolean): Place {
    const accepted = this.#accepted
    const here = plan.phases.find(p => p.phase === phase)?.node ?? { seq: [] }
    const elsewhere = this.#without.filter(id => !stepsIn(here).includes(id))
    const gone = [...this.#skips, ...elsewhere].filter(id => plan.steps[id] !== undefined)
    const skips = [...gone, ...this.#skippedGates]
    const { runId } = this.#ctx
    const around = { ctx: this.#ctx, world: this.#world, last: this.#last, sideBySide: this.#input.order === 2 }
    return { ...around, plan, phase, runId, key, again, accepted, skips, fenced: this.#kept }
  }

  #keep(plan: Plan, result: NodeResult & { ok: true }, key: string): void {
    this.#without.push(...(result.skipped ?? []))
    for (const [i, failure] of result.tolerated.entries()) {
      this.#fenced.push(failure.what)
      const step = plan.steps[failure.what]
      if (failure.loose !== undefined) this.#loose.push(failure.what)
      else if (failure.kind === 'fenced' && step !== undefined) this.#kept.push(step)
      this.#ctx.tell(`${key}/tolerated/${i}`, 'tolerated', toJson(failure))
    }
  }

  async #decide(plan: Plan, phase: Phase, key: string, failure: Failure): Promise<Decision> {
    const then = failure.then ?? (plan.onFailure === 'take' ? 'next-rung' : plan.onFailure)
    const rungs = plan.components.find(c => c.id === failure.component)?.fallbacks ?? []
    if (then === 'stop') return { do: 'stop', by: 'policy', reason: null }
    if (then === 'next-rung' && rungs.length > 0) return { do: 'next-rung', by: 'policy', reason: null }
    const answers = ['retry', ...(rungs.length > 0 ? ['next-rung'] : []), 'skip', 'stop']
    this.#ctx.tell(`${key}/asked`, 'asked', {
      token: key,
      about: failure.kind === 'gate' ? 'gate' : 'failure',
      step: failure.what,
      phase,
      why: failure.why,
      ...nextIn(failure),
      answers,
    })
    const said = await this.#ctx.wait(`${key}/answer`, [`answer:${key}`, '$cancel'], Infinity, 'waiting')
    if (said === null || said.name === '$cancel') return { do: 'stop', by: '$cancel', reason: null }
    this.#ctx.tell(`${key}/answered`, 'answered', { token: key, ...(said.value as Record<string, Json>) })
    return said.value as unknown as Decision
  }

  /** Users are served or told: once they were sent away and are not back, the maintenance page stays up. */
  async #leave(plan: Plan, index: number, state: 'failed' | 'aborted', why: string): Promise<RunOutput> {
    const key = `safe/${index}`
    // The abort that led here is seen: where a step has to ask now, it waits for an answer.
    await this.#ctx.wait(`${key}/look`, ['$cancel'], 0)
    const place = this.#place(plan, 'cleanup', key, true)
    const brought = await bringToSafety(place, this.#away ? plan.safe : [])
    const unsafe = brought.flatMap(({ step, result }) => {
      if (result.ok) return []
      return [`${step}: ${result.kind === 'cancelled' ? 'nobody said whether it took effect' : result.why}`]
    })
    const away = this.#away ? { away: plan.safe } : {}
    if (unsafe.length === 0) return { ...this.#output(state, why), ...away }
    return {
      ...this.#output(state, `${why}; users could not be brought to safety: ${unsafe.join('; ')}`),
      ...away,
      unsafe,
    }
  }

  #output(state: RunOutput['state'], why: string | null): RunOutput {
    const fenced = [...new Set(this.#fenced)]
    const skipped = [...this.#skips, ...new Set(this.#without.filter(id => !this.#skips.includes(id)))]
    const loose = this.#loose.length === 0 ? {} : { loose: [...new Set(this.#loose)] }
    return { state, why, departure: this.#departure, fenced, skipped, ...loose }
  }
}
