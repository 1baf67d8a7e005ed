import { join } from 'node:path'
import { type Clock, iso } from '../core/clock.ts'
import { BackoutError } from '../core/errors.ts'
import type { GateResult } from '../core/gate.ts'
import { canonical, type Json, toJson } from '../core/json.ts'
import { byText } from '../core/order.ts'
import type { ReleaseState } from '../core/words.ts'
import { alone } from './alone.ts'
import { hex, namesIn, readJson, stamp, writeWhole } from './files.ts'
import { macWith } from './keys.ts'
import { type Mark, Marks } from './marks.ts'
import { person } from './person.ts'
import { folderOf, nameOf, refuseName } from './release-name.ts'
import { type About, isAltered, SealedFiles } from './sealed-file.ts'
import { wholest } from './whole.ts'

export { person } from './person.ts'

/** The pin of one component, as an adapter gave it. */
export interface PinRecord {
  readonly adapter: string
  readonly pinVersion: number
  readonly identity: string
  readonly summary: string
  readonly pin: Json
}

/** One capture of an environment: a pin for each component. */
export interface Capture {
  readonly format: 1
  readonly id: string
  readonly release: string
  readonly environment: string
  readonly purpose: 'release' | 'departure'
  readonly at: string
  /** Where it stands among the captures, where its time would put it before one that was made earlier: a clock was set back. */
  readonly order?: string
  readonly by: string
  /** Commit of the repository that backout.yaml lies in, where there is one. */
  readonly commit: string | null
  readonly components: Readonly<Record<string, PinRecord>>
  /** Components that could not be captured, and why. Left out: none. */
  readonly missing?: Readonly<Record<string, string>>
  readonly backups: readonly string[]
  /** What every gate measured at the capture, so that "as it was before" can be looked up later. */
  readonly baseline: readonly GateResult[]
}

export interface Release {
  readonly name: string
  readonly state: ReleaseState
  readonly marks: readonly Mark[]
  /** Newest first. */
  readonly captures: readonly Capture[]
  /** What of it is not as Backout wrote it, in words. Such a release is listed, and not gone back to. */
  readonly altered: readonly string[]
}

/** An upgrade as the deployment told it. */
export interface Upgrade {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly begunAt: string
  /** The capture of `from` that was made as it began. Left out by an earlier Backout. */
  readonly capture?: string
  readonly migratedAt: string | null
  /** Component -> the backup of it as its migrations left it. Left out: none was made, or an earlier Backout did not say. */
  readonly migratedBackups?: Readonly<Record<string, string>>
  readonly endedAt: string | null
  /** When a rollback took it back. */
  readonly undoneAt: string | null
}

/** Releases of one environment, their captures and marks, and the upgrades between them, as files of its folder. */
export class Releases {
  readonly #root: string
  readonly #environment: string
  readonly #clock: Clock
  readonly #chain: Uint8Array
  readonly #sealed: SealedFiles
  readonly #marks: Marks

  constructor(folder: string, environment: string, clock: Clock, chain: Uint8Array) {
    this.#root = folder
    this.#environment = environment
    this.#clock = clock
    this.#chain = chain
    this.#sealed = new SealedFiles(chain)
    this.#marks = new Marks(folder, environment, clock, this.#sealed)
  }

  /** Writes a capture down. It comes last: without it the release does not exist. */
  async add(capture: Omit<Capture, 'format' | 'id' | 'at' | 'by' | 'order'>): Promise<Capture> {
    refuseName(capture.release)
    return this.#alone(async () => {
      const now = this.#clock.now()
      const order = await this.#after(now)
      const whole: Capture = {
        ...capture,
        format: 1,
        id: `${stamp(order)}-${hex(3)}`,
        at: iso(now),
        ...(order === now ? {} : { order: iso(order) }),
        by: person(),
      }
      await this.#keep(whole)
      return whole
    })
  }

  /** One of another ledger stands where its time puts it. */
  keep(capture: Capture): Promise<void> {
    return this.#alone(() => this.#keep(capture))
  }

  async #keep(capture: Capture): Promise<void> {
    const { release, id } = capture
    const sealed = { mac: this.#mac(capture), capture }
    // Before the capture, so that a release without its marks is one that somebody took them from.
    await this.#marks.begin(release)
    const path = join(this.#folder(release), 'captures', `${id}.json`)
    await writeWhole(path, `${JSON.stringify(sealed, null, 2)}\n`)
  }

  /** Now, or right after the capture made last where a clock had it later than that. Names tell which to read: they begin with it. */
  async #after(now: number): Promise<number> {
    let last = now - 1
    for (const folder of await namesIn(join(this.#root, 'releases'))) {
      const dir = join(this.#root, 'releases', folder, 'captures')
      for (const file of await namesIn(dir)) {
        if (!file.endsWith('.json') || file < stamp(now)) continue
        const found = await this.#read(join(dir, file), folder).catch((error: unknown) => {
          if (!isAltered(error)) throw error
          return null
        })
        if (found !== null) last = Math.max(last, Date.parse(orderOf(found)))
      }
    }
    return last + 1
  }

  /** Says what a release is; what was said before is kept. */
  mark(release: string, state: ReleaseState, why: string | null): Promise<Mark> {
    return this.#alone(() => this.#marks.add(release, state, why))
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    return alone(this.#root, work)
  }

  /**
   * All releases, the one captured last first. Departures are left out unless asked for. What was altered of one does not
   * hide the others: it is said in `altered`.
   */
  async list(options: { departures?: boolean } = {}): Promise<Release[]> {
    const names = await namesIn(join(this.#root, 'releases'))
    const all = (await Promise.all(names.map(name => this.#look(name)))).flatMap(found => found?.release ?? [])
    const kept = all.filter(r => options.departures || r.captures[0]?.purpose !== 'departure')
    return kept.toSorted((a, b) => byText(newest(b), newest(a)))
  }

  /** Whether anything was captured under that name, altered or not. */
  async exists(name: string): Promise<boolean> {
    return (await this.#look(folderOf(name))) !== null
  }

  /** Null where it was never captured. Throws `release_altered`, `ledger_altered`, `ledger_unreadable`. */
  async find(name: string): Promise<Release | null> {
    const found = await this.#look(folderOf(name))
    if (found === null) return null
    const [problem] = found.problems
    if (problem !== undefined) throw problem
    return found.release
  }

  async #look(folder: string): Promise<{ release: Release; problems: readonly BackoutError[] } | null> {
    const dir = join(this.#root, 'releases', folder, 'captures')
    const files = (await namesIn(dir)).filter(file => file.endsWith('.json'))
    if (files.length === 0) return null
    const problems: BackoutError[] = []
    const noted = <T>(reading: Promise<T>): Promise<T | null> =>
      reading.catch((error: unknown) => {
        if (!isAltered(error)) throw error
        problems.push(error)
        return null
      })
    const read = await Promise.all(files.map(file => noted(this.#read(join(dir, file), folder))))
    const captures = read.filter(c => c !== null).toSorted((a, b) => byText(orderOf(b), orderOf(a)))
    const name = captures[0]?.release ?? nameOf(folder)
    const marks = await noted(this.#marks.of(name))
    const state = marks?.at(-1)?.state ?? 'captured'
    const altered = problems.map(p => p.message)
    return { release: { name, state, marks: marks ?? [], captures, altered }, problems }
  }

  /** Throws `release_unknown` with the nearest names. */
  async get(name: string): Promise<Release> {
    const release = await this.find(name)
    if (release !== null) return release
    const known = (await this.list()).map(r => r.name)
    throw new BackoutError({
      code: 'release_unknown',
      what: `The release ${name} was never captured`,
      cause: known.length > 0 ? `captured are: ${known.slice(0, 8).join(', ')}` : 'nothing was captured yet',
      next: 'backout releases; or name none, so that Backout offers what the components themselves remember',
      exit: 'blocked',
    })
  }

  /** The upgrade that put another release in this one's place, as the deployment told it; null where none stands. */
  async leftBy(release: string): Promise<Upgrade | null> {
    return (await this.upgrades()).findLast(u => u.from === release && u.undoneAt === null) ?? null
  }

  /**
   * The capture that counts: the newest that was finished before the upgrade that left the release and has all the components
   * that are asked for; where none has, the newest of those that have most.
   */
  async counting(release: Release, components: readonly string[]): Promise<Capture> {
    const left = await this.leftBy(release.name)
    const before = left === null ? [] : madeBefore(release.captures, left)
    const capture = wholest(before.length > 0 ? before : release.captures, components)
    if (capture === undefined)
      throw new BackoutError({ code: 'release_unknown', what: `${release.name} has no capture` })
    return capture
  }

  /** Throws `ledger_altered`, `ledger_unreadable`. */
  async upgrades(): Promise<Upgrade[]> {
    return (await this.#sealed.read<Upgrade[]>(this.#upgradesPath, this.#aboutUpgrades)) ?? []
  }

  /** Writes an upgrade down, or what is new of one that is known: a time that was told stays. */
  async keepUpgrade(upgrade: Upgrade): Promise<void> {
    await this.#alone(async () => {
      const all = await this.upgrades()
      const known = all.find(u => u.id === upgrade.id)
      const told = Object.fromEntries(Object.entries(upgrade).filter(([, value]) => value !== null))
      const whole = { ...upgrade, ...known, ...told }
      await this.#writeUpgrades(known === undefined ? [...all, whole] : all.map(u => (u === known ? whole : u)))
    })
  }

  /** Says of every upgrade whether it stands: one that does not is undone now, one that stands again is not undone. */
  async keepStanding(standing: ReadonlySet<string>): Promise<void> {
    await this.#alone(async () => {
      const all = await this.upgrades()
      const wrong = (u: Upgrade) => standing.has(u.id) !== (u.undoneAt === null)
      if (!all.some(wrong)) return
      const now = iso(this.#clock.now())
      await this.#writeUpgrades(all.map(u => (wrong(u) ? { ...u, undoneAt: standing.has(u.id) ? null : now } : u)))
    })
  }

  #writeUpgrades(all: readonly Upgrade[]): Promise<void> {
    return this.#sealed.write(this.#upgradesPath, this.#aboutUpgrades, toJson(all))
  }

  get #upgradesPath(): string {
    return join(this.#root, 'upgrades.json')
  }

  get #aboutUpgrades(): About {
    return ['upgrades', this.#environment, '']
  }

  async #read(path: string, folder: string): Promise<Capture> {
    const sealed = await readJson<{ mac: string; capture: Capture }>(path)
    const intact = sealed !== null && sealed.mac === this.#mac(sealed.capture)
    // One that was moved is another release's: as good as altered.
    if (intact && folderOf(sealed.capture.release) === folder) return sealed.capture
    throw new BackoutError({
      code: 'release_altered',
      what: `${path} was changed since Backout wrote it, so the release cannot be trusted`,
      next: 'put it back from a copy of the home, or delete it and capture again',
      exit: 'tampered',
    })
  }

  #mac(capture: Capture): string {
    return macWith(this.#chain, Buffer.from(canonical(capture)))
  }

  #folder(release: string): string {
    return join(this.#root, 'releases', folderOf(release))
  }
}

function newest({ captures: [capture] }: Release): string {
  return capture === undefined ? '' : orderOf(capture)
}

/** Sorts captures in the order in which they were made, whatever the clocks said. */
export function orderOf({ order, at }: Pick<Capture, 'order' | 'at'>): string {
  return order ?? at
}

/** Those captures of a release that were made before an upgrade left it. */
export function madeBefore(captures: readonly Capture[], { capture: id, begunAt }: Upgrade): Capture[] {
  const own = captures.find(c => c.id === id)
  return captures.filter(c => (own === undefined ? c.at <= begunAt : orderOf(c) <= orderOf(own)))
}
