import type { Clock } from '../clock.ts'
import type { BackupStore, Target, Vault } from '../contract.ts'
import type { GateRule, Probe } from '../gate.ts'
import type { Json } from '../json.ts'
import type { AcceptedLoss, Plan } from '../plan.ts'
import type { ComponentId } from '../words.ts'
import type { Left } from './left.ts'

/** What the executor needs of everything around it. It knows no adapter, no file and no database. */
export interface World {
  readonly clock: Clock
  readonly vault: Vault
  readonly backups: BackupStore
  /** The opened component (`$hooks` too); opened once in a process. */
  target(component: ComponentId): Promise<Target>
  gate(name: string): Promise<{ rule: GateRule; probes: readonly Probe[] }>
  /** Observes everything afresh and plans again. */
  replan(request: Replan, signal: AbortSignal): Promise<Plan>
  /** What going to the plan's release would still change, observed and asked afresh. */
  unproven(request: Unproven, signal: AbortSignal): Promise<Looked>
  /**
   * Captures the environment as it is, so that the run can be reverted. Answers the release's name. Throws where a component
   * cannot be captured, unless `without` is told of it: then the release goes without.
   */
  departure(runId: string, signal: AbortSignal, without?: Without): Promise<string>
}

export type Without = (component: ComponentId, why: string) => Promise<void>

export interface Replan {
  /** The plan that is confirmed again, or gone on from. */
  readonly plan: Plan
  readonly successor: boolean
  readonly exclude: readonly { component: ComponentId; rung: string }[]
  readonly accepted: readonly AcceptedLoss[]
}

export interface Unproven {
  /** The plan that was followed to its end. */
  readonly plan: Plan
  /** Rungs that failed on the way there. */
  readonly exclude: readonly { component: ComponentId; rung: string }[]
  /** What the run went on without: that it is not on the release is known, and named. */
  readonly left: readonly Left[]
}

export interface Looked {
  /** What would still change, in words. */
  readonly found: readonly string[]
  /** All that was found is on its way by itself: for so many milliseconds it may still be. Left out: something is amiss. */
  readonly mayTakeMs?: number
  /** Components, left in part, that do not say what would still change: what was done there has to be asked one by one. */
  readonly mute: readonly ComponentId[]
  /** What is on the release, and has more of it than that had: somebody wanted it so meanwhile. Left out: nothing. */
  readonly more?: readonly { readonly component: ComponentId; readonly text: string }[]
}

/** The input of a run. */
export interface RunInput {
  readonly plan: Plan
  /** Who started it. */
  readonly by: string
  /** Why, where somebody said so. */
  readonly reason: string | null
  /** How it was confirmed: "typed the environment's name", "--yes". */
  readonly confirmed: string
  /**
   * Raised with what a run does in another order than before: one that was begun without it goes on as it began. 2: users of
   * several components are brought to safety side by side, and a gate is skipped where it failed, not all over the phase.
   */
  readonly order?: 2
}

/** What of it the journal tells at the run's beginning. */
export function toldOf({ plan, by, reason, confirmed }: RunInput): Readonly<Record<string, Json>> {
  return { by, reason, confirmed, plan: plan.hash }
}

/** How a run ended, as its output. */
export interface RunOutput {
  readonly state: 'succeeded' | 'failed' | 'aborted'
  readonly why: string | null
  readonly departure: string | null
  /** Targets that failed within what was tolerated: not on the release, kept from users where a fence could. */
  readonly fenced: readonly string[]
  /** Those of them that nothing keeps from users. Left out: none. */
  readonly loose?: readonly string[]
  /** Steps and gates that a person skipped. */
  readonly skipped: readonly string[]
  /** Users were sent away, or what serves them was stopped, and the run ended before that was taken back: what keeps them safe. */
  readonly away?: readonly string[]
  /** What should have left users safe and was not done, where there is any. */
  readonly unsafe?: readonly string[]
}
