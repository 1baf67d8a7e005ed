import type { Engine, RunInfo } from '../../core/engine.ts'
import { messageOf } from '../../core/errors.ts'
import type { Upgrade } from '../../ledger/releases.ts'
import type { Session } from '../session.ts'
import { outsideOf } from './environment.ts'
import { eventsOf } from './events.ts'

/** What was deployed or captured, as far as Backout was told, and where the journal has it: no clock tells their order. */
interface Change {
  readonly seq: number | null
  readonly at: string
  readonly what: string
}

interface Ended {
  readonly run: Pick<RunInfo, 'updatedAt'>
  /** The number of its last event. */
  readonly last: number
}

/** Says of a run what was deployed or captured after it, in words; null: nothing. */
export async function changes(session: Session, engine: Engine): Promise<(ended: Ended) => string | null> {
  try {
    const all = await changesIn(session, engine)
    return ({ run, last }) => {
      // What the journal lacks was imported, or its process died before it could write that down: its time is all there is.
      const since = all.find(({ seq, at }) => (seq === null ? at > run.updatedAt : seq > last))
      return since === undefined ? null : `${since.what}, after that run`
    }
  } catch (error) {
    return () => `nobody can tell what was deployed since: ${messageOf(error)}`
  }
}

/** Says of a run those of the upgrades that began after it had. */
export async function upgradesSince(
  { environment }: Session,
  engine: Engine,
  upgrades: readonly Upgrade[],
): Promise<(run: string) => Promise<Upgrade[]>> {
  const begun = await numbersOf(engine, outsideOf(environment.config.environment), 'upgrade-begun', 'id')
  return async run => {
    const [started] = await eventsOf(engine, run, 'run-started')
    const before = (await engine.get(run))?.createdAt ?? ''
    return upgrades.filter(u => {
      const seq = begun.get(u.id)
      return seq === undefined || started === undefined ? u.begunAt > before : seq > started.seq
    })
  }
}

async function numbersOf(engine: Engine, outside: string, type: string, key: string) {
  const events = await eventsOf(engine, outside, type)
  return new Map(events.map(({ seq, data }) => [(data as Record<string, string>)[key], seq]))
}

async function changesIn({ environment }: Session, engine: Engine): Promise<Change[]> {
  const { ledger, config } = environment
  const outside = outsideOf(config.environment)
  const begun = await numbersOf(engine, outside, 'upgrade-begun', 'id')
  const captured = await numbersOf(engine, outside, 'captured', 'capture')
  const captures = (await ledger.releases.list()).flatMap(r => r.captures).filter(c => c.purpose === 'release')
  return [
    ...(await ledger.releases.upgrades()).toReversed().map(
      (u): Change => ({
        seq: begun.get(u.id) ?? null,
        at: u.begunAt,
        what: `the upgrade to ${u.to} began at ${u.begunAt}`,
      }),
    ),
    ...captures.map(
      (c): Change => ({
        seq: captured.get(c.id) ?? null,
        at: c.at,
        what: `${c.release} was captured at ${c.at}`,
      }),
    ),
  ]
}
