import type { Fingerprint, TableFingerprint } from '../../data/fingerprint.ts'
import { type Rename, renameCandidates } from '../../data/renames.ts'
import type { ColumnShape, SchemaShape } from '../../data/schema.ts'
import { sameJson } from '../../core/json.ts'
import { fingerprint, firstRows, type Lanes } from './fingerprint.ts'
import { formulaOf } from './formula.ts'
import { quoted, tableSql } from './names.ts'

/**
 * The server has no ids that survive a rename, so only the content tells: a name is taken for another one's where the sums
 * of the baseline are found again under it, in the rows that were there then, and cannot be mixed up. Else it is none.
 */
export async function findRenames(
  lanes: Lanes,
  base: SchemaShape,
  data: Fingerprint,
  now: SchemaShape,
): Promise<Rename[]> {
  if (data.method !== formulaOf(lanes.sessions[0].flavour).method) return []
  const asked = renameCandidates(base, now, alike)
  const live = await sumsOf(lanes, data, now, asked)
  const equal: Rename[] = []
  for (const rename of asked) if (await same(lanes, data, live, rename)) equal.push(rename)
  return equal.filter(
    r => !equal.some(other => other !== r && (sameJson(other.was, r.was) || sameJson(other.now, r.now))),
  )
}

function alike(a: ColumnShape, b: ColumnShape): boolean {
  return a.type === b.type
}

/** Of the tables in question; where rows were added behind those of the baseline, without these. */
async function sumsOf(
  lanes: Lanes,
  data: Fingerprint,
  now: SchemaShape,
  asked: readonly Rename[],
): Promise<Map<string, TableFingerprint>> {
  const then = new Map(asked.map(r => [r.now.table, data.tables[r.was.table]]))
  const whole = await fingerprint(lanes, now, [...then.keys()])
  const out = new Map(Object.entries(whole.tables))
  for (const [table, base] of then) {
    const shape = now.tables[table]
    if (base === undefined || shape === undefined || base.rows >= (out.get(table)?.rows ?? 0)) continue
    const first = await firstRows(lanes, table, shape, base.rows)
    if (first !== null) out.set(table, first)
  }
  return out
}

async function same(
  lanes: Lanes,
  data: Fingerprint,
  live: ReadonlyMap<string, TableFingerprint>,
  { was, now }: Rename,
): Promise<boolean> {
  const [then, here] = [data.tables[was.table], live.get(now.table)]
  if (then === undefined || here === undefined || then.rows !== here.rows || then.rows === 0) return false
  if (was.column === null || now.column === null) return sameJson(then.columns, here.columns)
  return then.columns[was.column] === here.columns[now.column] && (await varies(lanes, now.table, now.column))
}

/** A column that holds the same everywhere is equal to any other that does, and proves nothing. */
async function varies(lanes: Lanes, table: string, column: string): Promise<boolean> {
  const c = quoted(column)
  const sql = `SELECT 1 FROM ${tableSql(table, lanes.database)} WHERE CAST(${c} AS BINARY) <> (
    SELECT CAST(${c} AS BINARY) FROM ${tableSql(table, lanes.database)} WHERE ${c} IS NOT NULL LIMIT 1) LIMIT 1`
  return (await lanes.sessions[0].query(sql)).length > 0
}
