import type { Remembered } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import type { Capture, PinRecord, Release } from '../../ledger/releases.ts'
import type { Environment } from './environment.ts'
import { type Standing, standingOf } from './standing.ts'
import type { Targets } from './targets.ts'

export interface Destination {
  readonly release: Release
  readonly capture: Capture
  /** Why it is this one, where nobody named it and a run went there already; else null. */
  readonly why: string | null
}

/** The release to go back to: the one that is named, or else the default. */
export async function chooseRelease(
  environment: Environment,
  targets: Targets,
  to: string | undefined,
): Promise<Destination> {
  const { releases } = environment.ledger
  const components = Object.keys(environment.config.components)
  if (to !== undefined) {
    const release = (await releases.find(to)) ?? (await adopt(environment, targets, to)) ?? (await releases.get(to))
    return { release, capture: await releases.counting(release, components), why: null }
  }
  const all = await releases.list()
  const standing = await standingOf(environment)
  const release = defaultOf(all, standing)
  if (release !== undefined) {
    const why = release.name === wanted(standing) ? stays(all, standing, release.name) : null
    return { release, capture: await releases.counting(release, components), why }
  }
  throw all.length > 0 ? noneKnownGood(all, standing) : await neverCaptured(targets, components)
}

/**
 * Where a run went back to a release, or ended on its way there, and nothing was deployed since, that one: whoever says it
 * twice does not put the bad release back. Otherwise the newest one known to be good that is neither the one that is left nor
 * was taken back; never simply the previous one.
 */
export function defaultOf(all: readonly Release[], standing: Standing): Release | undefined {
  const { release, takenBack } = standing
  const usable = all.filter(r => r.state !== 'bad' && r.altered.length === 0)
  const there = usable.find(r => r.name === wanted(standing))
  return there ?? usable.find(r => r.state === 'known-good' && r.name !== release && !takenBack.has(r.name))
}

function wanted({ boundFor, wentTo }: Standing): string | null {
  return boundFor ?? wentTo
}

function stays(all: readonly Release[], { boundFor, takenBack }: Standing, name: string): string {
  const others = all.filter(r => r.state === 'known-good' && r.name !== name)
  const good = others.map(r => `${r.name}${takenBack.has(r.name) ? ' (taken back by a run)' : ''}`)
  const known = good.length === 0 ? '' : ` (known good: ${good.slice(0, 8).join(', ')})`
  const how = boundFor === name ? 'was on its way' : 'went back'
  return `A run ${how} to ${name}, and Backout was told of no deployment since. Another release has to be named: --to RELEASE${known}`
}

function noneKnownGood(all: readonly Release[], { release: left, takenBack }: Standing): BackoutError {
  const said = (r: Release) => (r.altered.length > 0 ? 'altered' : r.state)
  const more = (r: Release) =>
    r.name === left ? ', the one that is left' : takenBack.has(r.name) ? ', taken back by a run' : ''
  const listed = all.slice(0, 8).map(r => `${r.name} (${said(r)}${more(r)})`)
  return new BackoutError({
    code: 'no_known_good',
    what: 'No release to go back to is known to be good, and Backout does not guess which one is',
    cause: `captured are: ${listed.join(', ')}`,
    next: 'name one: --to RELEASE; or say that one is good: backout release mark RELEASE known-good',
    exit: 'blocked',
  })
}

/** What the components themselves remember, by the name of the release, newest first. */
async function rememberedBy(targets: Targets, components: readonly string[]) {
  const out = new Map<string, Map<string, Remembered<Json>>>()
  for (const id of components) {
    const target = await targets.get(id)
    for (const found of (await target.remembered?.(new AbortController().signal)) ?? []) {
      const known = out.get(found.release) ?? new Map<string, Remembered<Json>>()
      out.set(found.release, known.set(id, found))
    }
  }
  return out
}

async function neverCaptured(targets: Targets, components: readonly string[]): Promise<BackoutError> {
  const found = await rememberedBy(targets, components)
  const lines = [...found].slice(0, 8).map(([name, by]) => {
    const missing = components.filter(id => !by.has(id))
    const rest = missing.length === 0 ? '' : `; nothing of ${missing.join(', ')}`
    return `${name}: remembered by ${[...by.keys()].join(', ')}${rest}`
  })
  return new BackoutError({
    code: 'never_captured',
    what: 'No release was ever captured, so nothing is proven to be a way back',
    cause: lines.length === 0 ? 'the components remember no earlier release either' : lines.join('\n'),
    next:
      lines.length === 0
        ? 'backout capture RELEASE, before the next upgrade'
        : 'backout plan --to RELEASE, unproven as it is; and capture before the next upgrade',
    exit: 'blocked',
  })
}

/** Makes a release of what the components remember under that name. It is marked as what it is: unproven. */
async function adopt(environment: Environment, targets: Targets, name: string): Promise<Release | null> {
  const { config, ledger } = environment
  const by = (await rememberedBy(targets, Object.keys(config.components))).get(name)
  if (by === undefined) return null
  const components: Record<string, PinRecord> = {}
  for (const [id, { pin }] of by) {
    const adapter = config.components[id]?.adapter
    if (adapter === undefined) continue
    const { identity } = await (await targets.get(id)).observe(new AbortController().signal)
    components[id] = {
      adapter: adapter.kind,
      pinVersion: adapter.pinVersion,
      identity,
      summary: `${name}, remembered`,
      pin,
    }
  }
  const missing = Object.keys(config.components).filter(id => components[id] === undefined)
  await ledger.releases.add({
    release: name,
    environment: config.environment,
    purpose: 'release',
    commit: null,
    components,
    ...(missing.length === 0
      ? {}
      : { missing: Object.fromEntries(missing.map(id => [id, 'it remembers nothing of it'])) }),
    backups: [],
    baseline: [],
  })
  await ledger.releases.mark(
    name,
    'captured',
    `never captured: put together from what ${[...by.keys()].join(', ')} remember; unproven`,
  )
  return ledger.releases.get(name)
}
