import { BackoutError } from '../core/errors.ts'
import { leftBehind, readRun } from './left-behind.ts'
import { findRun, type Session } from './session.ts'

/**
 * Captures. Where that is refused, and a run left targets that are not on the release, it says which: a fleet stands on two
 * releases then, though nobody deployed two.
 */
export async function sayingWhoIsLeft<T>(session: Session, capture: () => Promise<T>): Promise<T> {
  try {
    return await capture()
  } catch (error) {
    if (!(error instanceof BackoutError) || error.exit !== 'blocked') throw error
    throw (await withWhoIsLeft(session, error)) ?? error
  }
}

async function withWhoIsLeft(session: Session, error: BackoutError): Promise<BackoutError | null> {
  const engine = await session.environment.engine({ worker: false })
  const newest = await findRun(engine, session.environment, undefined).catch(() => null)
  if (newest === null) return null
  const left = await leftBehind(session, engine, await readRun(engine, newest))
  // What was deployed or captured since says nothing of what belongs there.
  const fenced = left.fenced.filter(({ since }) => since === null)
  const [first] = fenced
  if (first === undefined) return null
  const steps = fenced.map(({ step }) => step.id).join(', ')
  const back = `bring them to it first: backout run --to ${first.release}; or take them out of the settings until they are mended`
  return new BackoutError({
    code: error.code,
    what: error.message,
    cause: [
      ...(error.why === undefined ? [] : [error.why]),
      `not on ${first.release} since run ${first.run}: ${steps}`,
    ].join('\n'),
    next: `${back} (\`backout status\` looks at them)`,
    exit: error.exit,
    from: error,
  })
}
