import type { Engine, Event, RunInfo } from '../../core/engine.ts'
import type { RunInput } from '../../core/executor/world.ts'
import type { Upgrade } from '../../ledger/releases.ts'
import { type Environment, outsideOf } from './environment.ts'
import { eventsOf, LOOK_BACK } from './events.ts'

/** Where an environment stands, as far as its deployments told and its runs went. */
export interface Standing {
  /** The release that it is on; null where no deployment ever told. */
  readonly release: string | null
  /** Ids of the upgrades that led there and were not taken back, in their order. */
  readonly upgrades: readonly string[]
}

const NOWHERE: Standing = { release: null, upgrades: [] }

/** What moved the environment, or began to: in the order of the journal. */
type Move =
  | { readonly is: 'upgraded'; readonly seq: number; readonly upgrade: Upgrade }
  | { readonly is: 'departed'; readonly seq: number; readonly run: string }
  | { readonly is: 'arrived'; readonly seq: number; readonly release: string }

/**
 * Told from the journal, never from which upgrade was told last: a rollback has come to its release once it only watches,
 * and a revert brings back what its run departed from, with the upgrades that had led there.
 */
export async function standingOf(environment: Environment): Promise<Standing> {
  const told = await environment.ledger.releases.upgrades()
  // Runs alone do not tell: what was deployed after them would go unseen.
  if (told.length === 0) return NOWHERE
  const engine = await environment.engine({ worker: false })
  const name = environment.config.environment
  const runs = (await engine.list({ exclusive: name })).slice(-LOOK_BACK)
  const moves = (await Promise.all(runs.map(run => movesOf(engine, run)))).flat()
  const begun = await eventsOf(engine, outsideOf(name), 'upgrade-begun')
  return replay([...moves, ...upgradesIn(told, begun)])
}

/** The release that the environment is on; null where no deployment ever told. */
export async function current(environment: Environment): Promise<string | null> {
  return (await standingOf(environment)).release
}

/** Notes in the ledger which upgrades were taken back, and which stand (again). Doing it twice is harmless. */
export async function noteUndone(environment: Environment): Promise<void> {
  const { upgrades } = await standingOf(environment)
  await environment.ledger.releases.keepStanding(new Set(upgrades))
}

async function movesOf(engine: Engine, run: RunInfo): Promise<Move[]> {
  const [started] = await eventsOf(engine, run.id, 'run-started')
  const departed: Move[] = started === undefined ? [] : [{ is: 'departed', seq: started.seq, run: run.id }]
  const seq = await arrivalOf(engine, run)
  if (seq === null) return departed
  return [...departed, { is: 'arrived', seq, release: (run.input as unknown as RunInput).plan.to.release }]
}

/** Where the journal has it that a run came to its release: as its watch began, or else as it succeeded. */
async function arrivalOf(engine: Engine, run: RunInfo): Promise<number | null> {
  const phases = await eventsOf(engine, run.id, 'phase-begun')
  const watch = phases.findLast(({ data }) => (data as { phase?: string }).phase === 'watch')
  if (watch !== undefined) return watch.seq
  if (run.state !== 'succeeded') return null
  return (await eventsOf(engine, run.id, 'run-ended')).at(-1)?.seq ?? null
}

/** One that the journal lacks, because its process died between the two, stands where its time puts it. */
function upgradesIn(told: readonly Upgrade[], begun: readonly Event[]): Move[] {
  return told.map(upgrade => {
    const event = begun.find(({ data }) => (data as { id?: string }).id === upgrade.id)
    const before = begun.findLast(({ at }) => at <= upgrade.begunAt)?.seq ?? 0
    return { is: 'upgraded', seq: event?.seq ?? before + 0.5, upgrade }
  })
}

function replay(moves: readonly Move[]): Standing {
  let now = NOWHERE
  const before = new Map<string, Standing>()
  const on = new Map<string, Standing>()
  const from = new Map<string, string>()
  for (const move of moves.toSorted((a, b) => a.seq - b.seq)) {
    if (move.is === 'departed') before.set(`departure-${move.run}`, now)
    else if (move.is === 'upgraded') {
      const { id, to } = move.upgrade
      from.set(id, move.upgrade.from)
      now = { release: to, upgrades: [...now.upgrades, id] }
      on.set(to, now)
    } else now = before.get(move.release) ?? on.get(move.release) ?? back(now, move.release, from)
  }
  return now
}

/** To a release that no upgrade led to: all that was built on it is taken back. */
function back({ upgrades }: Standing, release: string, from: ReadonlyMap<string, string>): Standing {
  const first = upgrades.findIndex(id => from.get(id) === release)
  return { release, upgrades: first < 0 ? upgrades : upgrades.slice(0, first) }
}
