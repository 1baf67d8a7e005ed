import type { StepId } from '../words.ts'

/** How a part of a plan ended. */
export type NodeResult = Ended | Failure

interface Ended {
  readonly ok: true
  readonly tolerated: readonly Failure[]
  /** Of so many things side by side not one was done, which was tolerated all the same. Left out: some were. */
  readonly nobody?: number
  /** Steps that a person said to go on without. Left out: none. */
  readonly skipped?: readonly StepId[]
}

export interface Failure {
  readonly ok: false
  readonly kind: 'step' | 'gate' | 'cancelled' | 'fenced'
  /** The step or gate that failed. */
  readonly what: StepId
  readonly component: string | null
  /** Where in its phase a gate stands that failed: another one of its name further on is another question. */
  readonly at?: string
  readonly why: string
  /** What the error says is to be done. Left out: it says nothing. */
  readonly next?: string
  /** What the plan says to do about it; null: the plan's policy. */
  readonly then: 'ask' | 'next-rung' | 'stop' | null
  /**
   * It could not be kept away from users. `refused`: what was to do that failed, and it is not gone on without; `nobody`: there
   * is nothing that could.
   */
  readonly loose?: 'refused' | 'nobody'
  /** Somebody aborted the run while it saw to what had failed: nothing more is asked. */
  readonly aborted?: true
}

/** To be passed on with what an error said, where it said anything. */
export function nextIn({ next }: { readonly next?: string | undefined }): { next?: string } {
  return next === undefined ? {} : { next }
}

export const OK: NodeResult = { ok: true, tolerated: [] }

export function cancelled(): Failure {
  return { ok: false, kind: 'cancelled', what: 'abort', component: null, why: 'the run was aborted', then: 'stop' }
}

/** Carries a failure out of a child run, whose outcome holds nothing but a text. */
export class NodeFailed extends Error {
  constructor(failure: Failure) {
    super(JSON.stringify(failure))
  }
  static read(text: string): Failure {
    try {
      const failure = JSON.parse(text) as Partial<Failure>
      if (failure.kind !== undefined) return failure as Failure
    } catch {
      // Not one of ours: an unexpected error of the child's code.
    }
    return unexpected(text)
  }
}

/** An error that nobody foresaw. */
export function unexpected(why: string): Failure {
  return { ok: false, kind: 'step', what: 'unexpected', component: null, why, then: 'ask' }
}
