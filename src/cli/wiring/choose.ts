import type { Remembered } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import type { Capture, PinRecord, Release } from '../../ledger/releases.ts'
import type { Environment } from './environment.ts'
import { current } from './standing.ts'
import type { Targets } from './targets.ts'

export interface Destination {
  readonly release: Release
  readonly capture: Capture
}

/**
 * The release to go back to. Without a name: the newest one known to be good that is not the one that is left, never
 * simply the previous one.
 */
export async function chooseRelease(
  environment: Environment,
  targets: Targets,
  to: string | undefined,
): Promise<Destination> {
  const { releases } = environment.ledger
  if (to !== undefined) {
    const release = (await releases.find(to)) ?? (await adopt(environment, targets, to)) ?? (await releases.get(to))
    return { release, capture: await releases.counting(release) }
  }
  const all = await releases.list()
  const left = await current(environment)
  const good = all.find(r => r.state === 'known-good' && r.name !== left && r.altered.length === 0)
  if (good !== undefined) return { release: good, capture: await releases.counting(good) }
  throw all.length > 0
    ? noneKnownGood(all, left)
    : await neverCaptured(targets, Object.keys(environment.config.components))
}

function noneKnownGood(all: readonly Release[], left: string | null): BackoutError {
  const said = (r: Release) => (r.altered.length > 0 ? 'altered' : r.state)
  const listed = all.slice(0, 8).map(r => `${r.name} (${said(r)}${r.name === left ? ', the one that is left' : ''})`)
  return new BackoutError({
    code: 'no_known_good',
    what: 'No release is known to be good, and Backout does not guess which one is',
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
  await ledger.releases.add({
    release: name,
    environment: config.environment,
    purpose: 'release',
    commit: null,
    components,
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
