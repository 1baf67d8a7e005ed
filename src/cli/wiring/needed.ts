import { BackoutError } from '../../core/errors.ts'
import type { Backup } from '../../core/contract.ts'
import { tellingSince } from '../../data/flow/untold.ts'
import type { Release } from '../../ledger/releases.ts'
import { type Judged, judge, type Keep, type Need } from '../../ledger/retention.ts'
import type { Session } from '../session.ts'
import { lastRestores } from './carry.ts'

/** Every backup, and why it stays. Throws where nobody can tell: then nothing may be removed. */
export async function judgeBackups(session: Session, all: readonly Backup[], keep: Keep): Promise<Judged[]> {
  const { ledger, clock } = session.environment
  const known = await ledger.releases.list({ departures: true })
  const altered = known.find(r => r.altered.length > 0)
  if (altered !== undefined) throw cannotTell(`${altered.name}: ${altered.altered[0] ?? ''}`)
  const needed = await firmly(session, known, all)
  const judged = judge(all, needed, keep, clock.now())
  const ways = await waysBack(session, known, judged)
  for (const [id, why] of told(ways, all)) if (!needed.has(id)) needed.set(id, { why, firm: false })
  return judge(all, needed, keep, clock.now())
}

/** Without these there is no way back to where one is promised, or no carrying forward. */
async function firmly(session: Session, known: readonly Release[], all: readonly Backup[]): Promise<Map<string, Need>> {
  const { releases } = session.environment.ledger
  const needed = new Map<string, Need>()
  const add = (id: string, why: string) => needed.set(id, { why, firm: true })
  for (const release of known) {
    if (release.state !== 'known-good') continue
    const capture = await releases.counting(release)
    for (const id of capture.backups) add(id, `the known-good release ${release.name} goes back by it`)
  }
  const newest = known.find(r => r.captures[0]?.purpose === 'release')
  for (const id of newest?.captures[0]?.backups ?? []) add(id, `${newest?.name ?? ''} was captured last`)
  for (const { run, component, base } of await lastRestores(session)) {
    const from = all.find(b => b.id === base)?.createdAt ?? '~'
    const own = all.filter(b => b.component === component && b.createdAt >= from && b.createdAt <= run.updatedAt)
    for (const { id } of own) add(id, `carrying forward after ${run.id} compares with it`)
  }
  return needed
}

interface WayBack {
  readonly release: string
  readonly base: Backup
}

/** Releases that can be gone back to by backups that stay. */
async function waysBack(
  session: Session,
  known: readonly Release[],
  judged: readonly Judged[],
): Promise<readonly WayBack[]> {
  const { releases } = session.environment.ledger
  const out: WayBack[] = []
  for (const release of known.toReversed()) {
    if (release.state === 'bad' || release.captures[0]?.purpose !== 'release') continue
    const { backups } = await releases.counting(release)
    const staying = judged.filter(j => j.stays !== null && backups.includes(j.backup.id))
    out.push(...staying.map(({ backup: base }) => ({ release: release.name, base })))
  }
  return out
}

const NAMED = 3

/** Ids of backups by which ways back tell what users wrote from what the migrations did, and which ways these are. */
function told(ways: readonly WayBack[], all: readonly Backup[]): Map<string, string> {
  const by = new Map<string, string[]>()
  for (const { release, base } of ways) {
    const since = all.filter(b => b.component === base.component && b.createdAt > base.createdAt)
    for (const { id } of tellingSince(since)) by.set(id, [...(by.get(id) ?? []), release])
  }
  return new Map([...by].map(([id, releases]) => [id, telling(releases)]))
}

function telling(releases: readonly string[]): string {
  const [one, ...more] = releases
  const others = releases.length > NAMED ? ` and ${releases.length - NAMED} more` : ''
  const named = releases.slice(0, NAMED).join(', ')
  const which = more.length === 0 ? `the way back to ${one ?? ''} tells` : `the ways back to ${named}${others} tell`
  return `${which} by it what users wrote from what the migrations did`
}

function cannotTell(cause: string): BackoutError {
  return new BackoutError({
    code: 'release_altered',
    what: 'A release is not as Backout wrote it, so nobody can tell which backups are needed; nothing was removed',
    cause,
    next: 'put it back from a copy of the home, then: backout backups prune',
    exit: 'tampered',
  })
}
