import type { Bonds, Reference, Row, Unique } from '../../data/engine.ts'
import { isOwn, literal, shownName, text } from './names.ts'
import type { Session } from './session.ts'

const ON_DELETE: Readonly<Record<string, Reference['onDelete']>> = {
  CASCADE: 'cascade',
  'SET NULL': 'set-null',
  'SET DEFAULT': 'set-default',
}

/** Keys and references of every table of the database. */
export async function bondsOf(db: Session, database: string): Promise<Record<string, Bonds>> {
  const tables = await db.query(
    `SELECT TABLE_NAME AS t FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = ${literal(database)} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1`,
  )
  const uniques = Map.groupBy(await uniqueRows(db, database), row => text(row['t']))
  const references = Map.groupBy(await referenceRows(db, database), row => text(row['t']))
  return Object.fromEntries(
    tables
      .map(row => text(row['t']))
      .filter(table => !isOwn(table))
      .map(table => [
        shownName(table),
        { uniques: uniquesOf(uniques.get(table) ?? []), references: referencesOf(references.get(table) ?? []) },
      ]),
  )
}

function uniqueRows(db: Session, database: string): Promise<Row[]> {
  return db.query(
    `SELECT TABLE_NAME AS t, INDEX_NAME AS name, COLUMN_NAME AS col, SUB_PART AS part FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = ${literal(database)} AND NON_UNIQUE = 0 ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX`,
  )
}

/** An index over the beginning of a column binds other rows together than the column itself does. */
function uniquesOf(rows: readonly Row[]): Unique[] {
  return [...Map.groupBy(rows, row => text(row['name']))].map(([name, parts]) => ({
    name,
    columns: parts.every(p => p['col'] !== null && p['part'] === null) ? parts.map(p => text(p['col'])) : null,
  }))
}

function referenceRows(db: Session, database: string): Promise<Row[]> {
  return db.query(
    `SELECT k.TABLE_NAME AS t, k.CONSTRAINT_NAME AS name, k.COLUMN_NAME AS col, k.REFERENCED_TABLE_NAME AS parent,
       k.REFERENCED_COLUMN_NAME AS col_to, r.DELETE_RULE AS del
     FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = ${literal(database)} AND k.REFERENCED_TABLE_SCHEMA = ${literal(database)}
     ORDER BY 1, 2, k.ORDINAL_POSITION`,
  )
}

function referencesOf(rows: readonly Row[]): Reference[] {
  return [...Map.groupBy(rows, row => text(row['name']))].map(([name, parts]) => ({
    name,
    columns: parts.map(p => text(p['col'])),
    table: shownName(text(parts[0]?.['parent'])),
    to: parts.map(p => text(p['col_to'])),
    onDelete: ON_DELETE[text(parts[0]?.['del']).toUpperCase()] ?? 'refuse',
  }))
}
