import { messageOf } from '../../core/errors.ts'
import { span } from '../../core/impact-text.ts'
import { isEmpty, type Plan } from '../../core/plan.ts'
import type { Capture, Release } from '../../ledger/releases.ts'
import { bytes } from '../text.ts'
import { chooseRelease, defaultOf } from '../wiring/choose.ts'
import type { Environment } from '../wiring/environment.ts'
import { makePlan } from '../wiring/planning.ts'
import { standingOf } from '../wiring/standing.ts'
import type { Targets } from '../wiring/targets.ts'
import { type Check, guarded, plural, saying } from './check.ts'
import { migratedChecks } from './migrated.ts'

const say = saying('releases')

const DAY_MS = 86_400_000
const OLD_MS = 90 * DAY_MS

/** Whether there is something to go back to, whole and proven, and whether the way there is free. */
export async function releaseChecks(environment: Environment, targets: Targets): Promise<Check[]> {
  const all = await environment.ledger.releases.list()
  const altered = all.flatMap(alteredCheck)
  const usable = all.filter(r => r.state !== 'bad' && r.altered.length === 0)
  const [newest] = usable
  if (newest === undefined) return altered.length > 0 ? altered : [await neverCaptured(environment, targets)]
  const good = usable.find(r => r.state === 'known-good')
  const to = defaultOf(usable, await standingOf(environment)) ?? good ?? newest
  const capture = await environment.ledger.releases.counting(to)
  const capturedLast = newest.captures[0] ?? capture
  const migrated = await guarded('releases', () => migratedChecks(environment, [capture, capturedLast]))
  const way = await guarded('releases', () => wayBack(environment, targets, to, capture))
  return [
    ...altered,
    say(
      'ok',
      'captured',
      `${plural(all.length, 'release')}, the newest ${newest.name}, captured ${ago(environment, capturedLast.at)}`,
    ),
    goodCheck(environment, good, newest),
    ...uncaptured(environment, newest, capturedLast),
    ...(await guarded('releases', () => backupChecks(environment, [capture, capturedLast]))),
    ...migrated,
    ...way.filter(c => c.code !== 'migrated_altered' || migrated.every(m => m.code !== c.code)),
  ]
}

function alteredCheck({ name, altered }: Release): Check[] {
  const remedy = 'put it back from a copy of the home, or capture again; and find out who changed it'
  return altered.map(what => say('problem', 'release_altered', `${name} is not gone back to: ${what}`, remedy))
}

async function neverCaptured(environment: Environment, targets: Targets): Promise<Check> {
  const why = await chooseRelease(environment, targets, undefined).catch((error: { why?: string }) => error)
  const known = 'why' in why && why.why !== undefined ? `; ${why.why}` : ''
  const what = `nothing was captured yet, so there is nothing to go back to${known}`
  return say('warning', 'never_captured', what, 'backout capture RELEASE, while all is well')
}

function goodCheck(environment: Environment, good: Release | undefined, newest: Release): Check {
  if (good === undefined) {
    const what = 'no release is known to be good, so one must be named to go back: --to RELEASE'
    return say('warning', 'no_known_good', what, `if it is: backout release mark ${newest.name} known-good`)
  }
  const since = good.marks.at(-1)?.at ?? good.captures[0]?.at ?? ''
  const age = environment.clock.now() - Date.parse(good.captures[0]?.at ?? since)
  const what = `the newest known-good release is ${good.name}, captured ${ago(environment, good.captures[0]?.at ?? since)}`
  if (age < OLD_MS) return say('ok', 'known_good', what)
  return say(
    'warning',
    'known_good_old',
    what,
    'capture what runs now, and mark it: backout capture RELEASE --known-good',
  )
}

function ago({ clock }: Environment, at: string): string {
  const ms = Math.max(0, clock.now() - Date.parse(at))
  if (ms < 60_000) return 'just now'
  if (ms < 2 * DAY_MS) return `${span(ms)} ago`
  return `${Math.floor(ms / DAY_MS)} days ago`
}

function uncaptured({ config }: Environment, release: Release, capture: Capture): Check[] {
  return Object.keys(config.components)
    .filter(id => capture.components[id] === undefined)
    .map(id => {
      const what = `${id} was not captured with ${release.name}, so going back there leaves it as it is`
      return say('warning', 'component_uncaptured', what, `backout capture ${release.name}, or the next release`, id)
    })
}

async function backupChecks({ ledger }: Environment, captures: readonly Capture[]): Promise<Check[]> {
  const named = new Map(captures.flatMap(c => c.backups.map(id => [id, c.release])))
  return Promise.all(
    [...named].map(async ([id, release]) => {
      const backup = await ledger.backups.get(id).catch((error: unknown) => messageOf(error))
      const remedy = 'bring it back from where copies are kept; or capture again'
      if (typeof backup === 'string') {
        const what = `the backup ${id} of ${release} is not there: ${backup}`
        return say('problem', 'backup_missing', what, remedy)
      }
      const wrong = await ledger.backups.look(id)
      const { component } = backup
      if (wrong.length > 0) {
        const what = `the backup ${id} of ${release} is not as it was made: ${wrong.slice(0, 3).join('; ')}`
        return say('problem', 'backup_altered', what, remedy, component)
      }
      const size = bytes(backup.bytes)
      if (backup.proof?.ok === true) {
        return say(
          'ok',
          'backup',
          `the backup of ${component} for ${release} is intact and proven, ${size}`,
          '',
          component,
        )
      }
      const why = backup.proof === null ? 'was never proven by a restore' : 'failed its proof'
      const again = `backout capture ${release}, which proves its backup`
      return say('warning', 'backup_unproven', `the backup ${id} of ${release} ${why}`, again, component)
    }),
  )
}

/** Told by checks of their own. */
const TOLD = new Set(['release_altered', 'upgrade_open', 'disk_full', 'release_not_known_good', 'cannot_observe'])

async function wayBack(
  environment: Environment,
  targets: Targets,
  release: Release,
  capture: Capture,
): Promise<Check[]> {
  const signal = new AbortController().signal
  const request = { release, capture, mode: 'full', parent: null, exclude: [], accepted: null, signal } as const
  const plan = await makePlan(environment, targets, request)
  const found = plan.findings.filter(f => f.level !== 'note' && !TOLD.has(f.code))
  const checks = found.map(f =>
    say(f.level === 'blocker' ? 'problem' : 'warning', f.code, f.what, f.remedy, f.component),
  )
  const rejected = plan.components.flatMap(c =>
    c.rejected
      .filter(r => !found.some(f => f.what === r.why))
      .map(r => say('note', 'rung_rejected', `${c.id}: not by \`${r.rung}\`: ${r.why}`, '', c.id)),
  )
  const free = !plan.findings.some(f => f.level === 'blocker')
  return [
    ...(free ? [say('ok', 'way_back', shown(plan), `backout plan --to ${release.name}`)] : []),
    ...checks,
    ...rejected,
  ]
}

function shown(plan: Plan): string {
  const { release } = plan.to
  if (isEmpty(plan)) return `${plan.environment} is as ${release} was captured: right now nothing would change`
  const touched = plan.components.filter(c => c.change !== null).map(c => `${c.id} (${c.rung})`)
  return `the way back to ${release} is free: ${touched.join(', ')}; about ${span(plan.estimateMs)}`
}
