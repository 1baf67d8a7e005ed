import {
  type Impact,
  type Need,
  NO_IMPACT,
  NOTHING,
  type Proposal,
  type Question,
  type Step,
} from '../../core/contract.ts'
import { check, foreign, type Plan } from './check.ts'
import { execFinding } from './exec.ts'
import type { Fleet, Unit } from './fleet.ts'
import { haltStep } from './halt.ts'
import { instanceOf } from './observe.ts'
import type { HostsPin } from './pin.ts'
import { atOnce, batchesOf, type HostWork, rolling, switchStep, together, typicalMs, unitStep } from './steps.ts'

interface Asked {
  readonly stop: boolean
  readonly redeploy: boolean
}

export async function propose(fleet: Fleet, question: Question<HostsPin>): Promise<Proposal> {
  const other = foreign(fleet, question.to)
  if (other !== null) return { ...NOTHING, findings: [other] }
  const serves = question.needs.filter(need => served(fleet, need))
  const asked = { stop: serves.some(n => n.what === 'stopped'), redeploy: serves.some(n => n.what === 'redeployed') }
  const { plans, findings } = await check(fleet, question, asked.stop)
  const unclear = serves.some(n => n.what === 'exec-from')
    ? await execFinding(fleet, question.release, question.signal)
    : null
  if (unclear !== null) findings.push(unclear)
  if (findings.some(f => f.level === 'blocker')) return { ...NOTHING, findings, serves }
  const changing = plans.filter(plan => differs(fleet, plan))
  const halt = haltStep(fleet, question.from)
  const halting = {
    settles: halt?.settles ?? [],
    steps: halt === null ? [] : [halt.step],
    phases: halt === null ? {} : { preflight: { step: halt.step.id } },
  }
  if (changing.length === 0 && !asked.stop && !asked.redeploy) return { ...NOTHING, findings, serves, ...halting }
  const fences = (plan: Plan) => fleet.config.fence !== undefined || plan.state === null
  const stops = asked.stop ? plans.map(plan => ({ host: plan.host, steps: stopsOf(fleet, plan) })) : []
  // Hosts that do not answer come last: a batch of nobody would prove nothing to its gate.
  const inOrder = [...plans.filter(p => p.state !== null), ...plans.filter(p => p.state === null)]
  const codes = inOrder.map(plan => ({ host: plan.host, steps: codeOf(fleet, plan, asked, fences(plan)) }))
  return {
    ...NOTHING,
    change: changing.length === 0 ? null : { from: question.from.summary, to: nameOf(question.to, plans) },
    findings,
    impact: impactOf(fleet, plans, codes, asked),
    needs: needsOf(fleet, question, asked),
    serves,
    settles: halting.settles,
    steps: [...halting.steps, ...[...stops, ...codes].flatMap(w => w.steps)],
    phases: { ...halting.phases, ...phasesOf(fleet, question, stops, codes, asked) },
    omits: question.mode === 'emergency' ? omitted(fleet) : [],
  }
}

function served(fleet: Fleet, need: Need): boolean {
  if (need.of !== fleet.component) return false
  return (
    need.what === 'exec-from' ||
    (fleet.config.service !== undefined && (need.what === 'stopped' || need.what === 'redeployed'))
  )
}

function nameOf(to: HostsPin, plans: readonly Plan[]): string {
  return to.release ?? [...new Set(plans.map(p => p.pinned.release))].join(', ')
}

function needsOf(fleet: Fleet, { dependents }: Question<HostsPin>, asked: Asked): Proposal['needs'] {
  if (!asked.stop && !fleet.config.drain) return []
  return dependents.filter(d => d.serves.includes('drained')).map(d => ({ of: d.id, what: 'drained' as const }))
}

function phasesOf(
  fleet: Fleet,
  { mode }: Question<HostsPin>,
  stops: HostWork[],
  codes: HostWork[],
  asked: Asked,
): Proposal['phases'] {
  const stop = together(fleet, stops, 0, atOnce)
  const code = asked.stop ? together(fleet, codes, fleet.mayFail, atOnce) : rolling(fleet, codes, mode === 'full')
  return { ...(stop === null ? {} : { stop }), ...(code === null ? {} : { code }) }
}

function omitted(fleet: Fleet): string[] {
  const gates = fleet.config.batchGate === undefined ? [] : [`the gate ${fleet.config.batchGate} between batches`]
  return ['checksums of the whole release while planning; they are verified right before each switch', ...gates]
}

/** Units that carry users after going back: of the target slot where both slots have their own. */
function unitsAfter(fleet: Fleet, plan: Plan): Unit[] {
  return plan.host.units.filter(
    unit =>
      (unit.slot === null || unit.slot === plan.to) && !plan.pinned.stopped.includes(instanceOf(unit.label, fleet)),
  )
}

function switches(plan: Plan): boolean {
  return plan.state === null || plan.state.link !== plan.to || plan.state.reloadDue === true
}

/** A unit that does not run, or does not run what the link leads to. */
function off(plan: Plan, unit: Unit): boolean {
  const seen = plan.state?.units[unit.label]
  if (seen === undefined) return plan.state === null
  if (seen.is !== 'running' || plan.state?.stale.includes(unit.label) === true) return true
  return plan.pinned.version !== null && seen.version !== plan.pinned.version
}

function differs(fleet: Fleet, plan: Plan): boolean {
  return switches(plan) || unitsAfter(fleet, plan).some(unit => off(plan, unit))
}

/** What users are on is started anew where it dies: that it does not run at this moment says nothing of the next one. */
function mayRun({ state }: Plan, { label, slot }: Unit): boolean {
  return state === null || slot === null || slot === state.link || state.units[label]?.is !== 'stopped'
}

function stopsOf(fleet: Fleet, plan: Plan): Step[] {
  const release = plan.state?.release ?? plan.pinned.release
  return plan.host.units
    .filter(unit => mayRun(plan, unit))
    .map(unit => unitStep(fleet, plan.host, unit, 'stop', { release, version: null, fence: false }))
}

function codeOf(fleet: Fleet, plan: Plan, asked: Asked, fence: boolean): Step[] {
  const { host, pinned } = plan
  const more = { release: pinned.release, version: pinned.version, fence }
  const units = fleet.config.service === undefined ? [] : unitsAfter(fleet, plan)
  const stale = fleet.perSlot ? [] : units.map(u => u.label)
  const { link: expect = null, release: left = null } = plan.state ?? {}
  const change = switchStep(fleet, host, { to: plan.to, expect, left, pinned, stale, fence })
  const move = switches(plan) || (fleet.config.service === undefined && differs(fleet, plan)) ? [change] : []
  if (fleet.perSlot)
    return [...slotStarts(fleet, plan, asked, units, more), ...move, ...slotStops(fleet, plan, asked, fence)]
  const verb = asked.stop ? 'start' : 'restart'
  const wanted = units.filter(unit => asked.stop || asked.redeploy || move.length > 0 || off(plan, unit))
  return [...move, ...wanted.map(unit => unitStep(fleet, host, unit, verb, more))]
}

/** The other slot is made ready before users are sent to it. */
function slotStarts(
  fleet: Fleet,
  plan: Plan,
  asked: Asked,
  units: Unit[],
  more: { release: string; version: string | null; fence: boolean },
): Step[] {
  const again = asked.redeploy && !asked.stop
  return units
    .filter(unit => asked.stop || again || off(plan, unit))
    .map(unit => unitStep(fleet, plan.host, unit, again ? 'restart' : 'start', more))
}

function slotStops(fleet: Fleet, plan: Plan, asked: Asked, fence: boolean): Step[] {
  if (asked.stop || !fleet.config.stopLeft || !switches(plan)) return []
  const release = plan.state?.release ?? plan.pinned.release
  return plan.host.units
    .filter(unit => unit.slot !== plan.to && mayRun(plan, unit))
    .map(unit => unitStep(fleet, plan.host, unit, 'stop', { release, version: null, fence }))
}

function impactOf(fleet: Fleet, plans: readonly Plan[], codes: readonly HostWork[], asked: Asked): Impact {
  const longest = Math.max(0, ...codes.map(w => w.steps.reduce((sum, s) => sum + s.estimateMs, 0)))
  if (asked.stop) return { ...NO_IMPACT, downtimeMs: longest + typicalMs(fleet, 'stop') }
  const restarts = codes.some(w => w.steps.some(s => s.id.includes('/restart/')))
  const alone = plans.every(p => p.host.units.length <= 1) && (batchesOf(fleet, plans.length)[0] ?? 0) >= plans.length
  const down = restarts && !fleet.perSlot && alone
  return { ...NO_IMPACT, downtimeMs: down ? typicalMs(fleet, 'restart') : 0 }
}
