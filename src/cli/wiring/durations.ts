import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Durations } from '../../core/estimate.ts'
import type { Environment } from './environment.ts'

/** So many runs are looked at, the newest first. */
const RUNS = 10

/**
 * What steps took in earlier runs of this environment. Not those that were found done, or that a person spoke for: nobody
 * measured them. A journal that cannot be read leaves the typical values, and is said where it stands in the way.
 */
export async function durationsOf(environment: Environment): Promise<Durations> {
  if (!existsSync(join(environment.home, 'journal.db'))) return new Map()
  try {
    return await read(environment)
  } catch {
    return new Map()
  }
}

async function read(environment: Environment): Promise<Durations> {
  const engine = await environment.engine({ worker: false })
  const runs = await engine.list({ exclusive: environment.config.environment })
  const out = new Map<string, number[]>()
  for (const { id } of runs.slice(-RUNS).toReversed()) {
    const took = new Map<string, number>()
    for await (const { data } of engine.events(id, { type: 'step-done' })) {
      const { step, ms, found, by } = (data ?? {}) as { step?: string; ms?: number; found?: boolean; by?: string }
      if (step === undefined || ms === undefined || found !== false || by !== undefined) continue
      took.set(step, ms)
    }
    for (const [step, ms] of took) out.set(step, [...(out.get(step) ?? []), ms])
  }
  return out
}
