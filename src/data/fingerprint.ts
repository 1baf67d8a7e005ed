import { z } from 'zod'
import { hashOf } from '../core/json.ts'

const tableFingerprint = z.object({
  rows: z.number(),
  /** A digest of each column's values in the order of the rows: comparable after columns came or went. */
  columns: z.record(z.string(), z.string()),
})
export type TableFingerprint = z.infer<typeof tableFingerprint>

export const fingerprintShape = z.object({
  /** How the digests were made. Those of different ways are never compared. */
  method: z.string(),
  tables: z.record(z.string(), tableFingerprint),
})
export type Fingerprint = z.infer<typeof fingerprintShape>

export function fingerprintHash(fingerprint: Fingerprint): string {
  return hashOf(fingerprint)
}

export function rowsIn(fingerprint: Fingerprint): number {
  return Object.values(fingerprint.tables).reduce((sum, table) => sum + table.rows, 0)
}
