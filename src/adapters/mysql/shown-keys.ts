import type { TableShape } from '../../data/schema.ts'
import { bareName, quoted, text } from './names.ts'
import type { Session } from './session.ts'

/** As a session of this adapter is shown them: `UNIQUE KEY "a" ("id","during" WITHOUT OVERLAPS),` */
const KEY = /^ *(PRIMARY|UNIQUE|VECTOR) KEY (?:"((?:[^"]|"")*)" )?\((.*)\)([^()]*?),?$/gm
/** How a period of time is told: as a check of its own. */
const PERIOD = /^check \(["`].+["`] < ["`].+["`]\)$/

/**
 * Adds what no table of information_schema tells of keys: that their times may not overlap, and how one of vectors measures.
 * Only tables that may have such are asked for it, one by one.
 */
export async function withShownKeys(
  db: Session,
  database: string,
  name: string,
  shape: TableShape,
): Promise<TableShape> {
  const vectors = Object.values(shape.indexes).some(({ on }) => / vector\b/.test(on))
  if (!vectors && !shape.constraints.some(c => PERIOD.test(c))) return shape
  const [row] = await db.query(`SHOW CREATE TABLE ${quoted(database)}.${quoted(bareName(name))}`)
  const indexes = { ...shape.indexes }
  const constraints = [...shape.constraints]
  for (const [, kind, called = '', columns = '', options = ''] of text(row?.['Create Table']).matchAll(KEY)) {
    const apart = columns.endsWith('" WITHOUT OVERLAPS')
    if (kind === 'PRIMARY' && apart) constraints.push('times of one primary key without overlaps')
    const index = indexes[called.replaceAll('""', '"')]
    const more = kind === 'VECTOR' ? options.replaceAll(/["'`]/g, '').toLowerCase() : apart ? ' without overlaps' : ''
    if (index !== undefined && kind !== 'PRIMARY')
      indexes[called.replaceAll('""', '"')] = { ...index, on: index.on + more }
  }
  return { ...shape, indexes, constraints: constraints.sort() }
}
