import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { Event, RunInfo } from '../core/engine.ts'
import { BackoutError } from '../core/errors.ts'
import { canonicalJson, type Json } from '../core/json.ts'
import { ENDED } from '../core/words.ts'

/**
 * Keyed hash of what a run began with or ended as: it stands in the event that tells of it, and so in the chain. Of this
 * run alone, so that what another one was sealed with does not fit.
 */
export function sealOf(key: KeyObject, run: string, what: 'input' | 'output', value: Json): string {
  return createHmac('sha256', key)
    .update(`backout run\0${run}\0${what}\0${canonicalJson(value)}`)
    .digest('hex')
}

type Told = Readonly<Record<string, Json | undefined>>

/** What of a run's row is not as its events tell; null: nothing. Older events carry no seals, and then nothing is compared. */
export function alteredIn(key: KeyObject, run: RunInfo, own: readonly Event[]): string | null {
  const started = own.find(e => e.type === 'run-started')
  if (started === undefined) return 'the journal does not tell that it was begun'
  const { input } = started.data as Told
  if (!holds(input, () => sealOf(key, run.id, 'input', run.input)))
    return 'its plan, or who began it and why, is not what it was begun with'
  const ended = own.findLast(e => e.type === 'run-ended')
  if (ended === undefined) return ENDED.has(run.state) ? `it is ${run.state}, and the journal tells of no end` : null
  const { state, error, output } = ended.data as Told
  if (state !== run.state) return `it is ${run.state}, and ended ${typeof state === 'string' ? state : 'otherwise'}`
  if ((error ?? null) !== run.error) return 'its error is not the one that it ended with'
  if (!holds(output, () => sealOf(key, run.id, 'output', run.output))) return 'its output is not what it ended with'
  return null
}

/** Whether the run's events carry the seal of what it began with. */
export function isSealed(own: readonly Event[]): boolean {
  return own.some(e => e.type === 'run-started' && typeof (e.data as Told)['input'] === 'string')
}

function holds(seal: Json | undefined, made: () => string): boolean {
  if (seal === undefined) return true
  if (typeof seal !== 'string') return false
  const [said, is] = [Buffer.from(seal), Buffer.from(made())]
  return said.length === is.length && timingSafeEqual(said, is)
}

/** Of a run whose row was changed since it was begun: exit code 11. */
export function runAltered(id: string, why: string): BackoutError {
  return new BackoutError({
    code: 'run_altered',
    what: `Run ${id} in the journal is not as it was written`,
    cause: why,
    next: 'keep the home as it is for whoever investigates; compare it with a copy: backout audit verify',
    exit: 'tampered',
  })
}
