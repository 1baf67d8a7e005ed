import { createHash } from 'node:crypto'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { type Clock, iso } from '../core/clock.ts'
import { BackoutError } from '../core/errors.ts'
import type { GateResult } from '../core/gate.ts'
import { canonical, type Json } from '../core/json.ts'
import type { ReleaseState } from '../core/words.ts'
import { hex, namesIn, readJson, stamp, writeNew, writeWhole } from './files.ts'
import { macWith } from './keys.ts'

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
  readonly by: string
  /** Commit of the repository that backout.yaml lies in, where there is one. */
  readonly commit: string | null
  readonly components: Readonly<Record<string, PinRecord>>
  readonly backups: readonly string[]
  /** What every gate measured at the capture, so that "as it was before" can be looked up later. */
  readonly baseline: readonly GateResult[]
}

export interface Mark {
  readonly state: ReleaseState
  readonly at: string
  readonly by: string
  readonly why: string | null
}

export interface Release {
  readonly name: string
  readonly state: ReleaseState
  readonly marks: readonly Mark[]
  /** Newest first. */
  readonly captures: readonly Capture[]
}

/** An upgrade as the deployment told it. */
export interface Upgrade {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly begunAt: string
  readonly migratedAt: string | null
  readonly endedAt: string | null
  /** When a rollback took it back. */
  readonly undoneAt: string | null
}

/** No path: `.` and `..` would lead out of the folder. Nothing that a terminal takes for a command. */
const RELEASE_NAME = /^(?!\.{1,2}$)(?!.*\s$)[^\s/\\\p{Cc}\p{Cs}][^\p{Cc}\p{Cs}]{0,127}$/u

/** Releases, their captures and marks, and the upgrades between them, as files of the home. */
export class Releases {
  readonly #home: string
  readonly #clock: Clock
  readonly #chain: Uint8Array

  constructor(home: string, clock: Clock, chain: Uint8Array) {
    this.#home = home
    this.#clock = clock
    this.#chain = chain
  }

  /** Writes a capture down. It comes last: without it the release does not exist. */
  async add(capture: Omit<Capture, 'format' | 'id' | 'at' | 'by'> & { id?: string }): Promise<Capture> {
    if (!RELEASE_NAME.test(capture.release)) {
      const what = `"${capture.release}" cannot be the name of a release`
      throw new BackoutError({ code: 'release_name', what, next: 'use a name such as v1.2.9', exit: 'usage' })
    }
    const now = this.#clock.now()
    const whole: Capture = {
      ...capture,
      format: 1,
      id: capture.id ?? `${stamp(now)}-${hex(3)}`,
      at: iso(now),
      by: person(),
    }
    await this.keep(whole)
    return whole
  }

  async keep(capture: Capture): Promise<void> {
    const folder = this.#folder(capture.release)
    const sealed = { mac: this.#mac(capture), capture }
    await writeWhole(join(folder, 'captures', `${capture.id}.json`), `${JSON.stringify(sealed, null, 2)}\n`)
    const marks = await readJson<Mark[]>(join(folder, 'marks.json'))
    // Only where there is none even now: a mark that somebody makes at the same moment is worth more.
    if (marks === null) await writeNew(join(folder, 'marks.json'), textOf([this.#markNow('captured', null)]))
  }

  #markNow(state: ReleaseState, why: string | null): Mark {
    return { state, at: iso(this.#clock.now()), by: person(), why }
  }

  async mark(release: string, state: ReleaseState, why: string | null): Promise<Mark> {
    const path = join(this.#folder(release), 'marks.json')
    const mark = this.#markNow(state, why)
    await writeWhole(path, textOf([...((await readJson<Mark[]>(path)) ?? []), mark]))
    return mark
  }

  /** All releases, the one captured last first. Departures are left out unless asked for. */
  async list(options: { departures?: boolean } = {}): Promise<Release[]> {
    const names = await namesIn(join(this.#home, 'releases'))
    const all = await Promise.all(names.map(name => this.#at(name)))
    const kept = all.filter(r => r !== null && (options.departures || r.captures[0]?.purpose !== 'departure'))
    return (kept as Release[]).toSorted((a, b) => newest(b).localeCompare(newest(a)))
  }

  find(name: string): Promise<Release | null> {
    return this.#at(folderOf(name))
  }

  async #at(name: string): Promise<Release | null> {
    const folder = join(this.#home, 'releases', name)
    const files = await namesIn(join(folder, 'captures'))
    const captures = await Promise.all(
      files.filter(f => f.endsWith('.json')).map(f => this.#read(join(folder, 'captures', f), name)),
    )
    const [first] = captures
    if (first === undefined) return null
    const marks = (await readJson<Mark[]>(join(folder, 'marks.json'))) ?? []
    const sorted = captures.toSorted((a, b) => b.at.localeCompare(a.at))
    return { name: first.release, state: marks.at(-1)?.state ?? 'captured', marks, captures: sorted }
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
      next: 'backout releases; or without --to, so that Backout offers what the components themselves remember',
      exit: 'blocked',
    })
  }

  /** The capture that counts: the newest that was finished before the upgrade that left the release. */
  async counting(release: Release): Promise<Capture> {
    const left = (await this.upgrades()).findLast(u => u.from === release.name && u.undoneAt === null)
    const before = left === undefined ? undefined : release.captures.find(c => c.at <= left.begunAt)
    const capture = before ?? release.captures[0]
    if (capture === undefined)
      throw new BackoutError({ code: 'release_unknown', what: `${release.name} has no capture` })
    return capture
  }

  async upgrades(): Promise<Upgrade[]> {
    return (await readJson<Upgrade[]>(join(this.#home, 'upgrades.json'))) ?? []
  }

  async keepUpgrade(upgrade: Upgrade): Promise<void> {
    const others = (await this.upgrades()).filter(u => u.id !== upgrade.id)
    await writeWhole(join(this.#home, 'upgrades.json'), `${JSON.stringify([...others, upgrade], null, 2)}\n`)
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
    return join(this.#home, 'releases', folderOf(release))
  }
}

/** Names in file systems end at 255 bytes: a longer one goes by its hash, and its captures say what it is. */
function folderOf(release: string): string {
  const name = encodeURIComponent(release)
  return name.length <= 200 ? name : `%-${createHash('sha256').update(release).digest('hex').slice(0, 40)}`
}

function textOf(marks: readonly Mark[]): string {
  return `${JSON.stringify(marks, null, 2)}\n`
}

function newest(release: Release): string {
  return release.captures[0]?.at ?? ''
}

/** Who types: the name that audits show. */
export function person(): string {
  const said = process.env['BACKOUT_USER']
  if (said !== undefined && said !== '') return said
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}
