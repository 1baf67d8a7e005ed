import type { Finding, Node, Proposal, Question, Step } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import type { Config, Pin, Place } from './config.ts'
import { between, described, reached } from './weights.ts'

/** What a step needs besides the settings. */
export type Args = {
  goal: Place
  /** Wait until no request is open on live sides. */
  wait: boolean
  /** Written also where it reads so already: something accepted earlier may be about to show. */
  always?: true
}

/** Where everybody is on the maintenance page. */
function away(config: Config, now: Place): Place {
  if (typeof config.maintenance !== 'string') return { weights: null, maintenance: true }
  const sides = Object.keys(now.weights ?? {}).map(side => [side, side === config.maintenance ? config.total : 0])
  return { weights: Object.fromEntries(sides) as Record<string, number>, maintenance: null }
}

export function propose(config: Config, component: string, now: Place, question: Question<Pin>): Proposal {
  const { to: pin, needs, release } = question
  const serves = needs.filter(need => need.what === 'drained')
  const added = sidesAdded(now, pin)
  const goal: Place = { weights: withNone(pin.weights, added), maintenance: pin.maintenance }
  const differs = !reached(now, goal)
  if (!differs && serves.length === 0) return NOTHING
  const wrong = blockers(config, component, now, goal)
  if (wrong.length > 0) return { ...NOTHING, findings: wrong }
  const builder = stepsOf(config, component)
  const drain = serves.length === 0 ? [] : [builder.drain(away(config, now))]
  const start =
    drain.length === 0 ? now : { ...now, ...away(config, now), weights: away(config, now).weights ?? now.weights }
  const percents = question.mode === 'emergency' || typeof config.maintenance !== 'string' ? [100] : config.return
  const back = comingBack(config, start, goal, percents).map(b => builder.back(b.percent, b.goal, release))
  const retreat = builder.away(away(config, now))
  const steps = [...drain, ...back, retreat]
  const settled = config.gate === undefined ? 0 : config.settle * back.length
  return {
    ...NOTHING,
    change: differs ? { from: described(now), to: described(goal) } : null,
    findings: [...remarks(config, component, release, now, goal), ...sayAdded(component, release, added)],
    impact: { ...NO_IMPACT, downtimeMs: drain.length === 0 ? 0 : sum([...drain, ...back]) + settled },
    serves,
    steps,
    phases: {
      ...(drain.length === 0 ? {} : { drain: { seq: drain.map(step => ({ step: step.id })) } }),
      ...(back.length === 0 ? {} : { return: { seq: back.flatMap(step => watched(config, step, retreat)) } }),
    },
    safe: [retreat.id],
    omits:
      question.mode === 'emergency' && config.return.length > 1
        ? [`the gradual return of traffic (${config.return.join(', ')} %): ${component} gives it back in one step`]
        : [],
  }
}

/** Sides that came since. */
function sidesAdded({ weights: now }: Place, { weights: then }: Place): string[] {
  if (now === null || then === null) return []
  return Object.keys(now).filter(side => !Object.hasOwn(then, side))
}

/** A switch that is told of some sides leaves the others as they are: these are told to have none. */
function withNone(weights: Place['weights'], sides: readonly string[]): Place['weights'] {
  return weights && { ...Object.fromEntries(sides.map(side => [side, 0])), ...weights }
}

function sayAdded(component: string, release: string, sides: readonly string[]): Finding[] {
  if (sides.length === 0) return []
  const what = `${release} did not have ${sides.join(', ')} at the switch of ${component}: no traffic is sent there any more`
  return [
    {
      level: 'note',
      code: 'side_added',
      component,
      what,
      remedy: 'take what the release does not have away afterwards',
    },
  ]
}

/** The places on the way back, each different from the one before; the last is the pin itself. */
function comingBack(config: Config, start: Place, goal: Place, percents: readonly number[]) {
  const stops: { percent: number; goal: Place }[] = []
  let before = start
  for (const percent of percents) {
    const { weights: from } = start
    const { weights: to } = goal
    const part = percent === 100 || from === null || to === null ? to : between(from, to, percent, config.total)
    const next = { weights: part, maintenance: goal.maintenance }
    if (percent < 100 && (reached(before, next) || reached(next, goal))) continue
    if (!reached(before, next)) stops.push({ percent, goal: next })
    before = next
  }
  return stops
}

function watched(config: Config, step: Step, retreat: Step): Node[] {
  if (config.gate === undefined) return [{ step: step.id }]
  const onFail = { apply: [retreat.id], then: 'ask' as const }
  return [{ step: step.id }, { gate: config.gate, forMs: config.settle, onFail }]
}

function stepsOf(config: Config, component: string) {
  const within = config.drained?.within ?? 0
  const step = (id: string, title: string, args: Args, waitMs = 0): Step => ({
    id: `${component}/${id}`,
    component,
    title,
    args,
    limitMs: (config.timeout + config.takesEffectWithin) * 8 + waitMs + 15_000,
    retries: 3,
    estimateMs: 500 + Math.min(waitMs, 3000),
    // Every step puts an absolute state there: twice is the same as once.
    onUnknown: 'repeat',
  })
  return {
    drain: (goal: Place) => {
      const wait = config.drained === undefined ? '' : ', and wait for open requests to end'
      return step(
        'drain',
        `send all users of ${component} to the maintenance page${wait}`,
        { goal, wait: true },
        within,
      )
    },
    back: (percent: number, goal: Place, release: string) => {
      const what = percent === 100 ? `put the traffic of ${release} back` : `give ${percent} % of the traffic back`
      return step(`return/${percent}`, `${what}: ${described(goal)}`, { goal, wait: false })
    },
    away: (goal: Place) =>
      step('away', `take all users of ${component} to the maintenance page again`, { goal, wait: false, always: true }),
  }
}

function blockers(config: Config, component: string, now: Place, goal: Place): Finding[] {
  const has = new Set(Object.keys(now.weights ?? {}))
  const found: Finding[] = []
  const { maintenance } = config
  if (typeof maintenance === 'string' && !has.has(maintenance)) {
    const what = `The switch of ${component} has no side ${maintenance} for the maintenance page`
    const remedy = `make that side, or name another one in \`maintenance\`; it has ${[...has].join(', ')}`
    found.push({ level: 'blocker', code: 'no_maintenance_side', component, what, remedy })
  }
  for (const [side, weight] of Object.entries(goal.weights ?? {})) {
    if (weight === 0 || has.has(side)) continue
    const what = `The release sent traffic to ${side}, which the switch of ${component} no longer has`
    const remedy = `put the side ${side} back, or capture a release with the sides of today`
    found.push({ level: 'blocker', code: 'side_gone', component, what, remedy })
  }
  if (
    (goal.weights === null) !== (now.weights === null) ||
    (goal.maintenance === null) !== (now.maintenance === null)
  ) {
    const what = `The pin of ${component} was captured with other settings (weights or maintenance mode)`
    const remedy = 'put the settings of then back, or capture the release again'
    found.push({ level: 'blocker', code: 'pin_of_other_settings', component, what, remedy })
  }
  return found
}

function remarks(config: Config, component: string, release: string, now: Place, goal: Place): Finding[] {
  const found: Finding[] = []
  if (reached({ ...now, ...goal }, { ...away(config, now) })) {
    const what = `${release} was captured while all users of ${component} were on the maintenance page: going back leaves them there`
    const remedy = 'go back to a release captured while users were served, or give the traffic back by hand afterwards'
    found.push({ level: 'warning', code: 'pin_is_maintenance', component, what, remedy })
  }
  if (config.gate === undefined) {
    const what = `Nothing watches while traffic comes back to ${component}`
    const remedy = 'name a `gate` in its settings'
    found.push({ level: 'warning', code: 'return_unwatched', component, what, remedy })
  }
  return found
}

function sum(steps: readonly Step[]): number {
  return steps.reduce((total, step) => total + step.estimateMs, 0)
}
