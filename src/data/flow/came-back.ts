import type { Backup, StepAct } from '../../core/contract.ts'
import { BackoutError, messageOf, PLAN_ANEW } from '../../core/errors.ts'
import { byText } from '../../core/order.ts'
import type { Reader } from '../engine.ts'
import { nameOf, type Rename } from '../renames.ts'
import type { SchemaShape } from '../schema.ts'
import { joined, matchOf, type Pair } from './compare.ts'
import { type BackupFacts, factsIn } from './facts.ts'
import { type Sides, withSides } from './sides.ts'
import type { Site } from './site.ts'
import { wholeImage } from './whole.ts'

/** The backup made right before the first migration was undone: it knows what must be there again under the old names. */
export interface Kept {
  readonly backup: Backup
  readonly facts: BackupFacts
}

/** `id`: the one that was noted before; else the newest of this database. null: there is none. */
export async function keptBackup(site: Site, act: StepAct, id: string | null): Promise<Kept | null> {
  const { kind } = site.engine.dialect
  if (id !== null) return noted(act, id, kind)
  const identity = await site.engine.identity(act.signal)
  const own = (await act.backups.list(site.ctx.component)).flatMap(backup => {
    const facts = backup.reason === 'pre-rollback' ? factsIn(backup, kind) : null
    return facts?.identity === identity ? [{ backup, facts }] : []
  })
  return own.sort((a, b) => byText(a.backup.createdAt, b.backup.createdAt)).at(-1) ?? null
}

async function noted(act: StepAct, id: string, kind: BackupFacts['kind']): Promise<Kept> {
  const backup = await act.backups.get(id).catch((error: unknown) => messageOf(error))
  const facts = typeof backup === 'string' ? null : factsIn(backup, kind)
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
export async function refuseWritten(site: Site, kept: Kept, live: SchemaShape, signal: AbortSignal): Promise<void> {
  const there = kept.facts.renames.filter(r => has(live, r.now))
  const differ = await site.engine.reading(signal, async db => {
    const out: Rename[] = []
    for (const r of there) if (!(await sameDigests(db, kept.facts, r, live, 'now'))) out.push(r)
    return out
  })
  if (differ.length === 0) return
  throw new BackoutError({
    code: 'written_since_backup',
    what: `${differ.map(r => nameOf(r.now)).join(', ')} in ${site.engine.name} was written to after the backup ${kept.backup.id} was made; nothing was undone`,
    cause: 'somebody writes who was not stopped, or the backup is of another day',
    next: `stop who writes, then ${PLAN_ANEW}`,
    exit: 'failed',
  })
}

/** What did not come back under its old name. First by digest; where that differs, row by row against the copy. */
export async function notBack(site: Site, kept: Kept, live: SchemaShape, act: StepAct): Promise<NotBack[]> {
  const { facts } = kept
  const suspects: Rename[] = []
  await site.engine.reading(act.signal, async db => {
    for (const r of facts.renames) {
      if (!has(live, r.was) && has(live, r.now)) continue
      if (!(await sameDigests(db, facts, r, live, 'was'))) suspects.push(r)
    }
  })
  if (suspects.length === 0) return []
  const image = await wholeImage(site, act, kept.backup.id)
  const counted = await withSides(site.engine, image, act.signal, async sides => {
    const out: NotBack[] = []
    for (const r of suspects)
      out.push(image === null ? uncounted(facts, r, live) : await compared(site, sides, facts, r, live))
    return out
  })
  return counted.filter(n => n.nowhere || n.gone !== 0 || n.other !== 0)
}

function has(schema: SchemaShape, { table, column }: Rename['was']): boolean {
  const shape = schema.tables[table]
  return shape !== undefined && (column === null || shape.columns[column] !== undefined)
}

/** What a column of the backup is called once it has its old name again. */
export function oldName(facts: BackupFacts, table: string, column: string): string {
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
  db: Reader,
  facts: BackupFacts,
  rename: Rename,
  live: SchemaShape,
  by: 'was' | 'now',
): Promise<boolean> {
  const then = facts.fingerprint.tables[rename.now.table]
  const { table } = rename[by]
  const shape = live.tables[table]
  if (then === undefined || shape === undefined) return false
  const wanted = columnsFor(facts, rename)
  const here = wanted.map(c => (by === 'now' ? c : oldName(facts, rename.now.table, c)))
  if (here.some(c => shape.columns[c] === undefined)) return false
  const part = { tables: [table], columns: { [table]: here } }
  const found = await db.fingerprint(
    { tables: { [table]: shape }, views: {}, triggers: {}, others: {} },
    part,
    facts.fingerprint.method,
  )
  const now = found.tables[table]
  if (now === undefined || found.method !== facts.fingerprint.method) return false
  return now.rows === then.rows && wanted.every((c, i) => then.columns[c] === now.columns[here[i] ?? ''])
}

function uncounted(facts: BackupFacts, rename: Rename, live: SchemaShape): NotBack {
  const rows = facts.fingerprint.tables[rename.now.table]?.rows ?? 0
  return { rename, rows, gone: null, other: null, nowhere: !has(live, rename.was) }
}

async function compared(
  { engine }: Site,
  sides: Sides,
  facts: BackupFacts,
  rename: Rename,
  live: SchemaShape,
): Promise<NotBack> {
  const nothing = uncounted(facts, rename, live)
  const columns = columnsFor(facts, rename).map(c => ({ now: oldName(facts, rename.now.table, c), base: c }))
  const [shape, then] = [live.tables[rename.was.table], facts.schema.tables[rename.now.table]]
  if (nothing.nowhere || shape === undefined || then === undefined) return nothing
  if (columns.some(c => shape.columns[c.now] === undefined)) return nothing
  const pair: Pair = {
    now: { table: rename.was.table, shape },
    base: { table: rename.now.table, shape: then },
    columns,
  }
  const match = matchOf(engine.dialect, pair, c => oldName(facts, rename.now.table, c))
  if (match === null) return nothing
  const found = await joined(engine.dialect, sides, pair, match)
  return { ...nothing, rows: found.base, gone: found.base - found.joined, other: found.joined - found.equal }
}

export function shortfall({ rename, rows, gone, other, nowhere }: NotBack): string {
  const name = nameOf(rename.was)
  if (nowhere) return `${name} is not there: ${rows} rows are without it`
  if (gone === null || other === null)
    return `${name}: not every one of ${rows} rows is as it was; they cannot be counted`
  const parts = [other > 0 ? `${other} hold something else` : '', gone > 0 ? `${gone} are gone` : '']
  return `${name}: of ${rows} rows ${parts.filter(p => p !== '').join(', ')}`
}
