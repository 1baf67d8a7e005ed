import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import type { Backup, StepAct } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { nameOf, type Rename } from '../../data/renames.ts'
import type { SchemaShape } from '../../data/schema.ts'
import { type BackupFacts, COPY, factsIn, wholeCopy } from './backup.ts'
import { count, quoted, reading } from './database.ts'
import { hasRowId, METHOD, orderOf, tableFingerprint } from './fingerprint.ts'
import { same } from './rows.ts'
import type { Place, Site } from './site.ts'

/** The backup made right before the first migration was undone: it knows what must be there again under the old names. */
export interface Kept {
  readonly backup: Backup
  readonly facts: BackupFacts
}

/** `id`: the one that was noted before; else the newest of this database. null: there is none. */
export async function keptBackup(site: Site, place: Place, act: StepAct, id: string | null): Promise<Kept | null> {
  if (id !== null) return noted(act, id)
  const all = await act.backups.list(site.ctx.component)
  const own = all.flatMap(backup => {
    const facts = backup.reason === 'pre-rollback' ? factsIn(backup) : null
    return facts?.identity === place.identity ? [{ backup, facts }] : []
  })
  return own.sort((a, b) => a.backup.createdAt.localeCompare(b.backup.createdAt)).at(-1) ?? null
}

async function noted(act: StepAct, id: string): Promise<Kept> {
  const backup = await act.backups.get(id).catch((error: unknown) => messageOf(error))
  const facts = typeof backup === 'string' ? null : factsIn(backup)
  if (typeof backup !== 'string' && facts !== null) return { backup, facts }
  throw new BackoutError({
    code: 'kept_backup_gone',
    what: `The backup ${id}, made before the migrations were undone, cannot be asked what must be there again`,
    cause: typeof backup === 'string' ? backup : 'it does not say what it holds',
    next: 'bring it back from where copies are kept, then resume the run',
    exit: 'failed',
  })
}

/** Something that was renamed and does not hold under its old name what it held under the new one. */
export interface NotBack {
  readonly rename: Rename
  /** Rows of the backup; how many of them are gone, and how many hold something else. null: nobody can count. */
  readonly rows: number
  readonly gone: number | null
  readonly other: number | null
  /** The old name is not there at all. */
  readonly nowhere: boolean
}

/** Nothing may have been written since the backup into what is to come back by its old name: it would not be checked. */
export async function refuseWritten(place: Place, kept: Kept, live: SchemaShape): Promise<void> {
  const there = kept.facts.renames.filter(r => has(live, r.now))
  const differ = await reading(place, async db => {
    const out: Rename[] = []
    for (const r of there) if (!(await sameDigests(db, kept.facts, r, live, 'now', place.signal))) out.push(r)
    return out
  })
  if (differ.length === 0) return
  throw new BackoutError({
    code: 'written_since_backup',
    what: `${differ.map(r => nameOf(r.now)).join(', ')} in ${place.file} was written to after the backup ${kept.backup.id} was made; nothing was undone`,
    cause: 'somebody writes who was not stopped, or the backup is of another day',
    next: 'stop who writes, abort this run, then plan again: `backout plan`',
    exit: 'failed',
  })
}

/** What did not come back under its old name. First by digest; where that differs, row by row against the copy. */
export async function notBack(place: Place, kept: Kept, live: SchemaShape, act: StepAct): Promise<NotBack[]> {
  const { facts } = kept
  const suspects: Rename[] = []
  await reading(place, async db => {
    for (const r of facts.renames) {
      if (!has(live, r.was) && has(live, r.now)) continue
      if (!(await sameDigests(db, facts, r, live, 'was', act.signal))) suspects.push(r)
    }
  })
  if (suspects.length === 0) return []
  const copy = await wholeCopy(act, kept.backup.id)
  const counted = await reading({ ...place, beside: copy }, db =>
    suspects.map(r => (copy === null ? uncounted(facts, r, live) : compared(db, facts, r, live))),
  )
  return counted.filter(n => n.nowhere || n.gone !== 0 || n.other !== 0)
}

function has(schema: SchemaShape, { table, column }: Rename['was']): boolean {
  const shape = schema.tables[table]
  return shape !== undefined && (column === null || shape.columns[column] !== undefined)
}

/** What a column of the backup is called once it has its old name again. */
function oldName(facts: BackupFacts, table: string, column: string): string {
  const found = facts.renames.find(r => r.now.table === table && r.now.column === column)
  return found?.was.column ?? column
}

/** The columns that matter, with the key that ties their values to their rows, as the backup names them. */
function columnsFor(facts: BackupFacts, { now }: Rename): string[] {
  const known = facts.fingerprint.tables[now.table]?.columns ?? {}
  if (now.column === null) return Object.keys(known)
  const key = facts.schema.tables[now.table]?.key ?? []
  return [...new Set([...key, now.column])].filter(c => known[c] !== undefined)
}

async function sameDigests(
  db: DatabaseSync,
  facts: BackupFacts,
  rename: Rename,
  live: SchemaShape,
  by: 'was' | 'now',
  signal: AbortSignal,
): Promise<boolean> {
  const then = facts.fingerprint.tables[rename.now.table]
  const shape = live.tables[rename[by].table]
  if (then === undefined || shape === undefined || facts.fingerprint.method !== METHOD) return false
  const wanted = columnsFor(facts, rename)
  const here = wanted.map(c => (by === 'now' ? c : oldName(facts, rename.now.table, c)))
  if (here.some(c => shape.columns[c] === undefined)) return false
  const now = await tableFingerprint(db, rename[by].table, shape, signal, { columns: here })
  return now.rows === then.rows && wanted.every((c, i) => then.columns[c] === now.columns[here[i] ?? ''])
}

function uncounted(facts: BackupFacts, rename: Rename, live: SchemaShape): NotBack {
  const rows = facts.fingerprint.tables[rename.now.table]?.rows ?? 0
  return { rename, rows, gone: null, other: null, nowhere: !has(live, rename.was) }
}

/** `db` has the backup's copy attached as `base`. */
function compared(db: DatabaseSync, facts: BackupFacts, rename: Rename, live: SchemaShape): NotBack {
  const nothing = uncounted(facts, rename, live)
  const wanted = columnsFor(facts, rename)
  const pairs = wanted.map(c => [oldName(facts, rename.now.table, c), c] as const)
  const shape = live.tables[rename.was.table]
  if (nothing.nowhere || shape === undefined || pairs.some(([l]) => shape.columns[l] === undefined)) return nothing
  const match = matched(facts, rename, live)
  if (match === null) return nothing
  const [here, there] = [`main.${quoted(rename.was.table)} AS l`, `base.${quoted(rename.now.table)} AS b`]
  const equal = pairs.map(([l, b]) => same(l, b)).join(' AND ')
  const rows = count(db, `SELECT count(*) FROM ${there}`)
  const gone = count(db, `SELECT count(*) FROM ${there} WHERE NOT EXISTS (SELECT 1 FROM ${here} WHERE ${match})`)
  const back = count(db, `SELECT count(*) FROM ${there} JOIN ${here} ON ${match} WHERE ${equal}`)
  return { ...nothing, rows, gone, other: rows - gone - back }
}

/** By the primary key; by the row's number where there is none. */
function matched(facts: BackupFacts, { was, now }: Rename, live: SchemaShape): string | null {
  const [then, shape] = [facts.schema.tables[now.table], live.tables[was.table]]
  if (then === undefined || shape === undefined) return null
  const key = then.key.map(c => [oldName(facts, now.table, c), c] as const)
  if (key.length > 0 && key.map(([l]) => l).join('\0') === shape.key.join('\0')) {
    return key.map(([l, b]) => `l.${quoted(l)} = b.${quoted(b)}`).join(' AND ')
  }
  if (!hasRowId(then) || !hasRowId(shape)) return null
  return `l.${orderOf(was.table, shape).join()} = b.${orderOf(now.table, then).join()}`
}

/** Says what is not back, how much of it, where it still is, and how it is brought back. */
export function notBackError(migration: string, place: Place, kept: Kept, missing: readonly NotBack[]): BackoutError {
  const what = missing.map(({ rename: { was, now } }) => `${nameOf(was)} does not hold what ${nameOf(now)} held`)
  const copy = join(kept.backup.dir, COPY)
  const mends = missing.flatMap(n => mend(n, kept.facts, copy))
  const how = mends.length === 0 ? 'bring it back from there' : `bring it back in ${place.file}: ${mends.join('; ')}`
  return new BackoutError({
    code: 'column_not_back',
    what: `After undoing ${migration}, ${what.join(', and ')}`,
    cause: `${missing.map(shortfall).join('\n')}\nthe content is in the backup ${kept.backup.id} (${copy}: ${missing.map(n => nameOf(n.rename.now)).join(', ')})`,
    next: `${how}; then resume the run. Or take the rung \`restore\``,
    exit: 'failed',
  })
}

export function shortfall({ rename, rows, gone, other, nowhere }: NotBack): string {
  const name = nameOf(rename.was)
  if (nowhere) return `${name} is not there: ${rows} rows are without it`
  if (gone === null || other === null)
    return `${name}: not every one of ${rows} rows is as it was; they cannot be counted`
  const parts = [other > 0 ? `${other} hold something else` : '', gone > 0 ? `${gone} are gone` : '']
  return `${name}: of ${rows} rows ${parts.filter(p => p !== '').join(', ')}`
}

/** SQL for a column whose place is there; what else is missing is beyond one line. */
function mend({ rename, gone, nowhere }: NotBack, facts: BackupFacts, copy: string): string[] {
  const { was, now } = rename
  if (nowhere || gone !== 0 || was.column === null || now.column === null) return []
  const key = facts.schema.tables[now.table]?.key ?? []
  const names =
    key.length === 0 ? [['rowid', 'rowid'] as const] : key.map(c => [oldName(facts, now.table, c), c] as const)
  const match = names.map(([l, k]) => `${quoted(was.table)}.${quoted(l)} = k.${quoted(k)}`).join(' AND ')
  return [
    `ATTACH '${copy.replaceAll("'", "''")}' AS kept`,
    `UPDATE ${quoted(was.table)} SET ${quoted(was.column)} = k.${quoted(now.column)} FROM kept.${quoted(now.table)} AS k WHERE ${match}`,
    'DETACH kept',
  ]
}
