import type {
  Finding,
  Loss,
  Node,
  Proposal,
  Question,
  Rung,
  Step,
  StepAct,
  Target,
  Verdict,
} from '../../src/core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../src/core/contract.ts'
import { stepsIn } from '../../src/core/executor/still.ts'
import type { Json } from '../../src/core/json.ts'
import type { NeedWhat, Phase } from '../../src/core/words.ts'

/** A component whose steps, order and bad luck the test writes down. */
export interface Script {
  /** By what follows the component's name in the id. */
  readonly steps: Readonly<Record<string, Partial<Step>>>
  readonly phases: Readonly<Partial<Record<Phase, Node>>>
  readonly safe?: readonly string[]
  readonly loss?: readonly Loss[]
  readonly findings?: readonly Finding[]
  readonly rungs?: readonly Rung[]
  readonly serves?: readonly NeedWhat[]
  /** Instead of the proposal made of the above. */
  readonly propose?: (question: Question<Json>) => Partial<Proposal>
  readonly apply?: (step: Step, act: StepAct) => void | Promise<void>
  readonly verify?: (step: Step, act: StepAct) => Verdict | undefined | Promise<Verdict | undefined>
  readonly fence?: (step: Step, act: StepAct) => Promise<void>
  readonly state?: () => Json
}

export interface Scripted {
  readonly target: Target
  /** The steps that took effect, in order, each time they did. */
  readonly applied: string[]
  /** What is there now: the effects of the steps. */
  readonly there: Set<string>
}

/** The effect of a step is its id in `there`, until the step that undoes it (`args.undoes`) is applied. */
export function scripted(component: string, script: Script): Scripted {
  const applied: string[] = []
  const there = new Set<string>()
  const seen = new Set<string>()
  const steps = Object.entries(script.steps).map(([verb, more]) => stepOf(component, verb, more))
  const whole: Proposal = {
    ...NOTHING,
    change: { from: 'B', to: 'A' },
    findings: script.findings ?? [],
    impact: { ...NO_IMPACT, loss: script.loss ?? [] },
    steps,
    phases: script.phases,
    safe: script.safe ?? [],
  }
  const target: Target<Json> = {
    rungs: script.rungs ?? [{ id: 'only', tier: 'release', title: 'the only way' }],
    serves: script.serves ?? [],
    observe: async () => ({
      identity: component,
      state: script.state?.() ?? null,
      detail: null,
      summary: component,
      inFlight: [],
    }),
    capture: async () => null,
    async propose(question) {
      const proposal = { ...whole, ...script.propose?.(question) }
      // All that its phases bring about was there, as far as anybody could ask.
      const there = Object.values(proposal.phases)
        .flatMap(stepsIn)
        .every(id => seen.has(id))
      return there ? { ...proposal, change: null } : proposal
    },
    async apply(step, act) {
      act.guard()
      await script.apply?.(step, act)
      act.guard()
      applied.push(step.id)
      seen.add(step.id)
      there.add(step.id)
      const { undoes = [] } = (step.args ?? {}) as { undoes?: string[] }
      for (const id of undoes) there.delete(id)
    },
    async verify(step, act) {
      const said = await script.verify?.(step, act)
      if ((said?.is ?? (there.has(step.id) ? 'done' : null)) === 'done') seen.add(step.id)
      return said ?? { is: there.has(step.id) ? 'done' : 'not-done', why: [...there].join(', ') || 'nothing' }
    },
    ...(script.fence === undefined ? {} : { fence: script.fence }),
    [Symbol.asyncDispose]: async () => {},
  }
  return { target: target as Target, applied, there }
}

export function stepOf(component: string, verb: string, more: Partial<Step> = {}): Step {
  return {
    id: `${component}/${verb}`,
    component,
    title: verb,
    args: null,
    limitMs: 600_000,
    retries: 0,
    estimateMs: 10,
    onUnknown: 'ask',
    ...more,
  }
}

/** Steps side by side, by the last part of their ids. */
export function sideBySide(
  component: string,
  verbs: readonly string[],
  more: { limit?: number; maxFailures?: number } = {},
): Node {
  const par = verbs.map(verb => ({ id: verb, after: [], node: { step: `${component}/${verb}` } }))
  return { par, limit: more.limit ?? 10, maxFailures: more.maxFailures ?? 0 }
}

/** Users are sent away and come back; `there` says whether they are served. */
export function usersAway(gate?: string): Script {
  const step = (id: string): Node => ({ step: `traffic/${id}` })
  const back: Node[] = [step('return')]
  if (gate !== undefined) back.push({ gate, forMs: 0, onFail: { apply: ['traffic/drain'], then: 'ask' } })
  return {
    steps: {
      drain: { args: { undoes: ['traffic/return'] }, onUnknown: 'repeat' },
      return: { args: { undoes: ['traffic/drain'] }, onUnknown: 'repeat' },
    },
    phases: { drain: step('drain'), return: { seq: back } },
    safe: ['traffic/drain'],
    serves: ['drained'],
  }
}
