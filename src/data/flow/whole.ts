import type { BackupStore } from '../../core/contract.ts'
import type { Image } from '../engine.ts'
import { factsIn } from './facts.ts'
import type { Site } from './site.ts'

/** The content of a backup that is there and as it was made, where it can be read without loading it. */
export async function wholeImage(
  site: Site,
  act: { readonly backups: BackupStore; readonly signal: AbortSignal },
  id: string | null,
): Promise<Image | null> {
  if (id === null || site.engine.peek === undefined) return null
  const backup = await act.backups.get(id).catch(() => null)
  if (backup === null || factsIn(backup, site.engine.dialect.kind) === null) return null
  return (await act.backups.check(id, act.signal)).length > 0 ? null : site.engine.peek(backup)
}
