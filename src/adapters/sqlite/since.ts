import { join } from 'node:path'
import type { Backup, Loss } from '../../core/contract.ts'
import type { SchemaShape } from '../../data/schema.ts'
import { COPY } from './backup.ts'
import { changedSince, type Since } from './measure.ts'
import { findRenames } from './renames.ts'
import { type FileState, type Place, readLive, readOrTell, type Site } from './site.ts'

/** The copy is there: no need of a fingerprint. */
const NO_DATA = { method: '', tables: {} }

/** What was written since the backup, counted; or why the file cannot be asked. */
export function measureSince(site: Site, place: Place, backup: Backup, base: SchemaShape): Promise<Since | FileState> {
  const copy = join(backup.dir, COPY)
  return readOrTell({ ...place, beside: copy }, async db => {
    const { schema } = readLive(site, db)
    const known = { schema: base, data: NO_DATA, copy }
    const { renames } = await findRenames(db, known, schema, place.signal)
    // Rows are compared table by table, by the table's name: those of a renamed one count as gone and added.
    const columns = renames.filter(r => r.now.column !== null)
    return changedSince(db, base, schema, columns, place.signal)
  })
}

/** A file that cannot be read loses all that was written since, whatever that is. */
export function everything(since: string, is: FileState): Loss {
  return {
    what: 'everything written since',
    count: 1,
    unit: 'database',
    since,
    note: `the file is ${is}: nobody can count it`,
  }
}
