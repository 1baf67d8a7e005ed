import type { Finding, Unwell } from './contract.ts'

/** Told in a plan: going back does nothing to what is there already, and it is not as it should be. */
export function unwellFinding(
  { component, code, remedy }: Pick<Finding, 'component' | 'code' | 'remedy'>,
  release: string,
  { why, mayTakeMs }: Unwell,
): Finding {
  const what =
    mayTakeMs === undefined
      ? `What is on ${release} already does not run as it should, and going back does not mend it: ${why}`
      : `Not all of what is on ${release} already is up yet: ${why}`
  return { level: 'warning', code, component, what, remedy, moves: true }
}
