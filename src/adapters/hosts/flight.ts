import { z } from 'zod'
import type { Observation } from '../../core/contract.ts'
import { reveal, type Text } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import { seenBy } from '../../exec/words.ts'
import { type Fleet, wordsOf } from './fleet.ts'
import { UNTOLD } from './scripts.ts'

const flying = z.object({ flying: z.record(z.string(), z.string()), here: z.string().nullable() })

/** What is under way: by host, and what this machine has to do with it. */
export function flightsIn({ detail }: Observation): z.infer<typeof flying> {
  return flying.safeParse(detail).data ?? { flying: {}, here: null }
}

/** As they are called in observations, and by the step that stops them. */
export function flightText(what: string, host: string | null): string {
  return host === null ? `${what} (on this machine)` : `${what} on ${host}`
}

/** What is under way on this machine, by the check of the settings; null: nothing. */
export async function flightHere(fleet: Fleet, signal: AbortSignal): Promise<string | null> {
  const { check, on } = wordsOf(fleet.config.inFlight)
  if (check === undefined || on !== 'here') return null
  const result = await here(fleet, check, fleet.config.limits.status, signal)
  return seenBy(result, 'a deployment', code => `${UNTOLD} (inFlight ended with ${code})`)
}

/** Runs a command of the settings on this machine. */
export function here(
  fleet: Fleet,
  words: readonly Text[],
  limitMs: number,
  signal: AbortSignal,
  idem = 'backout-look',
) {
  const argv = words.map(word => reveal(word).replaceAll('{root}', fleet.config.root))
  return runLocal({ argv, limitMs, idem, cwd: fleet.baseDir }, signal)
}
