import type { Finding, Node, Proposal, Question, Step } from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { differences } from '../../core/differences.ts'
import { type Json, sameJson } from '../../core/json.ts'
import { HIDDEN } from '../../core/secret.ts'
import type { Phase } from '../../core/words.ts'
import type { Config, Pin, Service } from './config.ts'

type What = keyof Config['serves']
/** The number of a stage, from 1 on, where there are several. */
type Undo = `${What}/undo` | `${What}/undo/${number}`

/** What a step needs besides the settings. */
export type Args = {
  /** Which of the commands in the settings. */
  run: 'apply' | 'halt' | What | Undo
  pin: Pin
  release: string
}

/** In this order within a phase. */
const SERVED: readonly What[] = ['drained', 'stopped', 'redeployed']
const PHASE: Record<What, [Phase, Phase]> = {
  drained: ['drain', 'return'],
  stopped: ['stop', 'code'],
  redeployed: ['code', 'code'],
}

export function propose(config: Config, component: string, question: Question<Pin>): Proposal {
  const { from, to: pin, release } = question
  const needs = question.needs.filter(need => config.serves[need.what as What] !== undefined)
  const asked = SERVED.filter(what => needs.some(need => need.what === what))
  const differs = !sameJson(from.state, pin.state)
  const services = served(config, asked)
  // What an earlier run was kept from ending.
  const left = served(config, question.left?.filter(what => !asked.some(a => a === what)) ?? [])
  const halts = config.halt !== undefined && from.inFlight.length > 0
  if (!differs && asked.length === 0 && left.length === 0 && !halts) return NOTHING
  if (differs && config.apply === undefined) return { ...NOTHING, findings: [onlyServes(component, release)] }
  const draft = new Draft(config, component, { pin, release })
  if (halts) draft.halt(from.inFlight.map(op => op.what))
  for (const [what, service] of services.filter(([what]) => what !== 'redeployed')) draft.begin(what, service)
  if (differs) draft.apply()
  for (const [what, service] of services.filter(([what]) => what === 'redeployed')) draft.begin(what, service)
  for (const [what, service] of [...services, ...left].toReversed()) draft.undo(what, service)
  const { downtime, loss, disappears } = config.impact
  return {
    ...NOTHING,
    change: differs ? { from: readingOf(question), to: pin.summary } : null,
    findings: [
      ...hidden(component, pin, differs),
      ...unseen(component, question),
      ...remarks(config, component, differs, services),
      ...left.map(([what]) => leftBy(component, what)),
    ],
    impact: differs
      ? { downtimeMs: downtime, loss: loss.map(l => ({ ...l, since: null })), staysBehind: [], disappears }
      : NOTHING.impact,
    needs: differs ? config.needs : [],
    serves: needs,
    ...(halts ? { settles: from.inFlight.map(op => op.what) } : {}),
    ...draft.done(),
  }
}

function served({ serves }: Config, asked: readonly string[]): (readonly [What, Service])[] {
  return SERVED.flatMap(what =>
    asked.includes(what) && serves[what] !== undefined ? [[what, serves[what]] as const] : [],
  )
}

function leftBy(component: string, what: What): Finding {
  const told = `A run saw to it that ${component} is ${what}, and ended before that was taken back`
  const remedy = 'none: this plan takes it back'
  return { level: 'warning', code: `left_${what}`, component, what: told, remedy }
}

/** Collects steps and where they stand. */
class Draft {
  readonly #config: Config
  readonly #component: string
  readonly #args: Omit<Args, 'run'>
  readonly #steps: Step[] = []
  readonly #phases: Partial<Record<Phase, Node[]>> = {}
  readonly #safe: string[] = []

  constructor(config: Config, component: string, args: Omit<Args, 'run'>) {
    this.#config = config
    this.#component = component
    this.#args = args
  }

  halt(flights: readonly string[]): void {
    this.#put('preflight', this.#step('halt', 'halt', `stop what is under way: ${flights.join(', ')}`))
  }

  apply(): void {
    const { phase, destructive, impact, title } = this.#config
    const flags = { ...(destructive ? { destructive } : {}), ...(impact.loss.length > 0 ? { recheck: true } : {}) }
    const whole = `${title}: ${this.#component} to ${this.#args.pin.summary}`
    this.#put(phase, { ...this.#step('apply', 'apply', whole), ...flags })
  }

  begin(what: What, { phase, undo }: Service): void {
    const step = this.#step(what, what, `see to it that ${this.#component} is ${what}`)
    this.#put(phase ?? PHASE[what][0], begun(step, what, undo))
  }

  undo(what: What, { undo }: Service): void {
    const again = `${what}/away`
    if (what === 'drained') {
      const step = this.#step(again, what, `send the users of ${this.#component} away again`)
      this.#steps.push(begun(step, what, undo))
      this.#safe.push(step.id)
    }
    for (const [i, stage] of (undo ?? []).entries()) {
      const phase = stage.phase ?? PHASE[what][1]
      const run: Undo = undo?.length === 1 ? `${what}/undo` : `${what}/undo/${i + 1}`
      const step = this.#step(run, run, titleOf(this.#component, what, stage))
      this.#put(phase, i + 1 === undo?.length ? { ...step, ends: what } : step)
      if (stage.gate === undefined) continue
      const apply = what === 'drained' ? [`${this.#component}/${again}`] : []
      this.#phases[phase]?.push({ gate: stage.gate, forMs: 0, onFail: { apply, then: 'ask' } })
    }
  }

  done(): Pick<Proposal, 'steps' | 'phases' | 'safe'> {
    const phases = Object.entries(this.#phases).map(([phase, seq]) => [phase, { seq }])
    return { steps: this.#steps, phases: Object.fromEntries(phases) as Proposal['phases'], safe: this.#safe }
  }

  #put(phase: Phase, step: Step): void {
    this.#steps.push(step)
    const seq = (this.#phases[phase] ??= [])
    seq.push({ step: step.id })
  }

  #step(id: string, run: Args['run'], title: string): Step {
    const { limit, retries, estimate, repeatable } = this.#config
    return {
      id: `${this.#component}/${id}`,
      component: this.#component,
      title,
      args: { ...this.#args, run },
      limitMs: limit + 10_000,
      retries,
      estimateMs: estimate,
      onUnknown: repeatable ? 'repeat' : 'ask',
    }
  }
}

/** Without an undo nothing that Backout knows of ends it. */
function begun(step: Step, what: What, undo: Service['undo']): Step {
  return undo === undefined ? step : { ...step, begins: what }
}

function onlyServes(component: string, release: string): Finding {
  const what = `${release} was captured when ${component} could be taken back; now it has no \`apply\``
  const remedy = 'put `observe` and `apply` back, or capture the release again'
  return { level: 'blocker', code: 'no_apply', component, what, remedy }
}

function titleOf(component: string, what: What, { title }: { title?: string | undefined }): string {
  return title === undefined ? `${component} is no longer to be ${what}` : `${title}: ${component}`
}

/** The summary, and where that is what it was then: what of the state is not. */
function readingOf({ from, to }: Question<Pin>): string {
  return from.summary === to.summary ? `${from.summary} with another ${otherThan(from.state, to.state)}` : from.summary
}

const NAMED = 3

function otherThan(now: Json, then: Json): string {
  const all = differences(now, then)
  if (all[0] === 'all of it') return 'state'
  return `${all.slice(0, NAMED).join(', ')}${all.length > NAMED ? ` and ${all.length - NAMED} more` : ''}`
}

/** What differs is nothing that `summary` says: it may be what going back itself moves, and then going back never ends it. */
function unseen(component: string, { from, to }: Question<Pin>): Finding[] {
  if (from.summary !== to.summary || sameJson(from.state, to.state)) return []
  const what = `${component} reads "${to.summary}" as it did then, with another ${otherThan(from.state, to.state)}`
  const remedy =
    'where going back itself moves that (a revision that counts up), let `observe` leave it out of `state`: no run ends verified with it'
  return [{ level: 'note', code: 'same_summary', component, what, remedy }]
}

/** A secret that a command printed was hidden before it was kept: given back as it is, it would be put in place. */
function hidden(component: string, { data }: Pin, differs: boolean): Finding[] {
  if (!differs || !JSON.stringify(data).includes(HIDDEN)) return []
  const what = `What was captured of ${component} held a secret, which is not kept: BACKOUT_PIN says ${HIDDEN} in its place`
  const remedy = 'see that `apply` does not need it; let `capture` print where the secret is instead'
  return [{ level: 'warning', code: 'pin_hides_secret', component, what, remedy }]
}

function remarks(
  config: Config,
  component: string,
  differs: boolean,
  services: (readonly [What, Service])[],
): Finding[] {
  const found: Finding[] = []
  const unasked = (part: string, of: string, whether: string) => {
    const tells = part === 'verify' ? 'exit 0 and `observe` are' : 'exit 0 is'
    const what = `${component} has no verify command${of}: ${tells} all that tells whether ${whether}`
    const remedy = `set \`${part}\`; without it a person is asked after every interruption`
    found.push({ level: 'warning', code: 'no_verify', component, what, remedy })
  }
  if (differs && config.verify === undefined) unasked('verify', '', 'going back worked')
  for (const [what, { verify, undo = [] }] of services) {
    const part = `serves.${what}`
    if (verify === undefined) unasked(`${part}.verify`, ` for \`${part}\``, `it is ${what}`)
    if (undo.some(stage => stage.verify === undefined)) {
      unasked(`${part}.undo.verify`, ` for \`${part}.undo\``, `it is no longer ${what}`)
    }
  }
  for (const [what, service] of services) {
    if (what === 'redeployed' || service.undo !== undefined) continue
    const remedy = `set \`serves.${what}.undo\`, or do it by hand afterwards`
    found.push({
      level: 'warning',
      code: `stays_${what}`,
      component,
      what: `Nothing ends it that ${component} is ${what}`,
      remedy,
    })
  }
  return found
}
