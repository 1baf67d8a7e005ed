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
  /** The release that a run went back to, where nothing was deployed or captured under another name since; else null. */
  readonly wentTo: string | null
  /** Releases that runs took back, and that nobody has deployed, gone to or called known-good since. */
  readonly takenBack: ReadonlySet<string>
}

const NOWHERE: Standing = { release: null, upgrades: [], wentTo: null, takenBack: new Set() }

/** What moved the environment, or began to: in the order of the journal. */
type Move =
  | { readonly is: 'upgraded'; readonly seq: number; readonly upgrade: Upgrade }
  | { readonly is: 'departed'; readonly seq: number; readonly run: string }
  | { readonly is: 'arrived' | 'captured' | 'good'; readonly seq: number; readonly release: string }

/**
 * Told from the journal, never from which upgrade was told last: a rollback has come to its release once it only watches,
 * and a revert brings back what its run departed from, with the upgrades that had led there.
 */
export async function standingOf(environment: Environment): Promise<Standing> {
  const told = await environment.ledger.releases.upgrades()
  const engine = await environment.engine({ worker: false })
  const name = environment.config.environment
  const runs = (await engine.list({ exclusive: name })).slice(-LOOK_BACK)
  const moves = (await Promise.all(runs.map(run => movesOf(engine, run)))).flat()
  const said = await Promise.all(
    (['upgrade-begun', 'captured', 'marked'] as const).map(type => eventsOf(engine, outsideOf(name), type)),
  )
  const [begun = [], captured = [], marked = []] = said
  const standing = replay([...moves, ...upgradesIn(told, begun), ...saidIn(captured, marked)])
  // Runs alone do not tell what runs: what was deployed after them would go unseen.
  return told.length > 0 ? standing : { ...NOWHERE, wentTo: standing.wentTo }
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

function saidIn(captured: readonly Event[], marked: readonly Event[]): Move[] {
  const of = ({ data }: Event) => data as { release: string; state?: string }
  const good = marked.filter(event => of(event).state === 'known-good')
  return [
    ...captured.map(event => ({ is: 'captured', seq: event.seq, release: of(event).release }) as const),
    ...good.map(event => ({ is: 'good', seq: event.seq, release: of(event).release }) as const),
  ]
}

function replay(moves: readonly Move[]): Standing {
  let now = NOWHERE
  const before = new Map<string, Standing>()
  const on = new Map<string, readonly string[]>()
  const from = new Map<string, string>()
  for (const move of moves.toSorted((a, b) => a.seq - b.seq)) {
    if (move.is === 'departed') before.set(`departure-${move.run}`, now)
    else if (move.is === 'upgraded') {
      const { id, to } = move.upgrade
      from.set(id, move.upgrade.from)
      const takenBack = without(now.takenBack, to)
      now = { release: to, upgrades: [...now.upgrades, id], wentTo: null, takenBack }
      on.set(to, now.upgrades)
    } else if (move.is === 'captured') now = now.wentTo === move.release ? now : { ...now, wentTo: null }
    else if (move.is === 'good') now = { ...now, takenBack: without(now.takenBack, move.release) }
    else
      now =
        before.get(move.release) ?? arrived(now, move.release, on.get(move.release) ?? back(now, move.release, from))
  }
  return now
}

/** A release that was taken back and is gone to again is gone forward to, as a deployment does: nothing is taken back by it. */
function arrived({ release: left, takenBack }: Standing, release: string, upgrades: readonly string[]): Standing {
  const forward = takenBack.has(release)
  const rest = without(takenBack, release)
  if (!forward && left !== null && left !== release) rest.add(left)
  return { release, upgrades, wentTo: forward ? null : release, takenBack: rest }
}

function without(all: ReadonlySet<string>, one: string): Set<string> {
  return new Set([...all].filter(name => name !== one))
}

/** To a release that no upgrade led to: all that was built on it is taken back. */
function back({ upgrades }: Standing, release: string, from: ReadonlyMap<string, string>): readonly string[] {
  const first = upgrades.findIndex(id => from.get(id) === release)
  return first < 0 ? upgrades : upgrades.slice(0, first)
}
