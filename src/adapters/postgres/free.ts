import { readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Place } from './place.ts'
import { one, type Session } from './session.ts'

/**
 * PostgreSQL has no word for it: where the server runs on this machine its data folder is looked at. Bytes; null where
 * it runs elsewhere, or where the folder cannot be shown to be its own.
 */
export async function freeBytes(session: Session, place: Place): Promise<number | null> {
  const here = place.host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(place.host)
  if (!here || (await one(session, `SELECT pg_has_role('pg_read_all_settings', 'USAGE')`)) !== 'true') return null
  const folder = await one(session, 'SHOW data_directory')
  const lines = (await readFile(join(folder, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  if (lines[3] !== (await one(session, `SELECT current_setting('port')`))) return null
  const disk = await statfs(folder).catch(() => null)
  return disk === null ? null : disk.bavail * disk.bsize
}
