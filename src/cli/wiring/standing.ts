import type { Engine, Event, RunInfo } from '../../core/engine.ts'
import type { RunInput } from '../../core/executor/world.ts'
import type { Phase } from '../../core/words.ts'
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
  /** The same of a run that ended on its way there, whatever was before it. */
  readonly boundFor: string | null
  /** Releases that runs took back or began to, and that nobody has deployed, gone to or called known-good since. */
  readonly takenBack: ReadonlySet<string>
}

/** `seen`: the release that was last captured or gone to, which is what runs where no deployment tells. */
interface Place extends Standing {
  readonly seen: string | null
}

const NOWHERE: Place = { release: null, upgrades: [], wentTo: null, boundFor: null, takenBack: new Set(), seen: null }

/** Phases by which the release that runs is left. */
const LEAVING: ReadonlySet<string> = new Set<Phase>(['data', 'config', 'code', 'flags'])
/** What comes before the first one that users notice. */
const AHEAD: ReadonlySet<string> = new Set<Phase>(['announce', 'preflight', 'backup'])

/** What moved the environment, or began to: in the order of the journal. */
type Move =
  | { readonly is: 'upgraded'; readonly seq: number; readonly upgrade: Upgrade }
  | { readonly is: 'departed'; readonly seq: number; readonly run: string }
  | { readonly is: 'arrived' | 'captured' | 'good'; readonly seq: number; readonly release: string }
  /** `left`: what ran before was left, in part at least. */
  | { readonly is: 'bound'; readonly seq: number; readonly release: string; readonly left: boolean }

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
  const standing = replay([...moves, ...upgradesIn(told, begun), ...saidIn(captured, marked)], told.length > 0)
  // Runs alone do not tell what runs: what was deployed after them would go unseen.
  return told.length > 0 ? standing : { ...standing, release: null, upgrades: [] }
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
  return [...departed, ...(await wayOf(engine, run))]
}

/** Where the journal has it that a run came to its release (as its watch began, or else as it succeeded), or went towards it. */
async function wayOf(engine: Engine, run: RunInfo): Promise<Move[]> {
  const { release } = (run.input as unknown as RunInput).plan.to
  const phases = (await eventsOf(engine, run.id, 'phase-begun')).map(({ seq, data }) => ({
    seq,
    phase: (data as { phase?: string }).phase ?? '',
  }))
  const watch = phases.findLast(({ phase }) => phase === 'watch')
  if (watch !== undefined) return [{ is: 'arrived', seq: watch.seq, release }]
  const begun = phases.find(({ phase }) => !AHEAD.has(phase))
  if (run.state !== 'succeeded') {
    const left = phases.some(({ phase }) => LEAVING.has(phase))
    return begun === undefined ? [] : [{ is: 'bound', seq: begun.seq, release, left }]
  }
  const end = (await eventsOf(engine, run.id, 'run-ended')).at(-1)
  return end === undefined ? [] : [{ is: 'arrived', seq: end.seq, release }]
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

function replay(moves: readonly Move[], told: boolean): Place {
  let now = NOWHERE
  const before = new Map<string, Place>()
  const on = new Map<string, readonly string[]>()
  const from = new Map<string, string>()
  for (const move of moves.toSorted((a, b) => a.seq - b.seq)) {
    if (move.is === 'departed') before.set(`departure-${move.run}`, now)
    else if (move.is === 'upgraded') {
      const { id, to } = move.upgrade
      from.set(id, move.upgrade.from)
      const takenBack = without(now.takenBack, to)
      now = { ...NOWHERE, release: to, upgrades: [...now.upgrades, id], takenBack, seen: to }
      on.set(to, now.upgrades)
    } else if (move.is === 'captured') now = captured(now, move.release, told)
    else if (move.is === 'good') now = { ...now, takenBack: without(now.takenBack, move.release) }
    else if (move.is === 'bound') now = before.has(move.release) ? now : bound(now, move.release, move.left)
    else
      now =
        before.get(move.release) ?? arrived(now, move.release, on.get(move.release) ?? back(now, move.release, from))
  }
  return now
}

function captured(now: Place, release: string, told: boolean): Place {
  if (now.wentTo === release || now.boundFor === release) return { ...now, seen: release }
  // Where no deployment tells, this one does: it was put there again.
  const takenBack = told ? now.takenBack : without(now.takenBack, release)
  return { ...now, wentTo: null, boundFor: null, takenBack, seen: release }
}

/** A release that was taken back and is gone to again is gone forward to, as a deployment does: nothing is taken back by it. */
function arrived(now: Place, release: string, upgrades: readonly string[]): Place {
  const forward = now.takenBack.has(release)
  const takenBack = forward ? without(now.takenBack, release) : leaving(now, release)
  return { release, upgrades, wentTo: forward ? null : release, boundFor: null, takenBack, seen: release }
}

/** It ended on the way. Who wanted back wants no other release, as long as nothing is deployed. */
function bound(now: Place, release: string, left: boolean): Place {
  if (now.takenBack.has(release)) return now
  return { ...now, wentTo: null, boundFor: release, takenBack: left ? leaving(now, release) : now.takenBack }
}

function leaving({ release, seen, takenBack }: Place, to: string): Set<string> {
  const left = release ?? seen
  return new Set([...without(takenBack, to), ...(left === null || left === to ? [] : [left])])
}

function without(all: ReadonlySet<string>, one: string): Set<string> {
  return new Set([...all].filter(name => name !== one))
}

/** To a release that no upgrade led to: all that was built on it is taken back. */
function back({ upgrades }: Standing, release: string, from: ReadonlyMap<string, string>): readonly string[] {
  const first = upgrades.findIndex(id => from.get(id) === release)
  return first < 0 ? upgrades : upgrades.slice(0, first)
}
