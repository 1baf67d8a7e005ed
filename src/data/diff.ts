import type { Fingerprint, TableFingerprint } from './fingerprint.ts'

export interface DataDifference {
  readonly table: string
  /** Columns whose values differ; empty where only the number of rows does, or the table is on one side only. */
  readonly columns: readonly string[]
  readonly rowsThen: number | null
  readonly rowsNow: number | null
  /** For people: "orders: 1000 rows then, 1012 now; values differ in id, total". */
  readonly text: string
}

/** Tables whose data is not what it was, by name. Throws where the fingerprints were made in different ways. */
export function compareFingerprints(then: Fingerprint, now: Fingerprint): DataDifference[] {
  if (then.method !== now.method) throw new Error(`fingerprints of ${then.method} and ${now.method} do not compare`)
  const names = [...new Set([...Object.keys(then.tables), ...Object.keys(now.tables)])].sort()
  return names.flatMap(name => compareTable(name, then.tables[name], now.tables[name]))
}

function compareTable(
  table: string,
  then: TableFingerprint | undefined,
  now: TableFingerprint | undefined,
): DataDifference[] {
  if (then === undefined || now === undefined) {
    const text = then === undefined ? `${table}: not there then` : `${table}: not there now`
    return [{ table, columns: [], rowsThen: then?.rows ?? null, rowsNow: now?.rows ?? null, text }]
  }
  const common = Object.keys(then.columns).filter(c => now.columns[c] !== undefined)
  const columns = common.filter(c => then.columns[c] !== now.columns[c]).sort()
  if (columns.length === 0 && then.rows === now.rows) return []
  const rows = then.rows === now.rows ? `${now.rows} rows as before` : `${then.rows} rows then, ${now.rows} now`
  const values = columns.length === 0 ? '' : `; values differ in ${columns.join(', ')}`
  return [{ table, columns, rowsThen: then.rows, rowsNow: now.rows, text: `${table}: ${rows}${values}` }]
}
