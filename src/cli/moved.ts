import type { RunInfo } from '../core/engine.ts'
import { BackoutError } from '../core/errors.ts'
import { within } from '../core/executor/verdict.ts'
import type { RunInput } from '../core/executor/world.ts'
import { ownerOf } from './open-runs.ts'
import type { Session } from './session.ts'

/** What does not answer for so long is not known to be another system. Milliseconds. */
const PATIENCE_MS = 15_000

/**
 * Refuses to take a run over where a component is another system than the run began on: what the settings take from the
 * environment of a process is not in the hash of the configuration. In the middle of a run a component may well not answer.
 */
export async function refuseMoved(session: Session, run: RunInfo, replaced: boolean): Promise<void> {
  if (replaced || ownerOf(session) !== null) return
  const { components } = (run.input as unknown as RunInput).plan
  const now = await Promise.all(components.map(c => identityNow(session, c.id)))
  const others = components.flatMap(({ id, observed: { identity: then } }, i) => {
    const is = now[i]
    return is == null || is === then || then === 'unknown' ? [] : [`${id} is ${is}, and was ${then}`]
  })
  if (others.length === 0) return
  throw new BackoutError({
    code: 'system_changed',
    what: `Run ${run.id} began on another system: ${others.join('; ')}`,
    cause: 'this process has other environment variables, files or contexts than the one that began the run',
    next: 'set them as they were, then try again; where the system was replaced since and this is the right one: --replaced',
    exit: 'moved',
  })
}

async function identityNow({ environment, targets }: Session, component: string): Promise<string | null> {
  const { signal } = new AbortController()
  const observe = async () => (await targets.get(component)).observe(signal)
  return within(environment.clock, PATIENCE_MS, signal, observe).then(
    ({ identity }) => identity,
    () => null,
  )
}
