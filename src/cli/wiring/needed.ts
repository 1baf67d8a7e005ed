import { BackoutError } from '../../core/errors.ts'
import type { Backup } from '../../core/contract.ts'
import type { Session } from '../session.ts'
import { lastRestores } from './carry.ts'

/** Ids of backups that something relies on, and what that is. Throws where nobody can tell: then nothing may be removed. */
export async function neededBackups(session: Session, all: readonly Backup[]): Promise<Map<string, string>> {
  const { config, ledger } = session.environment
  const { releases } = ledger
  const needed = new Map<string, string>()
  const known = await releases.list({ departures: true })
  const altered = known.find(r => r.altered.length > 0)
  if (altered !== undefined) throw cannotTell(`${altered.name}: ${altered.altered[0] ?? ''}`)
  for (const release of known) {
    if (release.state !== 'known-good') continue
    const capture = await releases.counting(release, Object.keys(config.components))
    for (const id of capture.backups) needed.set(id, `the known-good release ${release.name} goes back by it`)
  }
  const newest = known.find(r => r.captures[0]?.purpose === 'release')
  for (const id of newest?.captures[0]?.backups ?? []) needed.set(id, `${newest?.name ?? ''} was captured last`)
  for (const { run, component, base } of await lastRestores(session)) {
    const from = all.find(b => b.id === base)?.createdAt ?? '~'
    const own = all.filter(b => b.component === component && b.createdAt >= from && b.createdAt <= run.updatedAt)
    for (const { id } of own) needed.set(id, `carrying forward after ${run.id} compares with it`)
  }
  return needed
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
