import { styleText } from 'node:util'
import type { Summary } from '../load.ts'
import { NEW, OLD, type World } from '../world.ts'
import type { Restored } from './finale.ts'
import { restoreLines, restorePromises } from './restored.ts'
import { same } from './same.ts'
import { heading, print, seconds } from './text.ts'

/** Everything that was measured, for the promises to be held against. */
export interface Facts {
  readonly before: Record<string, string | null>
  readonly after: Record<string, string | null>
  readonly summary: Summary
  readonly healthyMs: number
  readonly stored: Awaited<ReturnType<World['ordersInDb']>>
  readonly migrations: readonly string[]
  readonly discounts: {
    /** What the plan says would be lost. */
    readonly listed: readonly { what: string; count: number; unit: string }[]
    /** What was in the database when the plan was made. */
    readonly atRisk: readonly { id: number; discount: number }[]
    /** What was written aside before it was destroyed. */
    readonly lost: readonly { id: number; discount: number }[]
  }
  readonly report: string
  readonly restored: Restored
  /** Processes of the shop that are still alive after its teardown. */
  readonly left: readonly number[]
}

/** Prints what was measured and whether it is as promised. True if all of it is. */
export function judge(facts: Facts, took: string): boolean {
  const { summary, discounts } = facts
  const { requests } = summary
  const stored = new Set(facts.stored.map(o => o.id))
  const missing = summary.orders.filter(o => !stored.has(o.id))
  const during = summary.periods.filter(p => p.name === 'rollback' || p.name === 'after')
  const failed = during.flatMap(p => Object.entries(p.failedBy)).filter(([version]) => version !== NEW)
  const failures = failed.reduce((sum, [, n]) => sum + n, 0)
  const [listed] = discounts.listed
  heading('Measured')
  print(`versions served before   ${versions(facts.before)}`)
  print(`versions served after    ${versions(facts.after)}`)
  print(
    `requests                 ${requests.ok} served, ${requests.maintenance} told to come back, ${requests.failed} failed`,
  )
  print(
    `  of these while going back and after it: ${failures} failed but for those that ${NEW} itself still answered wrongly`,
  )
  print(`decision to healthy      ${seconds(facts.healthyMs)}`)
  print(`orders kept              ${summary.orders.length - missing.length} of ${summary.orders.length} acknowledged`)
  print(
    `values lost              ${discounts.lost.length} (the plan listed ${discounts.listed.map(l => `${l.count} ${l.unit} of ${l.what}`).join(', ') || 'none'})`,
  )
  for (const line of restoreLines(facts.restored)) print(line)
  print(`report                   ${facts.report}`)
  print(`the whole demo           ${took}`)
  heading('Promised')
  const kept = [
    promise(
      `every process serves ${OLD}`,
      Object.values(facts.after).every(v => v === OLD) && values(facts.after) === 3,
    ),
    promise(
      `before, every process served ${NEW}`,
      Object.values(facts.before).every(v => v === NEW),
    ),
    promise('every order that was acknowledged is there', summary.orders.length > 0 && missing.length === 0),
    promise(
      'the values lost are exactly those that the plan listed',
      discounts.listed.length === 1 &&
        listed?.what === 'orders.discount' &&
        listed.count === discounts.lost.length &&
        listed.count > 0 &&
        same(discounts.atRisk, discounts.lost),
    ),
    promise('no request failed by going back', failures === 0),
    promise('users were served again', Number.isFinite(facts.healthyMs)),
    ...restorePromises(facts.restored).map(({ text, kept }) => promise(text, kept)),
    promise('nothing is left running', facts.left.length === 0),
  ]
  return kept.every(Boolean)
}

function promise(text: string, kept: boolean): boolean {
  print(`${kept ? styleText('green', '✓') : styleText('red', '✗')} ${text}`)
  return kept
}

function versions(served: Record<string, string | null>): string {
  return Object.entries(served)
    .map(([name, version]) => `${name} ${version ?? 'no answer'}`)
    .join(', ')
}

function values(served: Record<string, string | null>): number {
  return Object.keys(served).length
}
