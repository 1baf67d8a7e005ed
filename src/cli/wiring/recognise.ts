import type { Observation } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Capture, Release } from '../../ledger/releases.ts'
import type { Environment } from './environment.ts'
import { observeAll } from './observe.ts'
import type { Targets } from './targets.ts'

/**
 * What runs is not captured under a name that was only guessed where it looks like another release: by the components
 * that look as they did at each release's newest capture. Throws `release_unlike`.
 */
export async function refuseOther(environment: Environment, targets: Targets, name: string): Promise<void> {
  const all = await environment.ledger.releases.list()
  const mine = all.find(r => r.name === name)
  const others = all.filter(r => r !== mine && r.altered.length === 0)
  if (mine === undefined || others.length === 0) return
  const { observations } = await observeAll(environment, targets, new AbortController().signal)
  const own = fitting(mine, observations)
  const best = others
    .map(release => ({ name: release.name, fits: fitting(release, observations) }))
    .reduce((a, b) => (b.fits.length > a.fits.length ? b : a))
  if (best.fits.length <= own.length) return
  throw new BackoutError({
    code: 'release_unlike',
    what: `What runs should be ${name}, and looks more like ${best.name}`,
    cause: `as ${best.name} was captured: ${best.fits.join(', ')}; as ${name} was: ${own.join(', ') || 'nothing'}`,
    next: `say what it is that is left behind: --from ${best.name}, or --from ${name}`,
    exit: 'blocked',
  })
}

/** The components that look as they did when the release was captured last. */
function fitting({ captures: [newest] }: Release, observations: ReadonlyMap<string, Observation>): string[] {
  return [...observations].filter(([id, seen]) => looksLike(newest, id, seen)).map(([id]) => id)
}

function looksLike(capture: Capture | undefined, id: string, { identity, summary }: Observation): boolean {
  const record = capture?.components[id]
  return record !== undefined && record.identity === identity && record.summary === summary
}
