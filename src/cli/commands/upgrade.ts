import { iso } from '../../core/clock.ts'
import type { Target } from '../../core/contract.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { askGate, type GateResult, whyNot } from '../../core/gate.ts'
import { toJson } from '../../core/json.ts'
import { redact } from '../../core/secret.ts'
import { hex, stamp } from '../../ledger/files.ts'
import { refuseName, refuseOwnName } from '../../ledger/release-name.ts'
import { type Capture, person, type Upgrade } from '../../ledger/releases.ts'
import { sayingWhoIsLeft } from '../left-fenced.ts'
import { besideRuns, openRuns, ownerOf, refuseHalfway, supersede, watching } from '../open-runs.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { bytes } from '../text.ts'
import { gateOf } from '../wiring/gates.ts'
import { refuseOther, refuseUndeployed } from '../wiring/recognise.ts'
import { noteUndone, standingOf } from '../wiring/standing.ts'
import { captureRelease, markRelease } from './capture.ts'

interface Begin {
  readonly from?: string
  /** Why what is left need not be captured whole. */
  readonly uncaptured?: string
}

/** Before anything is changed: what is left behind is captured and backed up. */
export function begin(globals: Globals, options: Begin, to = ''): Promise<number> {
  return withSession(globals, async session => {
    const { environment, out } = session
    // Until it is told to have ended, the environment stands on what it names.
    refuseName(to)
    refuseOwnName(to)
    if (options.from === 'now') refuseOwnName(options.from)
    // Half-way through a rollback what runs looks like no release.
    const engine = await environment.engine({ worker: false })
    await refuseHalfway(engine, session)
    const before = await engine.list({ exclusive: environment.config.environment })
    const from = options.from ?? (await leftBehind(session))
    if (from === to) throw sameRelease(to)
    const { uncaptured } = options
    const capture = await (uncaptured === undefined
      ? captureRelease(session, from).catch(error => Promise.reject(sayingTheWayOn(error, from, to)))
      : captureInPart(session, from, uncaptured))
    const now = environment.clock.now()
    const upgrade: Upgrade = {
      id: `${stamp(now)}-${hex(2)}`,
      from,
      to,
      begunAt: iso(now),
      capture: capture.id,
      migratedAt: null,
      endedAt: null,
      undoneAt: null,
    }
    // To capture may take minutes. Nobody is told to deploy into a rollback that set out meanwhile.
    const again = `backout upgrade begin ${to}`
    const beside = { before, doing: `upgrade-${upgrade.id}`, again }
    await besideRuns(engine, session, beside, () => keep(session, upgrade, 'upgrade-begun'))
    await noteUndone(environment)
    await endWatches(session, to)
    out.data(upgrade)
    out.line(`The upgrade from ${from} to ${to} may begin. Afterwards: backout upgrade end ${to}`)
    return EXIT.ok
  })
}

/** What is bad need not be a way back: of a release that is stuck, or dies, only what can be captured is. */
async function captureInPart(session: Session, from: string, why: string): Promise<Capture> {
  const missing = new Map<string, string>()
  const capture = await captureRelease(session, from, async (component, cause) => void missing.set(component, cause))
  if (missing.size > 0) await tellWhole(session, capture)
  for (const [component, cause] of missing) session.out.warn(`${component} is not captured with ${from}: ${cause}`)
  if (missing.size > 0)
    await markRelease(
      session,
      from,
      'bad',
      `left without a capture of ${[...missing.keys()].join(', ')}: ${redact(why)}`,
    )
  return capture
}

/** What is captured in part does not take the place of a whole capture. */
async function tellWhole({ environment, out }: Session, { release, id }: Capture): Promise<void> {
  const { releases } = environment.ledger
  const counting = await releases.counting(await releases.get(release), Object.keys(environment.config.components))
  if (counting.id !== id)
    out.line(`What counts of ${release} stays its whole capture of ${counting.at} (${counting.id})`)
}

/** A release that is bad may never settle, and what comes next is its way out. */
function sayingTheWayOn(error: unknown, from: string, to: string): unknown {
  if (!(error instanceof BackoutError) || !['blocked', 'moved'].includes(error.exit)) return error
  const way = `where ${from} is bad and is not to be gone back to: backout upgrade begin ${to} --from ${from} --uncaptured WHY`
  const { code, message: what, why: cause, next, exit } = error
  return new BackoutError({ code, what, cause, next: next === undefined ? way : `${next}; ${way}`, exit, from: error })
}

/** What a rollback that only watches would measure from now on, and find at its end, is not its own any more. */
async function endWatches(session: Session, to: string): Promise<void> {
  const engine = await session.environment.engine({ worker: false })
  for (const run of await openRuns(engine, session)) {
    if (!(await watching(engine, run))) continue
    if (ownerOf(session) === null)
      await engine.signal(run.id, '$supersede', { by: person(), upgrade: to }, `upgrade-${to}`)
    else if (await supersede(engine, run, { upgrade: to })) session.out.line(`The watch of ${run.id} ends here.`)
    else session.out.warn(`Run ${run.id} still watches: its gates will measure ${to} as well. backout status`)
  }
}

async function leftBehind(session: Session): Promise<string> {
  const { environment, targets } = session
  const { release, boundFor } = await standingOf(environment)
  const told = release ?? (await environment.ledger.releases.list())[0]?.name
  if (told !== undefined) {
    const bound = boundFor === told ? null : boundFor
    await sayingWhoIsLeft(session, () => refuseOther(environment, targets, told, bound))
    return told
  }
  throw new BackoutError({
    code: 'release_unnamed',
    what: 'Backout does not know the name of the release that is left behind',
    next: 'say it once: backout upgrade begin NEW --from OLD',
    exit: 'usage',
  })
}

function sameRelease(to: string): BackoutError {
  const next = 'name what is left with --from'
  return new BackoutError({ code: 'same_release', what: `The upgrade goes from ${to} to itself`, next, exit: 'usage' })
}

/** Right after migrating, before traffic: what the migration itself changed is told apart from what users write later. */
export function migrated(
  globals: Globals,
  { usersAway = false, wrote }: { usersAway?: boolean; wrote?: string[] },
  to = '',
): Promise<number> {
  return withSession(globals, async session => {
    const open = await openUpgrade(session, to)
    const migratedBackups = await keepMigrated(session, open, usersAway, wrote)
    const upgrade = { ...open, migratedAt: iso(session.environment.clock.now()), migratedBackups }
    await keep(session, upgrade, 'upgrade-migrated', { usersAway, ...(wrote === undefined ? {} : { wrote }) })
    session.out.data(upgrade)
    session.out.line(`Noted: the migrations to ${to} are done.`)
    return EXIT.ok
  })
}

/** Databases are backed up as their migrations left them, before the first user writes. Component -> its backup. */
async function keepMigrated(
  { environment, targets, out }: Session,
  { id, to }: Upgrade,
  usersAway: boolean,
  wrote: readonly string[] | undefined,
): Promise<Record<string, string>> {
  const { backups, vault } = environment.ledger
  const asked: { component: string; target: Target }[] = []
  for (const component of Object.keys(environment.config.components)) {
    const target = await targets.get(component)
    if (target.migrated !== undefined) asked.push({ component, target })
  }
  const words = saidOf(
    asked.map(a => a.component),
    wrote,
  )
  const made: Record<string, string> = {}
  for (const { component, target } of asked) {
    const signal = new AbortController().signal
    const said = words === null ? {} : { wrote: words[component] ?? [] }
    const act = { release: to, upgrade: id, usersAway, ...said, backups, vault, signal, progress: () => {} }
    const backup = await target.migrated?.(act)
    if (backup == null) {
      out.line(
        `  ${component}: carryForward is off, so nothing is kept that tells later what its migrations wrote from what users write`,
      )
      continue
    }
    made[component] = backup.id
    out.line(`  ${component} as its migrations left it: ${backup.id}, ${bytes(backup.bytes)}`)
  }
  return made
}

/** The words of `--wrote` by component; null: none were said. Throws where nobody can tell whose one is. */
function saidOf(components: readonly string[], wrote: readonly string[] | undefined): Record<string, string[]> | null {
  if (wrote === undefined) return null
  const words: Record<string, string[]> = {}
  for (const word of wrote) {
    const named = components.find(c => word.startsWith(`${c}:`))
    const [only, ...others] = components
    const component = named ?? (others.length === 0 || word === 'none' ? only : undefined)
    if (component === undefined) throw whose(word, components)
    words[component] = [...(words[component] ?? []), named === undefined ? word : word.slice(named.length + 1)]
  }
  return words
}

function whose(word: string, components: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'wrote_unknown',
    what: `Nobody can tell of which component --wrote ${word} speaks`,
    cause: components.length === 0 ? 'no component keeps what migrations did' : `there are ${components.join(', ')}`,
    next: `say it: --wrote ${components[0] ?? 'COMPONENT'}:${word}`,
    exit: 'usage',
  })
}

/** The new release is captured, and known to be good once its gates have held for the bake time. */
export function end(globals: Globals, { unchanged }: { unchanged?: string }, to = ''): Promise<number> {
  return withSession(globals, async session => {
    const open = await openUpgrade(session, to)
    if (unchanged === undefined) await refuseUndeployed(session.environment, session.targets, open)
    const same = unchanged === undefined ? null : `unchanged since ${open.from}: ${redact(unchanged)}`
    const capture = await captureRelease(session, to)
    const upgrade = { ...open, endedAt: iso(session.environment.clock.now()) }
    await keep(session, upgrade, 'upgrade-ended', same === null ? {} : { same })
    const baked = await bake(session, to, same)
    const state = (await session.environment.ledger.releases.get(to)).state
    session.out.data({ ...upgrade, capture: capture.id, state, gate: baked.is === 'failed' ? baked.gate : null })
    return baked.is === 'over' ? EXIT.ok : EXIT.gate
  })
}

async function openUpgrade({ environment }: Session, to: string): Promise<Upgrade> {
  // A rollback that still watches has taken its upgrade back already.
  await noteUndone(environment)
  const standing = (await environment.ledger.releases.upgrades()).filter(u => u.undoneAt === null)
  const [upgrade, newest] = [standing.findLast(u => u.to === to), standing.at(-1)]
  if (upgrade !== undefined && newest !== undefined && newest.to !== to) throw overtaken(upgrade, newest)
  if (upgrade !== undefined) return upgrade
  throw new BackoutError({
    code: 'upgrade_unknown',
    what: `No upgrade to ${to} has begun`,
    next: `backout upgrade begin ${to}, before the deployment`,
    exit: 'usage',
  })
}

/** What runs belongs to the newest upgrade: it is neither captured nor backed up as what an earlier one brought. */
function overtaken({ to, begunAt, endedAt }: Upgrade, newest: Upgrade): BackoutError {
  const how = endedAt === null ? `began at ${begunAt}` : `ended at ${endedAt}`
  return new BackoutError({
    code: 'upgrade_unknown',
    what: `The upgrade to ${to} ${how}, and the one to ${newest.to} began at ${newest.begunAt}: what runs is not ${to} any more`,
    next: `backout upgrade end ${newest.to}; where ${to} was deployed once more: backout upgrade begin ${to}, before the deployment`,
    exit: 'usage',
  })
}

async function keep({ environment }: Session, upgrade: Upgrade, type: string, more: object = {}): Promise<void> {
  await environment.ledger.releases.keepUpgrade(upgrade)
  await (await environment.engine({ worker: false })).record(type, toJson({ ...upgrade, ...more }))
}

type Baked = { readonly is: 'over' | 'left' } | { readonly is: 'failed'; readonly gate: GateResult }

/** `left`: something else runs by now, or is being put there, so that no gate speaks of the release any more. */
async function bake(session: Session, to: string, same: string | null): Promise<Baked> {
  const { environment, out } = session
  const { bake: rule } = environment.config.policy
  if (rule === undefined) {
    out.line(`Without policy.bake no gate can make it known-good: backout release mark ${to} known-good`)
    return { is: 'over' }
  }
  const until = environment.clock.mono() + rule.for
  out.line(`Baking: ${rule.gates.join(', ')} must hold for ${Math.round(rule.for / 1000)} s`)
  do {
    for (const name of rule.gates) {
      const { rule: gate, probes } = gateOf(environment, name)
      const result = await askGate(gate, probes, environment.clock, new AbortController().signal)
      // Whatever was measured then is not of this release alone.
      if (await isLeft(session, to)) return { is: 'left' }
      if (result.outcome === 'pass') continue
      out.line(`${to} stays "captured": gate ${name} ${result.outcome}: ${whyNot(result)}`)
      return { is: 'failed', gate: result }
    }
    const left = until - environment.clock.mono()
    if (left > 0) await environment.clock.sleep(Math.min(left, Math.max(1_000, rule.for / 20)))
  } while (environment.clock.mono() < until)
  if (await isLeft(session, to)) return { is: 'left' }
  const held = `its gates held for ${Math.round(rule.for / 1000)} s`
  await markRelease(session, to, 'known-good', same === null ? held : `${held}; ${same}`)
  return { is: 'over' }
}

/** Says so where something else took the release's place since, or a run is on its way to it. */
async function isLeft({ environment, out }: Session, to: string): Promise<boolean> {
  const { release, boundFor } = await standingOf(environment)
  const bound = boundFor !== null && boundFor !== to
  if (release === to && !bound) return false
  const how = bound ? `a run set out for ${boundFor}` : `it was left for ${release ?? 'another release'}`
  out.line(`${to} stays "captured": ${how} while it baked, and its gates speak of something else since`)
  return true
}
