import { join } from 'node:path'
import type { Backup, Loss } from '../../core/contract.ts'
import type { SchemaShape } from '../../data/schema.ts'
import { COPY } from './backup.ts'
import { frozenUri } from './database.ts'
import { changedSince, type Since } from './measure.ts'
import { type FileState, type Place, readLive, readOrTell, type Site } from './site.ts'

/** What was written since the backup, counted; or why the file cannot be asked. */
export function measureSince(site: Site, place: Place, backup: Backup, base: SchemaShape): Promise<Since | FileState> {
  return readOrTell(place, async db => {
    db.exec('COMMIT')
    db.prepare('ATTACH ? AS base').run(frozenUri(join(backup.dir, COPY)))
    db.exec('BEGIN')
    return changedSince(db, base, readLive(site, db).schema, place.signal)
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
