import type { Ctx, Engine } from '../engine.ts'
import { type Json, toJson } from '../json.ts'
import { type AcceptedLoss, beyond, blockersOf, isEmpty, type Plan } from '../plan.ts'
import type { ComponentId, Phase } from '../words.ts'
import { checkpoint, executeChild, executeNode, NODE_WORKFLOW, type NodeInput } from './node.ts'
import { cancelled, type Failure, type NodeResult } from './result.ts'
import { executeStep, type Place } from './step.ts'
import type { RunInput, RunOutput, World } from './world.ts'

export const ROLLBACK = 'rollback'
/** Raised whenever the order or the keys of the calls change: a run of another version is not resumed silently. */
const VERSION = 1

/** Teaches an engine how to roll back. */
export function defineRollback(engine: Engine, world: World): void {
  const plans = new Map<string, Plan>()
  engine.define(ROLLBACK, VERSION, async (ctx, input) => {
    const run = new Rollback(ctx, world, input as unknown as RunInput, plans)
    return toJson(await run.execute())
  })
  engine.define(NODE_WORKFLOW, VERSION, async (ctx, input) => {
    const { plan: hash, node, ...place } = input as unknown as NodeInput
    const plan = plans.get(hash)
    if (plan === undefined) throw new Error(`plan ${hash} is not loaded`)
    return executeChild({ ctx, world, plan, ...place }, node)
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
  readonly #skips: string[] = []
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
    const moved = await this.#stillHolds()
    if (moved !== null) return this.#output('failed', moved)
    if (isEmpty(this.#input.plan)) return this.#output('succeeded', 'there was nothing to do')
    this.#departure = await this.#ctx.run('departure', act => this.#world.departure(this.#ctx.runId, act.signal))
    this.#ctx.tell('departed', 'departure', { release: this.#departure })
    return this.#chain()
  }

  /** Observes again: a plan for a world that has moved is not run, whoever said yes to it. */
  async #stillHolds(): Promise<string | null> {
    const { plan } = this.#input
    const now = (await this.#ctx.run('replan', async act => {
      const request = { plan, successor: false, exclude: [], accepted: this.#accepted }
      return toJson(await this.#world.replan(request, act.signal))
    })) as unknown as Plan
    if (now.hash === plan.hash && blockersOf(now).length === 0) return null
    const differences = differencesOf(plan, now)
    this.#ctx.tell('moved', 'plan-moved', { planned: plan.hash, now: now.hash, differences })
    return `moved: ${differences.join('; ')}`
  }

  async #chain(): Promise<RunOutput> {
    let plan = this.#input.plan
    const exclude: { component: ComponentId; rung: string }[] = []
    for (let index = 0; ; index++) {
      this.#plans.set(plan.hash, plan)
      const end = await this.#plan(plan, index)
      if (end.is === 'done') return this.#output('succeeded', null)
      if (end.is === 'cancelled') {
        await this.#leaveSafe(plan, index)
        return this.#output('aborted', 'it was aborted')
      }
      if (end.is === 'stopped') {
        await this.#leaveSafe(plan, index)
        return this.#output('failed', `${end.failure.what}: ${end.failure.why}`)
      }
      const component = end.failure.component
      const rung = plan.components.find(c => c.id === component)?.rung
      if (component === null || rung === undefined) return this.#output('failed', end.failure.why)
      exclude.push({ component, rung })
      const next = await this.#successor(plan, exclude, index)
      if (next === null) {
        await this.#leaveSafe(plan, index)
        return this.#output('failed', `${end.failure.what}: ${end.failure.why}; no further rung could be taken`)
      }
      plan = next
    }
  }

  /** Plans again without the rungs that failed, and gets an approval where that goes beyond what was approved. */
  async #successor(
    plan: Plan,
    exclude: readonly { component: ComponentId; rung: string }[],
    index: number,
  ): Promise<Plan | null> {
    const key = `fall/${index}`
    const next = (await this.#ctx.run(`${key}/replan`, async act => {
      const request = { plan, successor: true, exclude, accepted: this.#accepted }
      return toJson(await this.#world.replan(request, act.signal))
    })) as unknown as Plan
    const blockers = blockersOf(next).map(b => b.what)
    const outside = beyond(this.#input.plan.envelope, next)
    const told = { plan: next.hash, parent: plan.hash, exclude, blockers, outside }
    this.#ctx.tell(`${key}/told`, 'plan-successor', toJson({ ...told, next }))
    if (blockers.length > 0) return null
    if (outside.length === 0) return next
    this.#ctx.tell(`${key}/asked`, 'asked', {
      token: key,
      about: 'approval',
      why: outside.join('; '),
      answers: ['approve', 'stop'],
    })
    const said = await this.#ctx.wait(`${key}/answer`, [`answer:${key}`, '$cancel'], Infinity, 'waiting')
    this.#ctx.tell(`${key}/answered`, 'answered', { token: key, ...(said?.value as Record<string, Json> | null) })
    if ((said?.value as { do?: string } | null)?.do !== 'approve') return null
    this.#accepted = next.envelope.loss
    return next
  }

  async #plan(plan: Plan, index: number): Promise<PlanEnd> {
    for (const { phase, node, estimateMs } of plan.phases) {
      const key = `${index}/${phase}`
      if (phase === 'drain' || phase === 'stop') this.#away = true
      this.#ctx.tell(`${key}/begun`, 'phase-begun', { phase, estimateMs, plan: plan.hash })
      for (let pass = 1; ; pass++) {
        const result = await this.#pass(plan, node, `${key}/${pass}`, pass > 1 || index > 0)
        if (result.ok) {
          this.#keep(result, `${key}/${pass}`)
          break
        }
        if (result.kind === 'cancelled') return { is: 'cancelled' }
        this.#ctx.tell(`${key}/${pass}/failed`, 'phase-failed', toJson({ phase, ...result }))
        const decision = await this.#decide(plan, phase, `${key}/${pass}`, result)
        if (decision.do === 'skip') this.#skips.push(result.what)
        if (decision.do === 'next-rung') return { is: 'fall', failure: result }
        if (decision.do === 'stop')
          return decision.by === '$cancel' ? { is: 'cancelled' } : { is: 'stopped', failure: result }
      }
      if (phase === 'return') this.#away = false
      this.#ctx.tell(`${key}/ended`, 'phase-ended', { phase })
    }
    return { is: 'done' }
  }

  async #pass(plan: Plan, node: Plan['phases'][number]['node'], key: string, again: boolean): Promise<NodeResult> {
    if ((await checkpoint(this.#ctx, key)) === 'cancel') return cancelled()
    return executeNode(this.#place(plan, key, again), node)
  }

  #place(plan: Plan, key: string, again: boolean): Place {
    const accepted = this.#accepted
    const skips = [...this.#skips]
    return { ctx: this.#ctx, world: this.#world, plan, runId: this.#ctx.runId, key, again, accepted, skips }
  }

  #keep(result: NodeResult & { ok: true }, key: string): void {
    for (const [i, failure] of result.tolerated.entries()) {
      this.#fenced.push(failure.what)
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
      answers,
    })
    const said = await this.#ctx.wait(`${key}/answer`, [`answer:${key}`, '$cancel'], Infinity, 'waiting')
    if (said === null || said.name === '$cancel') return { do: 'stop', by: '$cancel', reason: null }
    this.#ctx.tell(`${key}/answered`, 'answered', { token: key, ...(said.value as Record<string, Json>) })
    return said.value as unknown as Decision
  }

  /** Users are served or told: once they were sent away and are not back, the maintenance page stays up. */
  async #leaveSafe(plan: Plan, index: number): Promise<void> {
    if (!this.#away) return
    const place = this.#place(plan, `safe/${index}`, true)
    for (const id of plan.safe) {
      const step = plan.steps[id]
      if (step !== undefined) await executeStep(place, step)
    }
  }

  #output(state: RunOutput['state'], why: string | null): RunOutput {
    return { state, why, departure: this.#departure, fenced: this.#fenced, skipped: this.#skips }
  }
}

/** What is different between two plans for the same release, in words. */
export function differencesOf(planned: Plan, now: Plan): string[] {
  const out: string[] = []
  for (const c of now.components) {
    const before = planned.components.find(p => p.id === c.id)
    if (before === undefined) out.push(`${c.id} is new in backout.yaml`)
    else if (before.observed.identity !== c.observed.identity) out.push(`${c.id} is now ${c.observed.identity}`)
    else if (before.observed.state !== c.observed.state) {
      out.push(`${c.id} changed: it was "${before.observed.summary}", now "${c.observed.summary}"`)
    } else if (before.rung !== c.rung)
      out.push(`${c.id} would now be taken back by "${c.rung}" instead of "${before.rung}"`)
  }
  for (const b of blockersOf(now)) out.push(b.what)
  for (const why of beyond(planned.envelope, now)) out.push(why)
  if (planned.configHash !== now.configHash) out.push('backout.yaml was changed')
  return out.length > 0 ? [...new Set(out)] : ['the steps are no longer the same']
}
