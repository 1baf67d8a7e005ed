import type { Finding } from '../../core/contract.ts'
import { byText } from '../../core/order.ts'
import { compareFingerprints, type DataDifference } from '../diff.ts'
import { type Touched, writtenIn } from '../touched.ts'
import { plain } from '../touched-targets.ts'
import { type BackupFacts, factsIn } from './facts.ts'
import type { Live } from './level.ts'
import { sameLevel } from './levels.ts'
import { touchedBetween } from './migrated.ts'
import type { Look } from './steps.ts'

/** What an old release that is left with this database would read otherwise than it wrote it. */
export interface Rewritten {
  /** For people: "orders.total". */
  readonly what: string
  /** How many rows it is at most. */
  readonly rows: number
  /** migration: it was the migration, and what was there is there no more. either: users may have done it meanwhile. more: rows that came may be all there is to it. */
  readonly by: 'migration' | 'either' | 'more'
}

/** What migrations wrote into tables that the release has, by what is known of them and by the data; null: nobody can tell. */
export async function rewrittenSince(look: Look, live: Live, extra: boolean): Promise<Rewritten[] | null> {
  const { to } = look.question
  const told = await toldSince(look, live, extra)
  if (told === null && !extra) return []
  const touched = told?.touched?.since === to.backup ? told.touched : await touchedBetween(look.site, live, to)
  const compares = told !== null && told.fingerprint.method === to.fingerprint.method
  const differing = compares ? compareFingerprints(to.fingerprint, told.fingerprint) : null
  if (touched !== null) return known(look, touched, told, differing)
  if (told === null || differing === null) return null
  const own = told.ownWorkSince === to.backup
  return differing.flatMap(({ table, columns, rowsThen, rowsNow }): Rewritten[] => {
    const values = columns.filter(c => !(to.schema.tables[table]?.key ?? []).includes(c))
    if (rowsThen === null || rowsNow === null || rowsThen === 0) return []
    // Sums tell nothing of single values where rows came or went.
    if (rowsThen !== rowsNow)
      return [
        {
          what: `rows of ${table}`,
          rows: rowsThen,
          by: own && rowsNow < rowsThen ? 'migration' : own ? 'more' : 'either',
        },
      ]
    return [
      {
        what: (values.length > 0 ? values : columns).map(c => `${table}.${c}`).join(', '),
        rows: rowsThen,
        by: own ? 'migration' : 'either',
      },
    ]
  })
}

function known(
  { question: { to } }: Look,
  touched: Touched,
  told: BackupFacts | null,
  differing: readonly DataDifference[] | null,
): Rewritten[] {
  return Object.entries(to.schema.tables).flatMap(([table, shape]): Rewritten[] => {
    const rows = to.fingerprint.tables[table]?.rows ?? 0
    const wrote = writtenIn([table], touched)
    if (rows === 0 || wrote?.length === 0) return []
    const now = told?.fingerprint.tables[table]
    const found = differing?.find(d => d.table === table)
    // It wrote what was there already.
    if (differing !== null && now !== undefined && found === undefined) return []
    if (wrote === null) {
      const came = found?.rowsNow != null && found.rowsNow > rows
      return [{ what: `rows of ${table}`, rows, by: came ? 'more' : 'migration' }]
    }
    const same = (c: string) => found !== undefined && now?.columns[c] !== undefined && !found.columns.includes(c)
    const columns = Object.keys(shape.columns).filter(c => wrote.includes(plain(c)) && !same(c))
    return columns.length === 0 ? [] : [{ what: columns.map(c => `${table}.${c}`).join(', '), rows, by: 'migration' }]
  })
}

/** The database as the migrations that are still in it left it, as far as anybody told. */
async function toldSince({ site, question }: Look, live: Live, extra: boolean): Promise<BackupFacts | null> {
  const { kind } = site.engine.dialect
  const all = (await site.ctx.backups.list(site.ctx.component)).filter(b => b.createdAt > question.to.at)
  const newest = all.toSorted((a, b) => byText(a.createdAt, b.createdAt)).filter(b => b.reason !== 'capture')
  const last = newest.findLast(b => b.reason === 'migrated')
  const facts = last === undefined ? null : factsIn(last, kind)
  if (facts === null || !sameLevel(facts.level, live.level)) return null
  // Where no bookkeeping tells that the migrations are still in it, a run that went back since speaks against it.
  return extra || newest.at(-1) === last ? facts : null
}

/** What is said of it where the database is left as it is. */
export function rewrittenFindings({ site, say }: Look, found: readonly Rewritten[] | null): Finding[] {
  if (found === null) {
    const what =
      'What these migrations wrote into rows that were there nobody can tell: the old release reads it as it is'
    return [say('note', 'data_untold', what, 'tell it next time: `backout upgrade migrated`, `migrations.upScripts`')]
  }
  const shown = (by: Rewritten['by']) => found.filter(r => r.by === by).map(r => `${r.what} (at most ${r.rows} rows)`)
  const [sure, unsure, more] = [shown('migration'), shown('either'), shown('more')]
  const out: Finding[] = []
  if (sure.length > 0) {
    const what = `The migrations wrote ${sure.join(', ')}: the old release would read what they made of it`
    const level = site.settings.compatible === 'always' ? 'warning' : 'blocker'
    out.push(
      say(
        level,
        'data_rewritten',
        what,
        'take the rung `restore`, or set `compatible: always` where it means the same to the old release',
      ),
    )
  }
  if (unsure.length > 0) {
    const what = `Between the backup and the end of migrating there changed ${unsure.join(', ')}, by the migrations or by users: the old release would read it as it is`
    out.push(
      say('warning', 'data_rewritten', what, 'look at what the migrations do; `backout db check --rows 20` shows rows'),
    )
  }
  if (more.length > 0) {
    const what = `The migrations wrote ${more.join(', ')}, and may have done no more than add some: the old release would read them`
    out.push(say('warning', 'data_rewritten', what, 'look at what the migrations do'))
  }
  return out
}
