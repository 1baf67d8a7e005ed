import { BackoutError, EXIT } from '../../core/errors.ts'
import type { Without } from '../../core/executor/world.ts'
import { hashOf, toJson } from '../../core/json.ts'
import type { Mark } from '../../ledger/marks.ts'
import { refuseOwnName } from '../../ledger/release-name.ts'
import type { Capture, Release } from '../../ledger/releases.ts'
import { sayingWhoIsLeft } from '../left-fenced.ts'
import { refuseHalfway } from '../open-runs.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { bytes, table } from '../text.ts'
import { captureAll } from '../wiring/capture.ts'
import { unlike } from '../wiring/recognise.ts'

export function capture(globals: Globals, options: { knownGood: boolean }, release = ''): Promise<number> {
  return withSession(globals, async session => {
    refuseOwnName(release)
    const made = await captureRelease(session, release)
    if (options.knownGood) await markRelease(session, release, 'known-good', 'said so at its capture')
    session.out.data(made)
    return EXIT.ok
  })
}

/** Captures, journals and shows. `without`: told of what cannot be captured, of a release that is no way back anyhow. */
export async function captureRelease(session: Session, release: string, without?: Without): Promise<Capture> {
  const { environment, targets, out } = session
  const before = await environment.ledger.releases.find(release)
  if (without === undefined) refuseBad(before)
  const engine = await environment.engine({ worker: false })
  await refuseHalfway(engine, session)
  const { signal } = new AbortController()
  const made = await sayingWhoIsLeft(session, () =>
    captureAll(environment, targets, { release, purpose: 'release', signal, without }),
  )
  const { id, by, components } = made
  await engine.record(
    'captured',
    toJson({ release, capture: id, by, sha256: hashOf(made), components: Object.keys(components) }),
  )
  out.line(`${release} is captured (${made.id})`)
  const rows = Object.entries(components).map(([name, c]) => [name, c.adapter, c.summary])
  for (const line of table(rows, out.tableWidth, '  ')) out.raw(line)
  for (const backup of made.backups) {
    const { component, bytes: size, proof } = await environment.ledger.backups.get(backup)
    const proven =
      proof === null ? 'UNPROVEN' : proof.ok ? `proven by a restore in ${Math.round(proof.ms)} ms` : 'PROOF FAILED'
    out.line(`  backup of ${component}: ${backup}, ${bytes(size)}, ${proven}`)
  }
  if (before?.state === 'known-good') tellOther(session, before, made)
  return made
}

/** A mark is one of the name: what is captured under it anew is covered by it, whatever it is. */
function tellOther({ out }: Session, before: Release, made: Capture): void {
  const other = unlike(before, new Map(Object.entries(made.components)))
  if (other.length === 0) return
  out.warn(
    `${before.name} was known-good before this capture and stays so, though ${other.join('; ')}. ` +
      `Where nobody has seen that this is good: backout release mark ${before.name} captured --why …`,
  )
}

function refuseBad(release: { name: string; state: string } | null): void {
  if (release?.state !== 'bad') return
  throw new BackoutError({
    code: 'release_bad',
    what: `${release.name} is marked bad, so it is not captured again under this name`,
    next: 'use another name; or take the mark back: backout release mark RELEASE captured --why …',
    exit: 'blocked',
  })
}

export async function markRelease(
  { environment, out }: Session,
  release: string,
  state: 'captured' | 'known-good' | 'bad',
  why: string | null,
): Promise<Mark> {
  const { releases } = environment.ledger
  // One whose marks were altered can be marked again, and only so counts again.
  if (!(await releases.exists(release))) await releases.get(release)
  const mark = await releases.mark(release, state, why)
  const engine = await environment.engine({ worker: false })
  await engine.record('marked', toJson({ release, ...mark }))
  out.line(`${release} is now ${state}${why === null ? '' : ` (${why})`}`)
  return mark
}
